"""The first lines of the README: arrays in memory, a run on them, its policy; and what is refused."""

import subprocess
import sys

import numpy as np
import pytest

import tiltflow
from tiltflow import UserError
from tiltflow.npz import load_npz
from tiltflow.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ROWS = 60
STATES = np.random.default_rng(0).normal(size=(ROWS, 3))
CUT = np.arange(ROWS) % 10 == 9
SMALL = {
    "settings": {"flow.network.width": 8, "flow.network.depth": 1, "flow.num_steps": 2},
    "steps": 20, "chunk": 10, "evaluations": 1, "quiet": True,
}  # fmt: skip


def recorded(**changes) -> tiltflow.Dataset:
    """Six episodes; the action is in [−2, 2] and follows the first entry of the state."""
    arrays = {"observations": STATES, "actions": 2 * np.tanh(STATES[:, :1]), "timeouts": CUT}
    return tiltflow.Dataset(**{**arrays, "action_bounds": (-2, 2), **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiltflow.train("bc-flow", recorded(), out=tmp_path_factory.mktemp("six") / "run", **SMALL)


def test_arrays_become_a_run_and_a_policy_in_their_units(run):
    assert run.result["task"] == "file/arrays"
    policy = run.policy()
    assert policy(STATES[0]).shape == (1,)
    assert np.ptp(policy(STATES)) > 2
    again = tiltflow.load(str(run.folder)).policy()
    np.testing.assert_array_equal(again(STATES, seed=1), policy(STATES, seed=1))


def test_columns_by_name_are_joined_and_a_policy_takes_them(tmp_path):
    parts = {"gap": STATES[:, 0], "motion": STATES[:, 1:]}
    data = recorded(observations=parts, rewards=STATES[:, 1], name="arm")
    unplayed = {**SMALL, "env": "Arm-v0", "play": False}
    run = tiltflow.train("bc-flow", data, out=tmp_path / "run", **unplayed)
    policy = run.policy()
    assert policy.card.task == "file/arm"
    assert policy.card.observation_names == ["gap", "motion[0]", "motion[1]"]
    by_name = policy({name: column[0] for name, column in parts.items()}, seed=1)
    np.testing.assert_array_equal(by_name, policy(STATES[0], seed=1))

    # The run has its data and goes on from them; as a file they give the same policy.
    stored = load_npz(run.folder / "data.npz", "gap", "motion", "ends")
    np.testing.assert_array_equal(stored["motion"], STATES[:, 1:])
    np.testing.assert_array_equal(stored["ends"], CUT)
    again = run.resume(quiet=True).policy()
    twin = tiltflow.train("bc-flow", run.folder / "data.npz", out=tmp_path / "twin", **unplayed).policy()
    for other in (again, twin):
        np.testing.assert_array_equal(other(STATES, seed=1), policy(STATES, seed=1))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"actions": STATES[:9]}, "different numbers of rows: observations 60, actions 9"),
        ({"observations": STATES.astype(str)}, "must hold numbers"),
        ({"observations": [[0.0], [0.0, 1.0]]}, "observations is no array"),
        ({"observations": {"rewards": STATES[:, 0]}}, "Two columns are called 'rewards'"),
    ],
)
def test_arrays_that_cannot_be_are_refused_at_once(changes, text):
    with pytest.raises(UserError, match=text):
        recorded(**changes)


def test_what_the_command_line_refuses_is_refused_and_leaves_nothing(run, tmp_path):
    out = tmp_path / "run"
    states = STATES.copy()
    states[7, 1] = np.nan
    for algorithm, data, changes, text in (
        ("bc-flw", recorded(), {}, "Did you mean 'bc-flow'"),
        ("bc-flow", recorded(observations=states), {}, "row 7: is nan"),
        ("iql", recorded(), {"settings": {}}, "learns from rewards"),
        ("bc-flow", recorded(), {"settings": {"flow.widht": 1}}, "no setting 'widht'"),
        ("bc-flow", recorded(), {"step": 1}, "unexpected keyword argument 'step'"),
        ("bc-flow", tmp_path / "none.npz", {}, "none.npz"),
    ):
        with pytest.raises(UserError, match=text):
            tiltflow.train(algorithm, data, out=out, **{**SMALL, **changes})
        assert not RunFolder(out).holds_run
        assert not (out / "data.npz").exists()
    with pytest.raises(UserError, match="already holds a run"):
        tiltflow.train("bc-flow", recorded(), out=run.folder, **SMALL)
    with pytest.raises(UserError, match="is no run folder"):
        tiltflow.load(tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "data.npz").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        tiltflow.train("bc-flow", recorded(), out=tmp_path / "full", **SMALL)


def test_importing_tiltflow_imports_neither_jax_nor_numpy():
    code = "import sys, tiltflow; sys.exit(bool({'jax', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

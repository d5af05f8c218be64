"""The first lines of the README: arrays in memory, a run on them, its policy; and what is refused."""

import subprocess
import sys

import numpy as np
import pytest

import tiltflow
from tiltflow import UserError
from tiltflow.npz import load_npz

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
    assert np.ptp(policy(STATES, seed=1)) > 2
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

    # The run has its data and goes on from them, wherever it lies; as a file they give the same policy.
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
        ({"actions": STATES}, "actions 'actions' is that of the observations 'observations' too"),
        ({"action_bounds": 2}, r"action_bounds = 2: give the lowest and the highest action, as in \(-2, 2\)"),
        ({"action_bounds": (2, -2)}, "each lowest value must be a number below"),
        ({"action_bounds": ((-1, -1), (1, 1))}, "there are 2, but an action has 1 entries"),
    ],
)
def test_arrays_that_cannot_be_are_refused_at_once(changes, text):
    with pytest.raises(UserError, match=text):
        recorded(**changes)


def test_what_the_command_line_refuses_is_refused_in_words_of_python_and_leaves_nothing(run, tmp_path):
    out = tmp_path / "runs" / "run"
    states = STATES.copy()
    states[7, 1] = np.nan
    for algorithm, data, changes, text in (
        ("bc-flw", recorded(), {}, "Did you mean 'bc-flow'"),
        ("bc-flow", recorded(observations=states), {}, "The Dataset, key 'observations', row 7: is nan"),
        (
            "bc-flow",
            recorded(action_bounds=(-1, 1)),
            {},
            "outside the bounds given.* Give wider action_bounds=",
        ),
        ("bc-flow", recorded(timeouts=None), {}, r"timeouts= and terminations= of the Dataset.* with env="),
        ("iql", recorded(), {"settings": {}}, "the Dataset has none. Give them to the Dataset, rewards="),
        ("bc-flow", recorded(), {"settings": {"flow.widht": 1}}, "no setting 'widht'"),
        ("bc-flow", recorded(), {"step": 1}, "no argument 'step'. Did you mean 'steps'"),
        ("bc-flow", recorded(), {"play": False}, "nothing that play=False could leave"),
        ("bc-flow", tmp_path / "none.npz", {}, "none.npz"),
        ("bc-flow", STATES, {}, "Give a tiltflow.Dataset, the path"),
        ("bc-flow", None, {}, "Give a tiltflow.Dataset, the path"),
    ):
        with pytest.raises(UserError, match=text) as error:
            tiltflow.train(algorithm, data, out=out, **{**SMALL, **changes})
        assert "--" not in str(error.value)
        assert not out.parent.exists()
    with pytest.raises(UserError, match=r'tiltflow.load\(".*"\) opens it; resume=True continues it'):
        tiltflow.train("bc-flow", recorded(), out=run.folder, **SMALL)
    with pytest.raises(UserError, match="is no run folder"):
        tiltflow.load(tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "data.npz").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        tiltflow.train("bc-flow", recorded(), out=tmp_path / "full", **SMALL)


def test_the_same_lines_again_open_the_run_and_others_are_refused(run, tmp_path, monkeypatch):
    before = (run.folder / "result.json").stat()
    again = tiltflow.train("bc-flow", recorded(), out=run.folder, resume=True, **SMALL)
    assert (again.folder / "result.json").stat() == before
    for data, changes, text in (
        (recorded(), {"steps": 30}, r"other settings \(steps: 20 ≠ 30\)"),
        (recorded(actions=-STATES[:, :1], action_bounds=(-9, 9)), {}, "other arrays"),
    ):
        with pytest.raises(UserError, match=text):
            tiltflow.train("bc-flow", data, out=run.folder, resume=True, **{**SMALL, **changes})


def test_columns_and_bounds_of_files_are_said_in_pythons_own_types(tmp_path):
    np.savez(tmp_path / "log.npz", x=STATES, v=STATES[:, 0], u=np.tanh(STATES[:, 0]), cut=CUT)
    told = {"columns": {"observations": ["x", "v"], "actions": "u", "truncations": "cut"}}
    with pytest.raises(UserError, match=r"outside the bounds given, -0\.1 to 0\.5"):
        tiltflow.train("bc-flow", tmp_path / "log.npz", **told, action_bounds=(-0.1, 0.5), **SMALL)
    with pytest.raises(UserError, match=r"'u'.* Name each column once"):
        tiltflow.train(
            "bc-flow", tmp_path / "log.npz", columns={"actions": "u", "observations": "u"}, **SMALL
        )


def test_importing_tiltflow_imports_neither_jax_nor_numpy():
    code = "import sys, tiltflow; sys.exit(bool({'jax', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

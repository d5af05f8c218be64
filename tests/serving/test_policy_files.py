"""Policies written to files: the lines that are printed for them, their self-test, and what is refused."""

import jax
import numpy as np
import pytest

from tiltflow.cli.main import main
from tiltflow.data.interface import PolicyInterface, Signal
from tiltflow.errors import UserError
from tiltflow.flow import GivenNoise
from tiltflow.npz import load_npz
from tiltflow.serving.compiled_policy import CompiledPolicy
from tiltflow.serving.load_policy import load_policy
from tiltflow.serving.onnx_files import noise_size
from tiltflow.serving.policy_card import PolicyCard
from tiltflow.serving.policy_files import self_test, self_test_error
from tiltflow.serving.run_policy import PlayedRun, load_played


@pytest.fixture(scope="module")
def exported(run_of, tmp_path_factory):
    """The folder of the files of a run with settings of play, and what the command printed."""
    return tmp_path_factory.mktemp("exported")


def test_the_printed_lines_run_and_give_the_policy_of_the_run(run_of, exported, capsys):
    run = run_of("ifql")
    words = ["export", str(run), "--out", str(exported), "--noise", "0.5", "--best-of", "3"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == [str(exported / f"policy-{seed}.npz") for seed in (0, 1)]
    names: dict = {}
    exec(out[out.index("import json") :], names)
    assert names["action"].shape == (2,)
    assert names["card"]["observation_names"] == ["gap", "speed", "tilt"]
    assert names["card"]["action_high"] == [2.0, 5.0]
    own = load_policy(run, noise=0.5, best_of=3)
    states = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    for shape in (states[0], states):
        expected = own(shape, seed=9)
        np.testing.assert_allclose(names["policy"](shape, np.uint32(9)), expected, atol=1e-4)
        np.testing.assert_allclose(load_policy(exported / "policy-0.npz")(shape, seed=9), expected, atol=1e-4)


def test_the_self_test_has_the_precision_of_the_exported_program(run_of, monkeypatch):
    """Else a GPU compares its tf32 with float32, and a sound policy fails."""
    traced, actions = [], PlayedRun.actions

    def told(self, seed=None):
        def noted(observations, key):
            traced.append(jax.config.jax_default_matmul_precision)
            return actions(self, seed)(observations, key)

        return noted

    monkeypatch.setattr(PlayedRun, "actions", told)
    self_test(load_played(run_of("bc-flow")), 0)
    assert set(traced) == {"highest"}


def test_an_entry_of_an_action_that_has_one_value_passes_the_self_test():
    """Half of its range is 0, by which errors were divided."""
    signals = (Signal("o", 2),), (Signal("a", 2),)
    interface = PolicyInterface(*signals, ((-2.0, 0.5), (2.0, 0.5)))
    card = PolicyCard("bc-flow", "file/arm", 0, 1, interface)
    policy = CompiledPolicy(card, lambda *_: lambda observations, seed: interface.own_units(observations))
    observations, seeds = np.full((1, 2), 0.25, np.float32), np.zeros(1, np.uint32)
    assert self_test_error(policy, observations, seeds, np.array([[0.5, 0.5]])) == 0
    assert self_test_error(policy, observations, seeds, np.array([[0.7, 0.5]])) == pytest.approx(0.1)


def test_a_file_has_its_settings_and_fails_where_it_is_not_what_was_written(exported, tmp_path):
    file = exported / "policy-0.npz"
    with pytest.raises(UserError, match="settings are fixed"):
        load_policy(file, noise=0.1)
    with pytest.raises(UserError, match="has its settings of play built in"):
        load_policy(file)([0.0, 0.0, 0.0], best_of=2)
    arrays = load_npz(file)
    for change, text in (
        ({"test_actions": arrays["test_actions"] + 0.1}, "fails its self-test: actions are off by 0.05"),
        ({"program": arrays["program"][:50]}, "no policy that this version of JAX reads"),
        ({"card": np.array("{}")}, "no card of a policy"),
    ):
        np.savez(tmp_path / "changed.npz", **{**arrays, **change})
        with pytest.raises(UserError, match=text):
            load_policy(tmp_path / "changed.npz")


def test_the_noise_that_a_policy_draws_can_be_given_in_the_place_of_the_seed(run_of):
    states = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    for algorithm, best_of, size in (("bc-flow", None, 2), ("ifql", 3, 6)):
        actions = load_played(run_of(algorithm), best_of=best_of).actions()
        assert noise_size(actions, 3) == size
        key = jax.random.key(4)
        shape = (6, size) if best_of is None else (6, best_of, 2)
        noise = jax.random.normal(key, shape).reshape(6, size)
        np.testing.assert_allclose(actions(states, GivenNoise(noise)), actions(states, key), atol=1e-5)
    with pytest.raises(UserError, match="draws its noise by itself"):
        noise_size(lambda observations, key: jax.random.uniform(key, (1, 2)), 3)


def test_an_onnx_file_gives_the_actions_of_the_policy(run_of, tmp_path, capsys):
    pytest.importorskip("jax2onnx")
    pytest.importorskip("onnxruntime")
    assert main(["export", str(run_of("ifql")), "--format", "onnx", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    names: dict = {}
    exec(out[out.index("import json") :], names)
    assert names["actions"].shape == (4, 2)
    assert names["card"]["action_low"] == [-2.0, 0.0]

"""What is checked before any step is taken."""

import os
from dataclasses import replace

import numpy as np
import pytest

from tiltflow.data.arrays import write_npz
from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training.prepare import check_environment, prepare, seed_groups
from tiltflow.training.run import train


def test_data_of_another_environment_are_refused_naming_both_sizes(small_config, tmp_path):
    config = small_config("bc-flow", env="MountainCarContinuous-v0")
    with pytest.raises(UserError, match=r"observations of 3 .* MountainCarContinuous-v0 has 2 and 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_actions_that_the_environment_cannot_take_are_told(small_config, pendulum, tmp_path):
    with np.load(pendulum) as file:
        columns = dict(file)

    def told(scale: float, **changes) -> str:
        write_npz(tmp_path / "x.npz", {**columns, "actions": scale * columns["actions"]})
        prepared, dataset = prepare(small_config("bc-flow", data=str(tmp_path / "x.npz"), **changes))
        return " ".join(finding.text for finding in check_environment(prepared, dataset))

    assert "±1 is taken for those of Pendulum-v1, -2 to 2" in told(1)
    assert told(2, action_bounds="-2 2") == ""
    assert told(1, action_bounds="-3 3") == ""
    text = told(3, action_bounds="-3 3")
    assert "entry 0 goes from -2.9" in text
    assert "takes -2 to 2: what lies beyond is cut off" in text


def test_episodes_that_are_trained_on_and_judged_by_are_told(small_config, pendulum, tmp_path):
    with np.load(pendulum) as file:
        write_npz(tmp_path / "twice.npz", {key: np.tile(file[key].T, 2).T for key in file.files})
    _, dataset = prepare(small_config("bc-flow", env=None, data=str(tmp_path / "twice.npz")))
    assert "1 episode of 1 that are kept to judge policies by" in str(dataset.findings[-1])
    assert not any(
        "judge" in finding.text for finding in prepare(small_config("bc-flow", env=None))[1].findings
    )


def test_bits_of_a_gpu_are_asked_of_xla_before_it_starts(small_config, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    prepare(small_config("bc-flow"))
    assert "deterministic" not in os.environ["XLA_FLAGS"]
    for _ in range(2):
        prepare(small_config("bc-flow", deterministic=True))
    assert os.environ["XLA_FLAGS"].split()[1:] == ["--xla_gpu_deterministic_ops=true"]


def test_a_run_keeps_the_groups_that_it_began_with_on_another_machine(small_config, tmp_path):
    """Trained as one vmapped axis on an accelerator, it is played on a CPU, and the other way round."""
    config = small_config("bc-flow", seeds=3)
    vmapped, apart = replace(config, parallel="vmap"), replace(config, parallel="process")
    for together in (vmapped, replace(config, parallel="shard")):
        assert seed_groups(together, RunFolder(tmp_path)) == [[0, 1, 2]]
    assert seed_groups(apart, RunFolder(tmp_path)) == [[0], [1], [2]]
    (tmp_path / "gpu/seeds/0-2").mkdir(parents=True)
    assert seed_groups(apart, RunFolder(tmp_path / "gpu")) == [[0, 1, 2]]
    (tmp_path / "cpu/seeds/0").mkdir(parents=True)
    assert seed_groups(vmapped, RunFolder(tmp_path / "cpu")) == [[0], [1], [2]]

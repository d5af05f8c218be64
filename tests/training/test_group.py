"""What is checked before any step is taken."""

from dataclasses import replace

import pytest

from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training.prepare import seed_groups
from tiltflow.training.run import train


def test_data_of_another_environment_are_refused_naming_both_sizes(small_config, tmp_path):
    config = small_config("bc-flow", env="MountainCarContinuous-v0")
    with pytest.raises(UserError, match=r"observations of 3 .* MountainCarContinuous-v0 has 2 and 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


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

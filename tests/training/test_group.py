"""What is checked before any step is taken."""

import pytest

from tiltflow.errors import UserError
from tiltflow.training.run import train


def test_data_of_another_environment_are_refused_naming_both_sizes(small_config, tmp_path):
    config = small_config("bc-flow", env="MountainCarContinuous-v0")
    with pytest.raises(UserError, match=r"observations of 3 .* MountainCarContinuous-v0 has 2 and 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()

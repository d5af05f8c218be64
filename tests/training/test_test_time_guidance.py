"""Which setting of a guidance at test time is taken."""

import pytest

from tiltflow.errors import UserError
from tiltflow.training.test_time_guidance import best_setting


def test_a_setting_whose_actions_are_not_finite_is_never_chosen():
    assert best_setting((1.0, 2.0, 4.0), [0.3, 0.7, float("nan")]) == 2.0
    with pytest.raises(UserError, match="every setting"):
        best_setting((1.0, 2.0), [float("nan"), float("inf")])

"""The rewards that a critic learns from: QGPO's two ways to scale them."""

from dataclasses import replace

import numpy as np
import pytest

from tiltflow.data.describe import episodes
from tiltflow.data.rewards import rescale_rewards
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError


def three_episodes(unfinished: bool) -> Transitions:
    """Returns 3, −1 and 100, of which the last one may have no end."""
    rewards = np.asarray([1.0, 2.0, -1.0, 40.0, 60.0], np.float32)
    ends = np.asarray([False, True, True, False, not unfinished])
    rows = np.zeros((5, 1), np.float32)
    return Transitions(rows, rows, rewards, rows, np.zeros(5, bool), ends)


@pytest.mark.parametrize(("unfinished", "span"), [(False, 101.0), (True, 4.0)])
def test_returns_of_finished_episodes_come_to_differ_by_a_thousand(unfinished, span):
    data = three_episodes(unfinished)
    scaled = rescale_rewards(data, "return-range")
    np.testing.assert_allclose(scaled.rewards, data.rewards * 1000 / span, rtol=1e-6)
    _, returns = episodes(scaled)
    assert np.ptp(returns[:2] if unfinished else returns) == pytest.approx(1000, rel=1e-6)


def test_the_other_ways_and_what_stays():
    data = three_episodes(False)
    assert rescale_rewards(data, "recorded") is data
    less = rescale_rewards(data, "minus-one")
    np.testing.assert_array_equal(less.rewards, data.rewards - 1)
    assert less.rewards.dtype == np.float32
    for name, column in less.columns().items():
        if name != "rewards":
            assert column is data.columns()[name]


def test_returns_without_a_range_are_refused():
    data = three_episodes(False)
    data = replace(data, rewards=np.zeros(5, np.float32))
    with pytest.raises(UserError, match=r"3 all have 0\. Choose --set\.critic\.rewards recorded"):
        rescale_rewards(data, "return-range")

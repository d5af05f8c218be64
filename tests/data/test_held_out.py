"""Episodes that are held out: whole, disjoint from the rest, the same for every run."""

import numpy as np
import pytest

from tiltflow.data.held_out import (
    episode_numbers,
    first_rows,
    hold_out,
    shared_episodes,
    whole_episodes,
)
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError


def episodes_of(lengths):
    """Row i observes the number i."""
    rows = np.arange(sum(lengths), dtype=np.float32)
    ends = np.isin(np.arange(len(rows)), np.cumsum(lengths) - 1)
    zeros = np.zeros(len(rows), np.float32)
    return Transitions(rows[:, None], zeros[:, None], zeros, rows[:, None] + 1, zeros.astype(bool), ends)


def test_every_episode_is_in_one_part_whole():
    data = episodes_of([3, 5, 1, 7, 2, 4, 6, 2, 3, 9])
    train, held_out = hold_out(data, 0.3)
    assert len(held_out.episodes) == 3
    assert sorted([*train.observations[:, 0], *held_out.rows.observations[:, 0]]) == list(range(len(data)))
    numbers = episode_numbers(data)
    kept = np.isin(numbers, held_out.episodes)
    assert held_out.rows.observations[:, 0].tolist() == np.flatnonzero(kept).tolist()
    assert held_out.recorded is data
    assert hold_out(data, 0.3)[1].episodes == held_out.episodes


@pytest.mark.parametrize(("count", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (20, 0.1, 2)])
def test_both_parts_have_an_episode(count, share, held):
    assert len(hold_out(episodes_of([4] * count), share)[1].episodes) == held


def test_one_episode_cannot_be_held_out():
    with pytest.raises(UserError, match="one episode"):
        hold_out(episodes_of([10]), 0.1)


def test_first_rows_and_whole_episodes():
    data = episodes_of([3, 5, 2])
    assert first_rows(data).tolist() == [0, 3, 8]
    few = whole_episodes(data, 6)
    assert set(np.diff(np.append(first_rows(few), len(few))).tolist()) <= {3, 5, 2}
    assert len(few) <= 6
    assert whole_episodes(data, 10) is data


def test_episodes_that_are_in_both_parts_are_counted():
    data = episodes_of([3, 5, 1, 7])
    assert shared_episodes(data.take(slice(0, 8)), data.take(slice(8, 16))) == 0
    assert shared_episodes(data, data.take(slice(3, 9))) == 2

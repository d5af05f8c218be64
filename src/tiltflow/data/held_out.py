"""Episodes kept from the training, on which a run without a simulator is scored."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from tiltflow.data.columns import HOW_TO_END
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError

_SEED = 0
"""The same for all runs, so that they are scored on the same episodes."""


class HeldOutEpisodes(NamedTuple):
    """What policies are scored on: the held-out rows, and all that were recorded."""

    rows: Transitions
    recorded: Transitions
    episodes: list[int]
    """The numbers of the held-out episodes, from 0, in order."""


def hold_out(data: Transitions, share: float) -> tuple[Transitions, HeldOutEpisodes]:
    """The rows to train on, and that share of the episodes, at least one, drawn by a fixed seed.

    Raises UserError where there are fewer than two episodes.
    """
    of_row = episode_numbers(data)
    count = int(of_row[-1]) + 1
    if count < 2:
        raise UserError(
            f"The data are one episode, so that none can be held out to score the run on. {HOW_TO_END}, add "
            "episodes, or name the environment with --env."
        )
    number = min(max(round(share * count), 1), count - 1)
    chosen = np.sort(np.random.default_rng(_SEED).choice(count, number, replace=False))
    held = np.zeros(count, bool)
    held[chosen] = True
    rows, rest = np.flatnonzero(held[of_row]), np.flatnonzero(~held[of_row])
    take = data.choose if data.mapped else data.take
    return take(rest), HeldOutEpisodes(take(rows), data, chosen.tolist())


def shared_episodes(train: Transitions, other: Transitions) -> int:
    """How many episodes of `other` are in `train` too, to the bit, by their states and actions."""
    known = set(_digests(train))
    return sum(digest in known for digest in _digests(other))


def _digests(data: Transitions) -> Iterator[bytes]:
    first = first_rows(data)
    for start, end in zip(first, [*first[1:], len(data)], strict=True):
        rows = (np.ascontiguousarray(column[start:end]) for column in (data.observations, data.actions))
        yield hashlib.sha256(b"".join(part.tobytes() for part in rows)).digest()


def episode_numbers(data: Transitions) -> Int[np.ndarray, " n"]:
    """The number of each row's episode, from 0."""
    return np.concatenate([[0], np.cumsum(data.ends[:-1])])


def first_rows(data: Transitions) -> Int[np.ndarray, " e"]:
    """The row in which each episode begins."""
    return np.flatnonzero(np.concatenate([[True], data.ends[:-1]]))


def whole_episodes(data: Transitions, rows: int) -> Transitions:
    """Whole episodes of about so many rows at most, equally spaced in the data."""
    if len(data) <= rows:
        return data
    of_row = episode_numbers(data)
    count = int(of_row[-1]) + 1
    kept = np.unique(np.linspace(0, count - 1, max(1, count * rows // len(data))).astype(int))
    return data.take(np.isin(of_row, kept))

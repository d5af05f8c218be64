"""Cutting the log of one large file into logs of whole episodes, so that it is read piece by piece."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tiltflow.data.columns import ColumnChoice, resolve_columns
from tiltflow.data.ends import Unfit, episode_flags, flat_column
from tiltflow.data.logs import PIECE_BYTES, Log
from tiltflow.npz import ArrayFault

_FLAGS = ("terminations", "truncations", "ends", "masks", "dones", "episode")
_OUR_FLAGS = ("terminals", "timeouts")
_PROBE = 1000
"""Rows that are read to know how large a row is."""


def cut_log(file: str, log: Log, choice: ColumnChoice, ours: Sequence[str]) -> list[tuple[str, Log]]:
    """The pieces of a log by name; the log itself where it is small, or cannot be cut between two episodes.

    `ours` are the keys of our own layouts that it has, where it has these. What says where episodes end is
    read as a whole.
    """
    names, ends = list(ours), np.zeros(0, bool)
    if log.read_rows is not None:
        names, ends = _ends(log, choice, ours)
    if log.read_rows is None or not len(ends):
        return [(file, log)]
    parts, faults = log.read_rows(names, 0, min(_PROBE, len(ends)))
    size = sum(part[0].nbytes for part in parts.values()) / min(_PROBE, len(ends))
    if faults or size * len(ends) <= PIECE_BYTES:
        return [(file, log)]
    episodes = np.append(0, np.cumsum(ends)[:-1])
    return [
        (f"{file} from row {first} on", _piece(log, first, stop, episodes))
        for first, stop in _cuts(ends, int(PIECE_BYTES / size))
    ]


def _ends(log: Log, choice: ColumnChoice, ours: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The columns that will be read, and which rows end an episode; no rows where the log cannot be cut."""
    nothing = list[str](), np.zeros(0, bool)
    roles, faults = resolve_columns(choice, log.columns)
    names = list(ours) or list(dict.fromkeys(sum(roles.values(), ())))
    flags = [role for role in _FLAGS if roles[role]]
    if ours:
        flags, faults = ["ends"] if "ends" in ours else [key for key in _OUR_FLAGS if key in ours], []
        roles = {key: (key,) for key in ours}
    of_reward = [name for name in log.columns if choice.reward and name in choice.reward]
    of_rows = {*names, *of_reward} - {*roles.get("episode", ())}
    counts = {log.columns[name].rows for name in of_rows}
    count = counts.pop() if len(counts) == 1 else None
    if faults or not flags or not count or any(log.columns[name].unusable for name in names):
        return nothing
    parts, damage = log.read([roles[flag][0] for flag in flags])
    try:
        if damage:
            return nothing
        if ours:
            ends = np.logical_or.reduce([flat_column(key, parts[key][0]).astype(bool) for key in flags])
        else:
            said = {role: roles[role] if role in flags else () for role in roles}
            _, ends = episode_flags(said, parts, [count], known=False)
    except Unfit:  # which the audit will say
        return nothing
    return (sorted(of_rows & {*names}), ends) if len(ends) == count else nothing


def _cuts(ends: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """First row, and the one after the last, of pieces of `most` rows or of one episode that is longer."""
    stops, first = np.append(np.flatnonzero(ends[:-1]) + 1, len(ends)), 0
    while first < len(ends):
        fitting = np.searchsorted(stops, first + max(most, 1), "right")
        stop = int(stops[max(fitting - 1, np.searchsorted(stops, first, "right"))])
        yield first, stop
        first = stop


def _piece(log: Log, first: int, stop: int, episodes: np.ndarray) -> Log:
    """The log of some rows; what has a value for each episode of the file gives each row's number instead."""
    rows = len(episodes)

    def read(names: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        assert log.read_rows is not None
        there = [name for name in names if log.columns[name].rows == rows]
        parts, faults = log.read_rows(there, first, stop)
        return parts | {name: [episodes[first:stop]] for name in names if name not in there}, faults

    columns = {name: column._replace(rows=stop - first) for name, column in log.columns.items()}
    return replace(log, columns=columns, read=read, read_rows=None, whole=False)

"""Where the episodes of a log end, and which ends are true ones."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

LogParts = Mapping[str, Sequence[np.ndarray]]
"""The arrays of each column of a log: one of each episode, or one of all."""


class Unfit(Exception):
    """A fault of one key of a log."""

    def __init__(self, key: str | None, text: str):
        super().__init__(text)
        self.key = key


def episode_flags(
    roles: Mapping[str, tuple[str, ...]], parts: LogParts, lengths: Sequence[int], known: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each row truly ends, and whether it is the last one of its episode.

    `lengths` are the rows of each part; where episodes are `known` these are the parts. Otherwise they end
    where a column says so: of ends, of the episodes' numbers, lengths or bounds, or else of any flag. Raises
    Unfit for what is no flag.
    """
    rows = sum(lengths)
    flags = {
        role: _flags_of_rows(role, names[0], parts[names[0]], lengths, known)
        for role, names in roles.items()
        if names and role in ("terminations", "truncations", "ends", "masks", "dones")
    }
    if "masks" in flags:
        flags["masks"] = ~flags["masks"]
    terminations = next((flags[role] for role in ("terminations", "masks", "dones") if role in flags), None)
    if terminations is None:
        terminations = np.zeros(rows, bool)
    elif terminations is flags.get("dones"):
        terminations = terminations & ~flags.get("truncations", np.zeros(rows, bool))
    if known:
        return terminations, _at_ends(lengths)
    if "ends" in flags:
        return terminations, flags["ends"]
    if roles["episode"]:
        (name,) = roles["episode"]
        return terminations, _ends_by_episode(name, parts[name][0], rows)
    return terminations, np.logical_or.reduce([*flags.values(), np.zeros(rows, bool)])


def _flags_of_rows(
    role: str, name: str, parts: Sequence[np.ndarray], lengths: Sequence[int], known: bool
) -> np.ndarray:
    """A column of flags [rows]; one of each of the episodes, where these are known, is for its last row."""
    rows, of_episodes = sum(lengths), known and all(np.size(part) == 1 for part in parts)
    flags = flag_column(name, parts, len(lengths) if of_episodes else rows)
    if of_episodes and len(lengths) != rows:
        spread = np.full(rows, role == "masks")
        spread[_at_ends(lengths)] = flags[np.array(lengths) > 0]
        return spread
    if len(flags) != rows:
        raise Unfit(name, f"has {len(flags)} rows, but 'actions' has {rows}.")
    return flags


def flat_column(key: str, part: np.ndarray) -> np.ndarray:
    """A column [rows] of one given as [rows] or [rows, 1]. Raises Unfit for any other."""
    if part.ndim == 2 and part.shape[1] == 1:
        return part[:, 0]
    if part.ndim > 1:
        raise Unfit(key, f"has the shape {part.shape}; one number a row is expected.")
    return np.atleast_1d(part)


def flag_column(name: str, parts: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """A column of flags as booleans. Raises Unfit for what is none."""
    values = np.concatenate([flat_column(name, part) for part in parts])
    if len(values) == rows and (bad := ~np.isin(values, (0, 1))).any():
        row = int(np.argmax(bad))
        raise Unfit(name, f"is {values[row]} in row {row}, where only 0 and 1 mean anything.")
    return values.astype(bool)


def _at_ends(lengths: Sequence[int]) -> np.ndarray:
    ends = np.zeros(sum(lengths), bool)
    ends[np.cumsum([length for length in lengths if length], dtype=np.int64) - 1] = True
    return ends


def _ends_by_episode(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """The last rows of the episodes, by a number of each row's, by their lengths or by where they end."""
    values = flat_column(name, values)
    if (bad := values != values).any():
        raise Unfit(name, f"is nan in row {int(np.argmax(bad))}: no number of an episode.")
    if len(values) == rows:
        return np.append(values[1:] != values[:-1], True)
    whole = values.astype(np.int64) if np.isfinite(values).all() else np.zeros(0, np.int64)
    if len(whole) and (whole > 0).all() and whole.sum() == rows:
        return _at_ends(whole.tolist())
    if len(whole) and whole[-1] == rows and all(one < other for one, other in pairwise([0, *whole])):
        return _at_ends(np.diff([0, *whole]).tolist())
    text = f"has {len(values)} values for {rows} rows: neither a number of each row's episode, nor lengths."
    raise Unfit(name, text)

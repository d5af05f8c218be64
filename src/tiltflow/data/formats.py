"""The layouts of columns, told apart by their keys, and how each becomes transitions."""

from typing import Literal, NamedTuple

import numpy as np

from tiltflow.data.transitions import Transitions

FileColumns = dict[str, np.ndarray]
Layout = Literal["transitions", "rows", "steps", "states"]

# transitions: our own. rows: ours without successors. steps: D4RL. states: OGBench, without rewards, or with
# those of one task in columns
# `rewards` and `terminations`.
REQUIRED: dict[Layout, tuple[str, ...]] = {
    "transitions": ("observations", "actions", "rewards", "next_observations", "terminations", "ends"),
    "rows": ("observations", "actions", "rewards", "terminations", "ends"),
    "steps": ("observations", "actions", "rewards", "terminals"),
    "states": ("observations", "actions", "terminals"),
}


class Recording(NamedTuple):
    """The columns of one file (or folder), by its name."""

    file: str
    columns: FileColumns


def has_rewards(columns: FileColumns) -> bool:
    """Whether columns in the OGBench layout hold the rewards of a task, so that no simulator is needed."""
    return {"terminals", "rewards", "terminations"} <= columns.keys()


def layout_of(columns: FileColumns, states: bool | None = None) -> Layout:
    """The layout that the keys suggest; `states` says whether it is that of OGBench, where this is known."""
    if states or (states is None and has_rewards(columns)):
        return "states"
    if {"terminations", "ends"} <= columns.keys() and not {"terminals", "next_observations"} & columns.keys():
        return "rows"
    if not has_rewards(columns) and ("terminations" in columns or "ends" in columns):
        return "transitions"
    if states is None and "qpos" in columns and "rewards" not in columns:
        return "states"
    return "steps"


def to_transitions(columns: FileColumns, states: bool | None, horizon: int) -> Transitions:
    """The transitions of sound columns in any of the layouts; `states` as in `layout_of`."""
    match layout_of(columns, states):
        case "transitions":
            return from_transitions(columns)
        case "rows":
            return from_rows(columns)
        case "steps":
            return from_steps(columns, horizon)
        case "states":
            return from_states(columns)


def from_transitions(columns: FileColumns) -> Transitions:
    """Our own layout: the columns as they are, but that the last row ends an episode."""
    *rest, ends = (columns[key] for key in REQUIRED["transitions"])
    return _transitions(*rest, np.append(ends[:-1], True))


def from_rows(columns: FileColumns) -> Transitions:
    """Our own layout without `next_observations`: the next row supplies them.

    An episode's last row has none. It is kept where it is a true end, where the value of the next state does
    not count, and dropped otherwise.
    """
    last = np.append(columns["ends"][:-1], True).astype(bool)
    rows, ends = _rows_with_value(last, columns["terminations"].astype(bool))
    following = np.where(last[rows], rows, np.minimum(rows + 1, len(last) - 1))
    return _with_next_rows(columns, rows, following, columns["terminations"][rows], ends)


def from_steps(columns: FileColumns, horizon: int) -> Transitions:
    """The D4RL layout: `terminals` are true ends, `timeouts` time limits.

    With `next_observations` every row is a transition. Without, the next row supplies them, as in D4RL's
    `qlearning_dataset`: rows that end by a time limit have no successor and are dropped, and so is the
    last row of the file. Files without `timeouts` are cut every `horizon` steps after an end.

    Departs from D4RL: *Paper*: a terminal row is dropped too where it is the last one or a time limit.
    *Here*: it is kept. *Why*: the value of its successor does not count; its reward may be the only one.
    """
    terminals = columns["terminals"].astype(bool)
    timeouts = columns["timeouts"].astype(bool) if "timeouts" in columns else _timeouts(terminals, horizon)
    if "next_observations" in columns:
        kept = [columns[key] for key in ("observations", "actions", "rewards", "next_observations")]
        return _transitions(*kept, terminals, np.append((terminals | timeouts)[:-1], True))
    rows, ends = _rows_with_value(np.append((terminals | timeouts)[:-1], True), terminals)
    return _with_next_rows(columns, rows, np.minimum(rows + 1, len(terminals) - 1), terminals[rows], ends)


def from_states(columns: FileColumns) -> Transitions:
    """The OGBench layout with the rewards of a task; an episode's last row only supplies its last successor.

    The recording goes on after a termination, so here a termination need not be an end.
    """
    rows = state_rows(columns["terminals"])
    return _with_next_rows(columns, rows, rows + 1, columns["terminations"][rows], ~np.isin(rows + 1, rows))


def state_rows(terminals: np.ndarray) -> np.ndarray:
    """Rows of the OGBench layout that begin a transition: all but the last row of each episode."""
    return np.flatnonzero(~np.append(terminals[:-1].astype(bool), True))


def _timeouts(terminals: np.ndarray, horizon: int) -> np.ndarray:
    timeouts = np.zeros(len(terminals), bool)
    start = 0
    for end in [*np.flatnonzero(terminals), len(terminals) - 1]:
        timeouts[start + horizon - 1 : end + 1 : horizon] = True
        start = end + 1
    return timeouts


def _rows_with_value(last: np.ndarray, terminations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have a successor or need none, and which of them now are the last of their episode."""
    rows = np.flatnonzero(~last | terminations)
    episode = np.append(0, np.cumsum(last)[:-1])[rows]
    return rows, np.append(episode[1:] != episode[:-1], True)[: len(rows)]


def _with_next_rows(
    columns: FileColumns, rows: np.ndarray, following: np.ndarray, terminations: np.ndarray, ends: np.ndarray
) -> Transitions:
    observations, actions, rewards = (columns[key] for key in ("observations", "actions", "rewards"))
    return _transitions(
        observations[rows], actions[rows], rewards[rows], observations[following], terminations, ends
    )


def _transitions(*columns: np.ndarray) -> Transitions:
    """The columns in the order and the types of `Transitions`, with actions clipped to [−1, 1]."""
    numbers = [np.ascontiguousarray(column, np.float32) for column in columns[:4]]
    flags = [np.ascontiguousarray(column).astype(bool) for column in columns[4:]]
    numbers[1] = np.clip(numbers[1], -1.0, 1.0)
    return Transitions(*numbers, *flags)

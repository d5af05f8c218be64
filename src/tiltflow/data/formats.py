"""The three layouts of columns, told apart by their keys, and how each becomes transitions."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from tiltflow.data.transitions import Transitions

FileColumns = dict[str, np.ndarray]
Layout = Literal["transitions", "steps", "states"]

# transitions: our own. steps: D4RL. states: OGBench, without rewards, or with those of one task in columns
# `rewards` and `terminations`.
REQUIRED: dict[Layout, tuple[str, ...]] = {
    "transitions": ("observations", "actions", "rewards", "next_observations", "terminations", "ends"),
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
        case "steps":
            return from_steps(columns, horizon)
        case "states":
            return from_states(columns)


def from_transitions(columns: FileColumns) -> Transitions:
    """Our own layout: the columns as they are, but that the last row ends an episode."""
    transitions = _transitions(**{key: columns[key] for key in REQUIRED["transitions"]})
    return replace(transitions, ends=np.append(transitions.ends[:-1], True))


def from_steps(columns: FileColumns, horizon: int) -> Transitions:
    """The D4RL layout: `terminals` are true ends, `timeouts` time limits.

    With `next_observations` every row is a transition. Without, the next row supplies them, as in D4RL's
    `qlearning_dataset`: rows that end by a time limit have no successor and are dropped, and so is the
    last row of the file. Files without `timeouts` are cut every `horizon` steps after an end.
    """
    terminals = columns["terminals"].astype(bool)
    timeouts = columns["timeouts"].astype(bool) if "timeouts" in columns else _timeouts(terminals, horizon)
    if "next_observations" in columns:
        ends = terminals | timeouts
        ends[-1] = True
        return _transitions(
            columns["observations"], columns["actions"], columns["rewards"], columns["next_observations"],
            terminals, ends,
        )  # fmt: skip
    kept = np.flatnonzero(~timeouts[:-1])
    following = kept + 1
    ends = terminals[kept] | timeouts[following] | (following == len(terminals) - 1)
    return _transitions(
        columns["observations"][kept], columns["actions"][kept], columns["rewards"][kept],
        columns["observations"][following], terminals[kept], ends,
    )  # fmt: skip


def state_rows(terminals: np.ndarray) -> np.ndarray:
    """Rows of the OGBench layout that begin a transition: all but the last row of each episode."""
    final = terminals.astype(bool).copy()
    final[-1] = True
    return np.flatnonzero(~final)


def from_states(columns: FileColumns) -> Transitions:
    """The OGBench layout with the rewards of a task; an episode's last row only supplies its last successor.

    The recording goes on after a termination, so here a termination need not be an end.
    """
    rows = state_rows(columns["terminals"])
    ends = ~np.isin(rows + 1, rows)
    return _transitions(
        columns["observations"][rows], columns["actions"][rows], columns["rewards"][rows],
        columns["observations"][rows + 1], columns["terminations"][rows], ends,
    )  # fmt: skip


def _timeouts(terminals: np.ndarray, horizon: int) -> np.ndarray:
    timeouts = np.zeros(len(terminals), bool)
    start = 0
    for end in [*np.flatnonzero(terminals), len(terminals) - 1]:
        timeouts[start + horizon - 1 : end + 1 : horizon] = True
        start = end + 1
    return timeouts


def _transitions(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    next_observations: np.ndarray,
    terminations: np.ndarray,
    ends: np.ndarray,
) -> Transitions:
    return Transitions(
        np.ascontiguousarray(observations, np.float32),
        np.clip(np.ascontiguousarray(actions, np.float32), -1.0, 1.0),
        np.ascontiguousarray(rewards, np.float32),
        np.ascontiguousarray(next_observations, np.float32),
        np.ascontiguousarray(terminations).astype(bool),
        np.ascontiguousarray(ends).astype(bool),
    )

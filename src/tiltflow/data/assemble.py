"""The columns of a log by our names: joined, with the ends of its episodes, and rewards if there are any."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tiltflow import words
from tiltflow.data.arrays import in_floats
from tiltflow.data.audit import Finding
from tiltflow.data.columns import ColumnChoice, LogColumn, holds, resolve_columns, unread_columns
from tiltflow.data.ends import LogParts, Unfit, episode_flags, flat_column
from tiltflow.data.formats import FileColumns
from tiltflow.data.interface import Signal
from tiltflow.data.logs import Log

_COMPARISON = re.compile(r"\s*(.+?)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*")
_GOAL = "success"
_COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


@dataclass(frozen=True)
class Assembled:
    """The columns of one log by our names, and what there is to say of them."""

    columns: FileColumns
    findings: list[Finding]
    observations: tuple[Signal, ...] = ()
    actions: tuple[Signal, ...] = ()
    time: np.ndarray | None = None


def assemble(file: str, log: Log, choice: ColumnChoice) -> Assembled:
    """Read the columns that are chosen, or that their names tell, and put them together.

    They have `observations`, `actions`, `terminations`, `ends`, and `rewards` and `next_observations` where
    there are any. What is wrong is among the findings; then there are no columns.
    """

    def failed(*faults: tuple[str | None, str]) -> Assembled:
        return Assembled({}, [Finding("error", file, key, None, text) for key, text in faults])

    roles, faults = resolve_columns(choice, log.columns)
    reward, reward_fault = _reward_column(choice.reward, roles, log.columns)
    if choice.reward:
        roles["rewards"] = ()
    if faults or reward_fault:
        return failed(*faults, *reward_fault)
    wanted = list(dict.fromkeys([*sum(roles.values(), ()), *reward]))
    unusable = [(name, log.columns[name].unusable) for name in wanted if log.columns[name].unusable]
    if unusable:
        return failed(*unusable)
    parts, damage = log.read(wanted)
    if damage:
        return failed(*damage)
    try:
        columns = _columns(parts, roles, choice.reward, reward, log.episodes)
        times = [flat_column("time", part) for name in roles["time"] for part in parts[name]]
    except Unfit as fault:
        return failed((fault.key, str(fault)))
    notes = _notes(roles, columns, log, choice.reward, reward)
    findings = [Finding("note", file, None, None, text) for text in notes]
    findings += [Finding("warning", file, None, None, log.lack)] if log.lack else []
    signals = [
        tuple(
            _signal(name, math.prod(parts[name][0].shape[1:]), log.entries.get(name, ()))
            for name in roles[role]
        )
        for role in ("observations", "actions")
    ]
    return Assembled(columns, findings, signals[0], signals[1], np.concatenate(times) if times else None)


def _columns(
    parts: LogParts, roles: Mapping[str, tuple[str, ...]], reward: str | None, rewarding: tuple[str, ...],
    episodes: bool,
) -> FileColumns:  # fmt: skip
    actions = _joined("actions", parts, roles["actions"])
    observations = _joined("observations", parts, roles["observations"])
    lengths = [len(part) for part in actions]
    if episodes:
        _check_lengths(parts, lengths)
    following = None
    if roles["next_observations"]:
        following = _joined("next_observations", parts, roles["next_observations"])
    elif all(len(part) == length + 1 for part, length in zip(observations, lengths, strict=True)):
        following, observations = [part[1:] for part in observations], [part[:-1] for part in observations]
    columns = {"observations": np.concatenate(observations), "actions": np.concatenate(actions)}
    if following is not None:
        columns["next_observations"] = np.concatenate(following)

    columns["terminations"], columns["ends"] = episode_flags(roles, parts, lengths, known=episodes)
    if not (episodes or roles["next_observations"]) and columns["ends"][:-1].any():
        columns.pop("next_observations", None)  # after an end the next row is another episode's first
    if rewarding:
        goal = reward is not None and (reward == _GOAL or bool(_COMPARISON.fullmatch(reward)))
        values = np.concatenate([flat_column("rewards", part) for part in parts[rewarding[0]]])
        if goal:
            columns["rewards"] = reached = _goal(reward or "", values, columns["ends"])
            if len(reached) == len(columns["terminations"]):
                columns["terminations"] = columns["terminations"] | (reached > 0)
        else:
            columns["rewards"] = in_floats(values)
    return columns


def _check_lengths(parts: LogParts, lengths: Sequence[int]) -> None:
    """Raise Unfit for a column that has the rows of all episodes together, but not of each."""
    for name, of_episodes in parts.items():
        sizes = [part.shape[0] if part.ndim else 1 for part in of_episodes]
        if sum(sizes) == sum(lengths) and set(sizes) != {1}:
            for number, (size, length) in enumerate(zip(sizes, lengths, strict=True)):
                if size != length:
                    raise Unfit(
                        name, f"has {size} rows in episode {number}, where the actions have {length}."
                    )


def _reward_column(
    reward: str | None, roles: Mapping[str, tuple[str, ...]], there: Mapping[str, LogColumn]
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The column that the rewards are made of, if any, and what is wrong with the wish for it."""
    if reward is None:
        return roles["rewards"], []
    if reward == _GOAL and roles["success"]:
        return roles["success"], []
    match = _COMPARISON.fullmatch(reward)
    name = match[1] if match else reward
    if name in there:
        return (name,), []
    return (), [("rewards", f"--reward {reward} names no column. {holds(there)}")]


def _goal(reward: str, values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """1 in the rows that reach the goal, else 0; a flag of each episode is for its last row."""
    if match := _COMPARISON.fullmatch(reward):
        if (bad := values != values).any():
            text = f"is nan in row {int(np.argmax(bad))}, of which --reward {reward} says nothing."
            raise Unfit(match[1], text)
        try:
            return _COMPARE[match[2]](values, float(match[3])).astype(np.float32)
        except ValueError as error:
            raise Unfit("rewards", f"--reward {reward} compares with no number.") from error
    if (bad := ~np.isin(values, (0, 1))).any():
        raise Unfit("success", f"is {values[bad][0]}, but only 0 and 1 mean anything here.")
    last = np.flatnonzero(np.append(ends[:-1], True))
    if len(values) == len(last) != len(ends):
        reached = np.zeros(len(ends), np.float32)
        reached[last] = values
        return reached
    return values.astype(np.float32)


def _joined(role: str, parts: LogParts, names: Sequence[str]) -> list[np.ndarray]:
    """The columns of a role side by side, [rows, entries] of each episode."""
    joined = []
    for index, first in enumerate(parts[names[0]]):
        pieces = [parts[name][index] for name in names]
        for name, piece in zip(names, pieces, strict=True):
            if piece.ndim == 0:
                raise Unfit(name, "is a single number, and no column of rows.")
            if len(piece) != len(first):
                raise Unfit(name, f"has {len(piece)} rows, but {names[0]!r} has {len(first)}.")
            if piece.ndim > 3:
                raise Unfit(name, f"has the shape {piece.shape}: images are not read yet. Leave it out.")
        flat = [in_floats(piece.reshape(len(piece), math.prod(piece.shape[1:]))) for piece in pieces]
        joined.append(flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1))
    if len({piece.shape[1] for piece in joined}) > 1:
        raise Unfit(names[0], f"has a size that differs between episodes, as a part of the {role}.")
    return joined


def _notes(
    roles: Mapping[str, tuple[str, ...]], columns: FileColumns, log: Log, reward: str | None,
    rewarding: tuple[str, ...],
) -> list[str]:  # fmt: skip
    """What was taken for what, what was left out, and what the flags are taken to say."""
    taken = ", ".join(f"{role}={_listed(names, '+')}" for role, names in roles.items() if names)
    notes = [f"read as {taken}" + (f"; rewards from {reward}" if reward else "")]
    if left := unread_columns(log.columns, {**roles, "rewards": rewarding}):
        images = [name for name in left if log.columns[name].is_image]
        notes.append(f"not read: {_listed(left, ', ')}" + (" (images are not read yet)" if images else ""))
    if roles["dones"] and not (roles["terminations"] or roles["masks"] or roles["truncations"]):
        done = roles["dones"][0]
        text = f"{done!r} is taken for true ends, after which nothing is of value; where it marks time limits"
        notes.append(f"{text} too, say ends={done} instead")
    elif not (roles["terminations"] or roles["dones"] or roles["masks"] or columns["terminations"].any()):
        notes.append("no column says which ends are true ones: each is taken for a time limit")
    if "next_observations" not in columns:
        cut = int((np.append(columns["ends"][:-1], True) & ~columns["terminations"]).sum())
        if cut:
            episodes = words.plural(cut, "episode")
            notes.append(f"the last row of {episodes}, not truly ended, has no next one: left out")
    return notes


def _signal(name: str, size: int, entries: tuple[str, ...]) -> Signal:
    return Signal(name, size, entries if len(entries) == size else ())


def _listed(names: Sequence[str], between: str) -> str:
    shown = between.join(names[:12])
    return shown if len(names) <= 12 else f"{shown} … {names[-1]} ({len(names)} columns)"

"""Loading a task's data set: found, read, audited, turned into transitions."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiltflow.data.arrays import read_arrays
from tiltflow.data.audit import Finding, audit_columns, refuse_errors
from tiltflow.data.formats import (
    Columns,
    Layout,
    from_states,
    from_steps,
    from_transitions,
    has_rewards,
    layout_of,
    missing_keys,
    state_rows,
)
from tiltflow.data.locate import data_files, locate, validation_of
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.tasks import Task

if TYPE_CHECKING:
    from tiltflow.data.relabel import Relabeller


@dataclass(frozen=True)
class Dataset:
    """Audited transitions of a task. `checksum` is the SHA-256 of `train`, `source` the file(s)."""

    train: Transitions
    validation: Transitions | None
    checksum: str
    source: str
    findings: tuple[Finding, ...]


def load_dataset(task: Task, path: Path | None) -> Dataset:
    """Load the data of a task from a file or folder, or from the default folders.

    Raises UserError naming file, key and row where the data are missing or the audit finds an error.
    """
    if task.family == "minari":
        from tiltflow.data.minari_folder import load_minari

        train, source, findings = load_minari(task, path)
        validation = None
    elif task.family == "ogbench":
        train, validation, source, findings = _load_ogbench(task, path)
    else:
        train, source, findings = _load_files(task, path)
        validation = None
    return Dataset(train, validation, _checksum(train), source, tuple(findings))


def audit(path: Path) -> list[Finding]:
    """Everything that is wrong with the file(s) of a path, errors included, without raising them."""
    from tiltflow.data.minari_folder import is_minari, read_minari

    if is_minari(path):
        return read_minari(path)[1]
    findings = []
    files = data_files(path)
    if not files:
        return [Finding("error", str(path), None, None, "the folder holds no npz or HDF5 files.")]
    for file in files:
        findings += read_file(file)[1]
    return findings


def read_file(path: Path, layout: Layout | None = None) -> tuple[Columns, list[Finding]]:
    """The known columns of one file and what is wrong with them, for the layout given or guessed."""
    columns, findings = read_arrays(path)
    if columns or not findings:
        unread = {finding.key for finding in findings}
        missing = missing_keys(str(path), columns, layout or layout_of(columns))
        findings += [finding for finding in missing if finding.key not in unread]
        findings += audit_columns(str(path), columns)
        findings += _audit_episodes(str(path), columns)
    return columns, findings


def _audit_episodes(file: str, columns: Columns) -> list[Finding]:
    """Warn of an episode that the end of the file cuts, and of episodes that never end."""
    keys = [key for key in ("ends", "terminals", "timeouts", "terminations") if key in columns]
    flags = [columns[key] for key in keys if columns[key].ndim == 1 and len(columns[key])]
    if not flags or len({len(flag) for flag in flags}) > 1:
        return []
    ends = np.logical_or.reduce([flag.astype(bool) for flag in flags])
    if not ends.any():
        how = "each episode, time limits included"
        if layout_of(columns) == "steps":
            how = "each: true ends in 'terminals', time limits in 'timeouts'"
        text = f"no row ends an episode. Mark the last row of {how}."
        return [Finding("warning", file, keys[0], None, text)]
    if not ends[-1]:
        text = "the last episode has no end; the last row is taken for one."
        return [Finding("warning", file, keys[0], len(ends) - 1, text)]
    return []


def _load_ogbench(
    task: Task, path: Path | None
) -> tuple[Transitions, Transitions | None, str, list[Finding]]:
    train_path, *others = locate(task, path)
    if others:
        raise UserError(f"--data {path} names several files, but an OGBench task takes one (and its -val).")
    validation_path = validation_of(train_path)
    rewards_of = task_rewards(task)
    parts, findings = [], []
    for file in [train_path, validation_path]:
        if file is None:
            continue
        columns, found = read_file(file, "states")
        refuse_errors(found)
        rows = state_rows(columns["terminals"])
        rewards, terminations = rewards_of(str(file), columns, rows)
        findings += found + audit_columns(str(file), {"rewards": rewards})
        parts.append(from_states(columns, rewards, terminations))
    return parts[0], parts[1] if len(parts) > 1 else None, str(train_path), findings


def task_rewards(task: Task) -> Callable[[str, Columns, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Rewards and terminations of the given rows of an OGBench file (its name, columns, rows).

    They are the file's own where it has them; otherwise the ogbench package computes them.
    """
    relabeller = cache(lambda: _relabeller(task))

    def rewards_of(file: str, columns: Columns, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if has_rewards(columns):
            return columns["rewards"][rows], columns["terminations"][rows]
        return relabeller()(file, columns, rows)

    return rewards_of


def _relabeller(task: Task) -> "Relabeller":
    from tiltflow.data.relabel import Relabeller

    return Relabeller(task)


def _load_files(task: Task, path: Path | None) -> tuple[Transitions, str, list[Finding]]:
    files = locate(task, path)
    parts, findings = [], []
    for file in files:
        columns, found = read_file(file)
        findings += found
        refuse_errors(found)
        if task.dataset.startswith("ant-"):
            findings += _drop_contact_forces(str(file), columns)
        layout = layout_of(columns)
        if task.family == "file" and layout == "steps" and "timeouts" not in columns:
            text = f"is missing: time limits are taken to fall every {task.horizon} steps after an end."
            findings.append(Finding("warning", str(file), "timeouts", None, text))
        parts.append(
            from_transitions(columns) if layout == "transitions" else from_steps(columns, task.horizon)
        )
    if len(parts) > 1 and "medium-expert" in task.dataset:
        parts = _equal_counts(parts)
    return _join(parts), ",".join(map(str, files)), findings


def _drop_contact_forces(file: str, columns: Columns) -> list[Finding]:
    """D4RL's ant observes 84 contact forces after its 27 coordinates, which its simulator left at 0."""
    if columns["observations"].shape[1] != 111 or np.any(columns["observations"][:, 27:]):
        return []
    for key in ("observations", "next_observations"):
        if key in columns:
            columns[key] = columns[key][:, :27]
    return [Finding("warning", file, "observations", None, "the last 84 of 111 columns are 0: left out.")]


def _equal_counts(parts: list[Transitions]) -> list[Transitions]:
    """The first rows of each part, as many as the smallest has; the cut ends an episode."""
    count = min(len(part) for part in parts)
    parts = [part.take(slice(count)) for part in parts]
    return [replace(part, ends=np.append(part.ends[:-1], True)) for part in parts]


def _join(parts: list[Transitions]) -> Transitions:
    columns = [part.columns() for part in parts]
    return Transitions(**{key: np.concatenate([column[key] for column in columns]) for key in columns[0]})


def _checksum(train: Transitions) -> str:
    digest = hashlib.sha256()
    for column in train.columns().values():
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()

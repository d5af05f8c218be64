"""Loading a task's data set: located, read, audited, completed for the task, turned into transitions."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tiltflow.data.arrays import read_array_file
from tiltflow.data.audit import Finding, audit_recording, refuse_errors
from tiltflow.data.columns import HOW_TO_END, ColumnChoice
from tiltflow.data.formats import Recording, layout_of, to_transitions
from tiltflow.data.held_out import HeldOutEpisodes
from tiltflow.data.interface import PolicyInterface
from tiltflow.data.locate import LOG_SUFFIXES, data_places, minari_inside, unread_below, validation_of
from tiltflow.data.minari_folder import minari_interface, read_minari
from tiltflow.data.own import read_own
from tiltflow.data.own_audit import audit_number
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.tasks import Task


@dataclass(frozen=True)
class Dataset:
    """Audited transitions of a task. `checksum` is the SHA-256 of `train`, `source` the file(s)."""

    train: Transitions
    validation: Transitions | None
    checksum: str
    source: str
    findings: tuple[Finding, ...]
    interface: PolicyInterface | None = None
    """What observations and actions are called and what ±1 means, where the data are the user's own."""
    rewarded: bool = True
    """Whether there are rewards; otherwise they are all 0, and only cloning makes sense."""
    held_out: HeldOutEpisodes | None = None
    """Where there is no simulator, what policies are scored on; `train` is the rest."""


def load_dataset(task: Task, path: Path | None, choice: ColumnChoice | None = None) -> Dataset:
    """Load the data of a task from a file or folder, or from the default folders.

    `choice` says which columns of the user's own data are what. Raises UserError naming file, key and row
    where the data are missing or the audit finds an error.
    """
    source = task.source
    if source.own:
        return _load_own(task, path, choice)
    if choice not in (None, ColumnChoice()):
        raise UserError(
            "--columns, --reward and --action-bounds are for data of your own, file/NAME, not for "
            f"{task.name}."
        )
    places = source.locate(task, path)
    held_out = validation_of(places[0]) if source.states else None
    read = [read_recording(place, source.states) for place in [*places, held_out] if place]
    findings = [finding for _, found in read for finding in found]
    refuse_errors(findings)
    recordings = [recording for recording, _ in read]
    findings += source.complete(task, recordings)
    parts = [to_transitions(columns, source.states, task.horizon) for _, columns in recordings]
    train = join_parts(parts[: len(places)], equally="medium-expert" in task.dataset)
    validation = parts[-1] if held_out else None
    folder = minari_inside(places[0])
    interface = minari_interface(folder) if folder else None
    named = ",".join(map(str, places))
    return Dataset(train, validation, _checksum(train), named, tuple(findings), interface)


def _load_own(task: Task, path: Path | None, choice: ColumnChoice | None) -> Dataset:
    places = task.source.locate(task, path)
    own = read_own(places, choice)
    refuse_errors(own.findings)
    findings = own.findings + task.source.complete(task, own.recordings) + _unread(path)
    parts = [to_transitions(columns, False, task.horizon) for _, columns in own.recordings]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise UserError(
            f"The data {path or places[0]} hold no row that has a next one: no transition. {HOW_TO_END}, or "
            "give next_observations."
        )
    train = join_parts(parts)
    source = str(path or places[0])
    return Dataset(train, None, _checksum(train), source, tuple(findings), own.interface, own.rewarded)


def _unread(path: Path | None) -> list[Finding]:
    text = unread_below(path) if path else ""
    return [Finding("note", str(path), None, None, text)] if text else []


def read_recording(place: Path, states: bool | None = None) -> tuple[Recording, list[Finding]]:
    """The known columns of a file or a Minari data set, and everything that is wrong with them.

    `states` says whether they are states as OGBench's files hold them; None guesses. Raises UserError where
    there is no such file, or Minari's library must not open the folder.
    """
    folder = minari_inside(place)
    file = str(folder or place)
    columns, findings = read_minari(folder) if folder else read_array_file(place)
    if columns or not findings:
        unread = {finding.key for finding in findings}
        found = audit_recording(file, columns, layout_of(columns, states))
        findings += [finding for finding in found if finding.key not in unread]
    return Recording(file, columns), findings


def audit_path(path: Path, choice: ColumnChoice | None = None) -> list[Finding]:
    """Everything that is wrong with the data of a path, errors included, without raising them."""
    places = data_places(path)
    if not places:
        text = f"it holds no files that are read ({', '.join(LOG_SUFFIXES)}). {unread_below(path)}".rstrip()
        return [Finding("error", str(path), None, None, text)]
    own = read_own(places, choice, states=None)
    own.findings.extend(_unread(path))
    if own.alike or not path.is_dir():
        if own.interface is None or minari_inside(path) or layout_of(own.recordings[0].columns) == "states":
            return own.findings
        return own.findings + audit_number(own.recordings)
    text = (
        "its files differ in what they hold: checked one by one. They cannot be trained on as one data set."
    )
    alone = [finding for place in places for finding in read_own([place], choice, states=None).findings]
    return [*alone, Finding("warning", str(path), None, None, text)]


def join_parts(parts: list[Transitions], equally: bool = False) -> Transitions:
    """All rows of the parts, or the first ones, equally many of each; a cut ends an episode."""
    if len(parts) == 1:
        return parts[0]
    if equally:
        parts = [part.take(slice(min(map(len, parts)))) for part in parts]
        parts = [replace(part, ends=np.append(part.ends[:-1], True)) for part in parts]
    columns = [part.columns() for part in parts]
    return Transitions(**{key: np.concatenate([column[key] for column in columns]) for key in columns[0]})


def _checksum(train: Transitions) -> str:
    digest = hashlib.sha256()
    for column in train.columns().values():
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()

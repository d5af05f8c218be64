"""Loading a task's data set: located, read, audited, completed for the task, turned into transitions."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tiltflow import sizes
from tiltflow.data.audit import Finding, audit_recording, audit_transitions, refuse_errors
from tiltflow.data.checksums import without_checksums
from tiltflow.data.columns import ColumnChoice
from tiltflow.data.flags import read_known
from tiltflow.data.formats import Recording, has_rewards, layout_of, to_transitions
from tiltflow.data.held_out import HeldOutEpisodes
from tiltflow.data.interface import PolicyInterface, stored_interface
from tiltflow.data.locate import LOG_SUFFIXES, data_places, minari_inside, unread_below, validation_of
from tiltflow.data.mapped_folder import (
    RECORD,
    changed_columns,
    hash_column,
    map_columns,
    mapped_inside,
    read_record,
    stored_findings,
    verify,
)
from tiltflow.data.minari_folder import minari_interface, read_minari
from tiltflow.data.moments import Moments, stored_moments
from tiltflow.data.own import OwnData, read_own
from tiltflow.data.own_audit import audit_number, merge_findings
from tiltflow.data.row_store import IN_MEMORY, RowStore
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.tasks import DEFAULT_HORIZON, Task

_COMPARED = 2**30
"""Bytes of a folder of `data shard` that are compared with their checksums when it is loaded, in a second."""


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
    moments: Moments | None = None
    """Of the observations of `train`, where they are known."""


def load_dataset(
    task: Task, path: Path | None, choice: ColumnChoice | None = None, store: RowStore = IN_MEMORY
) -> Dataset:
    """Load the data of a task from a file or folder, or from the default folders.

    `choice` says which columns of the user's own data are what, `store` where their rows go. Raises UserError
    naming file, key and row where the data are missing or the audit finds an error.
    """
    source = task.source
    if folder := mapped_inside(path):
        return _load_mapped(task, folder, choice)
    if source.own:
        return _load_own(task, path, choice, store)
    if choice not in (None, ColumnChoice()):
        raise UserError(
            "--columns, --reward and --action-bounds are for data of your own, file/NAME, not for "
            f"{task.name}."
        )
    places = source.locate(task, path)
    held_out = validation_of(places[0]) if source.states else None
    findings, recordings = list[Finding](), list[Recording]()
    files = [*places, *([held_out] if held_out else [])]
    store.expect(files)
    for place in files:
        (file, columns), found = read_recording(place, source.states)
        recordings.append(Recording(file, store.keep(columns)))
        findings += found
    refuse_errors(findings)
    findings += source.complete(task, recordings)
    parts = [partial(to_transitions, columns, source.states, task.horizon) for _, columns in recordings]
    train = store.join(parts[: len(places)], equally="medium-expert" in task.dataset)
    findings += _sound(recordings[0].file, train)
    findings += [] if store.piecewise else without_checksums(files)
    validation = parts[-1]() if held_out else None
    folder = minari_inside(places[0])
    interface = minari_interface(folder) if folder else None
    named = ",".join(map(str, places))
    return Dataset(train, validation, rows_checksum(train), named, tuple(findings), interface)


def _load_own(task: Task, path: Path | None, choice: ColumnChoice | None, store: RowStore) -> Dataset:
    places = task.source.locate(task, path)
    own = read_own(places, choice, store=store)
    refuse_errors(own.findings)
    completed = merge_findings(task.source.complete(task, own.recordings))
    findings = own.findings + completed + _unread(path)
    train = store.join(
        [partial(to_transitions, columns, False, task.horizon) for _, columns in own.recordings]
    )
    interface = own.interface and own.interface.with_observations(train.spec.observation_size)
    source = str(path or places[0])
    findings += _sound(source, train)
    findings += [] if store.piecewise else without_checksums(places)
    return Dataset(train, None, rows_checksum(train), source, tuple(findings), interface, own.rewarded)


def _load_mapped(task: Task, folder: Path, choice: ColumnChoice | None) -> Dataset:
    """A folder that `data shard` has written: what was found then is not looked for again."""
    if choice not in (None, ColumnChoice()):
        raise UserError(
            f"{folder} is converted: --columns, --reward and --action-bounds were said to `tiltflow data "
            "shard`, and cannot be said again. Leave them out, or convert the data anew."
        )
    record, train = read_record(folder), map_columns(folder)
    if record["task"] != task.name and not task.source.own:
        raise UserError(
            f"{folder} holds the data of {record['task']}, not of {task.name}. Convert those: tiltflow data "
            f"shard PATH OUT --task {task.name}."
        )
    findings = stored_findings(record)
    if train.nbytes <= _COMPARED:
        refuse_errors(changed_columns(folder))
    else:
        size = sizes.text(train.nbytes)
        text = f"its {size} are not compared with their checksums; `tiltflow data audit` does that."
        findings.append(Finding("note", str(folder), None, None, text))
    told = record.get("interface")
    interface = stored_interface(record, train.spec, str(folder / RECORD)) if told else None
    moments = stored_moments(record["moments"])
    return Dataset(
        train,
        None,
        record["checksum"],
        str(folder),
        tuple(findings),
        interface,
        record["rewarded"],
        moments=moments,
    )


def _sound(source: str, train: Transitions) -> list[Finding]:
    """The warnings of the rows that are trained on. Raises UserError where there are none."""
    findings = audit_transitions(source, train)
    refuse_errors(findings)
    return findings


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
    columns, findings = read_minari(folder) if folder else read_known(place, states)
    if columns or not findings:
        unread = {finding.key for finding in findings}
        found = audit_recording(file, columns, layout_of(columns, states))
        findings += [finding for finding in found if finding.key not in unread]
    return Recording(file, columns), findings


def audit_path(path: Path, choice: ColumnChoice | None = None) -> list[Finding]:
    """Everything that is wrong with the data of a path, errors included, without raising them."""
    if folder := mapped_inside(path):
        return verify(folder)
    places = data_places(path)
    if not places:
        text = f"it holds no files that are read ({', '.join(LOG_SUFFIXES)}). {unread_below(path)}".rstrip()
        return [Finding("error", str(path), None, None, text)]
    own = read_own(places, choice, states=None)
    own.findings.extend(_unread(path))
    if not any(finding.level == "error" for finding in own.findings):
        own.findings.extend(without_checksums(places))
    if own.alike or not path.is_dir():
        findings = own.findings + _audit_rows(path, own)
        if own.interface is None or minari_inside(path) or layout_of(own.recordings[0].columns) == "states":
            return findings
        return findings + audit_number(own.recordings)
    text = (
        "its files differ in what they hold: checked one by one. They cannot be trained on as one data set."
    )
    alone = [finding for place in places for finding in read_own([place], choice, states=None).findings]
    return [*alone, Finding("warning", str(path), None, None, text)]


def _audit_rows(path: Path, own: OwnData) -> list[Finding]:
    """What is wrong with the rows that sound recordings become."""
    if not own.recordings or any(finding.level == "error" for finding in own.findings):
        return []
    parts = []
    for _, columns in own.recordings:
        if layout_of(columns) == "states" and not has_rewards(columns):  # those of the task come with it
            zeros = np.zeros(len(columns["actions"]), np.float32)
            columns = {**columns, "rewards": zeros, "terminations": zeros}
        parts.append(partial(to_transitions, columns, None, DEFAULT_HORIZON))
    return audit_transitions(str(path), IN_MEMORY.join(parts))


def rows_checksum(train: Transitions) -> str:
    """SHA-256 of the columns, one after the other."""
    digest = hashlib.sha256()
    for column in train.columns().values():
        hash_column(digest, column)
    return digest.hexdigest()

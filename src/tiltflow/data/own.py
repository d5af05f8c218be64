"""A user's own data: read by whatever names and in whatever units they have, and checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tiltflow.data.arrays import ARRAY_KEYS, in_our_shapes, read_array_file
from tiltflow.data.assemble import Assembled, assemble
from tiltflow.data.audit import FLAGS, NOTHING_TO_LEARN, Finding, audit_recording
from tiltflow.data.bounds import bound_actions
from tiltflow.data.column_file import common_folder, stored_choice
from tiltflow.data.columns import HOW_TO_REWARD, ColumnChoice, flag_roles
from tiltflow.data.flags import read_known, take_others
from tiltflow.data.formats import FileColumns, Recording, layout_of
from tiltflow.data.interface import ActionBounds, PolicyInterface, Signal
from tiltflow.data.locate import minari_inside
from tiltflow.data.logs import Log, open_log
from tiltflow.data.minari_folder import minari_interface, read_minari
from tiltflow.data.own_audit import audit_logs, audit_own_units, merge_findings
from tiltflow.data.row_pieces import cut_log
from tiltflow.data.row_store import IN_MEMORY, RowStore
from tiltflow.errors import UserError

_NO_REWARDS = (
    "there are none: bc-flow and bc-diffusion, which clone, can train; every other algorithm needs them. "
    f"{HOW_TO_REWARD}."
)


class OwnData(NamedTuple):
    """The recordings of a user's data, actions in [−1, 1], and what there is to say of them."""

    recordings: list[Recording]
    findings: list[Finding]
    interface: PolicyInterface | None
    """None where there is an error among the findings."""
    rewarded: bool
    alike: bool = True
    """Whether all files have the same observations and actions."""


@dataclass(frozen=True)
class _Read:
    """One file or folder as it was read."""

    file: str
    found: Assembled
    bounds: ActionBounds | None = None
    scaled: bool = False
    """Whether its actions are in [−1, 1] by these bounds already."""


def read_own(
    places: Sequence[Path],
    given: ColumnChoice | None = None,
    states: bool | None = False,
    store: RowStore = IN_MEMORY,
) -> OwnData:
    """Read files or folders by what is said of their columns, here and in a TOML file beside them.

    What is said here comes first. `states` as in `layout_of`. Raises UserError where that file is wrong, or a
    file is not there; what is wrong with the data is among the findings.
    """
    root = common_folder(places)
    choices = [(given or ColumnChoice()).over(stored_choice(place, root)) for place in places]
    read = list[_Read]()
    store.expect(places)
    for place, choice in zip(places, choices, strict=True):
        for one in _read(place, choice, store):
            read.append(replace(one, found=replace(one.found, columns=store.keep(one.found.columns))))
    findings = [finding for one in read for finding in one.found.findings]
    sound = [one for one in read if one.found.columns]
    for one in sound if len(read) > 1 else ():
        if "ends" in one.found.columns:  # each file ends an episode
            one.found.columns["ends"][-1:] = True
    recordings = [Recording(one.file, one.found.columns) for one in sound]
    differences = _differences(sound, bounds_given=bool(choices[0].bounds))
    findings += differences
    bounds = sound[0].bounds if sound else None
    signals = {key: getattr(sound[0].found, key) if sound else () for key in ("observations", "actions")}
    if sound and not sound[0].scaled:
        findings += [] if differences else audit_own_units(recordings, signals)
        bounds, said = bound_actions(recordings, choices[0].bounds, bounds, signals["actions"])
        findings += said
    if not sound or any(finding.level == "error" and finding.row is None for finding in findings):
        findings += _audit(recordings, findings, states)
        return OwnData(recordings, merge_findings(findings), None, False, not differences)
    unrewarded = [file for file, columns in recordings if "rewards" not in columns]
    rewarded = not unrewarded
    layout = layout_of(recordings[0].columns, states)
    if layout != "states":
        findings += _without_rewards(recordings, unrewarded)
    findings += _audit(recordings, findings, states)
    if any(finding.level == "error" for finding in findings):
        return OwnData(recordings, merge_findings(findings), None, rewarded)
    findings += audit_logs(recordings, [one.found.time for one in sound], signals)
    interface = PolicyInterface(sound[0].found.observations, sound[0].found.actions, bounds)
    return OwnData(recordings, merge_findings(findings), interface, rewarded)


def _read(place: Path, choice: ColumnChoice, store: RowStore) -> Iterator[_Read]:
    """The file or folder; or, if so wanted, the files that it is made of."""
    log = None if minari_inside(place) else _open(place)
    if not (store.piecewise and isinstance(log, Log)):
        yield _read_log(place, choice, log)
        return
    ours = [key for key in ARRAY_KEYS if key in log.columns] if _in_our_words(log, choice) else []
    pieces = log.pieces() if log.pieces else cut_log(str(place), log, choice, ours)
    store.expect([Path(name) for name, _ in pieces[1:]])
    for name, piece in pieces:
        yield replace(_read_log(place, choice, piece), file=name)


def _open(place: Path) -> Log | UserError:
    if not place.exists():
        raise UserError(f"There is no file {place}.")
    try:
        return open_log(place)
    except UserError as error:
        return error


def _read_log(place: Path, choice: ColumnChoice, log: Log | UserError | None) -> _Read:
    if folder := minari_inside(place):
        columns, findings = read_minari(folder, bounded=False)
        if not columns:
            return _Read(str(folder), _plain(columns, findings))
        told = minari_interface(folder)
        if choice.roles or choice.reward or (choice.bounds and told.bounds):
            text = (
                "says itself what its columns and bounds are: leave out --columns, --reward, --action-bounds."
            )
            findings.append(Finding("error", str(folder), None, None, text))
        found = Assembled(columns, findings, told.observations, told.actions)
        return _Read(str(folder), found, told.bounds, told.bounds is not None)
    file = str(place)
    if not isinstance(log, Log):
        if place.suffix == ".npz":  # what is wrong with it is told by key
            return _Read(file, _plain(*read_array_file(place)))
        text = str(log).removeprefix(str(place)).lstrip(" ,")
        return _Read(file, _plain({}, [Finding("error", file, None, None, text)]))
    if _in_our_words(log, choice):
        found = _plain(*(read_known(place, None) if log.whole else _our_arrays(file, log)))
    else:
        found = assemble(file, log, choice)
    bounds = log.bounds and (tuple(map(float, log.bounds[0])), tuple(map(float, log.bounds[1])))
    return _Read(file, found, bounds)


def _in_our_words(log: Log, choice: ColumnChoice) -> bool:
    """Whether the file has the keys of one of our layouts (or is damaged, which its reader will say)."""
    there = log.columns.keys()
    ends = "terminals" in there or {"terminations", "ends"} <= there
    ours = {"observations", "actions"} <= there and ends and not log.episodes
    # Time limits under another name than D4RL's: columns by their roles know it.
    ours &= bool({"timeouts", "ends"} & there) or not set(flag_roles()) & (there - {*FLAGS})
    return not (choice.roles or choice.reward) and (ours or not there)


def _our_arrays(file: str, log: Log) -> tuple[FileColumns, list[Finding]]:
    """What `read_known` says, of some rows of the file."""

    def read(names: Sequence[str]) -> tuple[FileColumns, list[Finding]]:
        parts, faults = log.read(names)
        return in_our_shapes({name: part[0] for name, part in parts.items()}, file, faults)

    columns, findings = read([key for key in ARRAY_KEYS if key in log.columns])
    return columns, findings + take_others(file, columns, [*log.columns], read, None)


def _plain(columns: FileColumns, findings: list[Finding]) -> Assembled:
    """Columns that have our names already."""
    signals = [
        (Signal(key, columns[key].shape[1]),) if key in columns and columns[key].ndim == 2 else ()
        for key in ("observations", "actions")
    ]
    return Assembled(columns, findings, signals[0], signals[1])


def _audit(recordings: Sequence[Recording], known: Sequence[Finding], states: bool | None) -> list[Finding]:
    """What the audit finds that is not known of the same key of the same file."""
    told = {
        (finding.file, finding.key)
        for finding in known
        if finding.level == "error" or finding.text == _NO_REWARDS
    }
    found = [
        finding
        for file, columns in recordings
        for finding in audit_recording(file, columns, layout_of(columns, states))
        if (finding.file, finding.key) not in told
    ]
    # Equal rewards in some files are failed episodes; in all of them there is nothing to learn.
    equal = [finding.text for finding in found if finding.text.endswith(NOTHING_TO_LEARN)]
    if equal == equal[:1] * len(recordings):
        return found
    return [finding for finding in found if not finding.text.endswith(NOTHING_TO_LEARN)]


def _differences(read: Sequence[_Read], bounds_given: bool) -> list[Finding]:
    """Files whose observations or actions are not those of the first."""
    if not read:
        return []
    first, findings = read[0], []
    for one in read[1:]:
        if one.scaled != first.scaled:
            text = f"are not in the units of {first.file}: a Minari set scales its own. Read it alone."
            findings.append(Finding("error", one.file, "actions", None, text))
        if one.bounds != first.bounds and not bounds_given:
            text = f"and action_high are not those of {first.file}. Give --action-bounds LOW HIGH for all."
            findings.append(Finding("error", one.file, "action_low", None, text))
        for key in ("observations", "actions"):
            there, expected = (getattr(which.found, key) for which in (one, first))
            if [signal[:2] for signal in there] != [signal[:2] for signal in expected]:
                shown, others = (
                    ", ".join(f"{signal.name} [{signal.size}]" for signal in signals) or "none"
                    for signals in (there, expected)
                )
                text = f"is {shown}, but {first.file} has {others}."
                findings.append(Finding("error", one.file, key, None, text))
    return findings


def _without_rewards(recordings: Sequence[Recording], unrewarded: Sequence[str]) -> list[Finding]:
    """Give zeros to data without rewards; files without them among others that have some are an error."""
    if not unrewarded:
        return []
    if len(unrewarded) < len(recordings):
        text = f"is missing in {len(unrewarded)} of {len(recordings)} files: all need it, or none."
        return [Finding("error", unrewarded[0], "rewards", None, text)]
    for _, columns in recordings:
        columns["rewards"] = np.zeros(len(columns["actions"]), np.float32)
    return [Finding("warning", file, "rewards", None, _NO_REWARDS) for file in unrewarded]

"""What can be wrong with the arrays of a data set, found before training and named by file, key and row."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tiltflow import words
from tiltflow.data.columns import HOW_TO_END
from tiltflow.data.formats import REQUIRED, FileColumns, Layout
from tiltflow.data.moments import observation_moments
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError

Level = Literal["error", "warning", "note"]

# Rounding in the recording policy; anything beyond is another action space.
ACTION_TOLERANCE = 1e-3
NOTHING_TO_LEARN = ": no critic can learn anything from them (imitation, bc-*, can)."
LIMIT = 10.0
"""Standard deviations from its mean beyond which a policy sees an entry of an observation cut off."""
_ALIKE = 3
"""So many episodes of one length are no chance."""
_MERGED = 0.01
"""Of the spread of an entry: larger steps of float32 are warned of."""
FLAGS = ("terminations", "ends", "terminals", "timeouts")


@dataclass(frozen=True)
class Finding:
    """One fault of a data set. Errors stop a load; warnings are shown and kept with the run.

    A note is no fault: it says how the data were read.
    """

    level: Level
    file: str
    key: str | None
    row: int | None
    text: str

    def __str__(self) -> str:
        key = f", key {self.key!r}" if self.key else ""
        row = f", row {self.row}" if self.row is not None else ""
        return f"{self.file}{key}{row}: {self.text}"


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise UserError with the first error and the number of the others, if there is any."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        others = f" ({len(errors) - 1} more: see `tiltflow data audit`)" if len(errors) > 1 else ""
        raise UserError(f"The data cannot be used. {errors[0]}{others}")


def audit_recording(file: str, columns: FileColumns, layout: Layout) -> list[Finding]:
    """Everything that is wrong with the columns of one file: keys, values and the ends of episodes."""
    text = f"is missing. The file has to hold {', '.join(REQUIRED[layout])}."
    missing = [Finding("error", file, key, None, text) for key in REQUIRED[layout] if key not in columns]
    faults = missing + audit_columns(file, columns) + _audit_ends(file, columns, layout)
    return faults + (_audit_other_flags(file, columns) if layout == "steps" else [])


def audit_columns(file: str, columns: FileColumns) -> list[Finding]:
    """Check the columns of one file: types, shapes, lengths, finite values, bounds of actions, rewards.

    `columns` may hold any of the keys of `Transitions` and of the D4RL and OGBench formats, [N] or [N, d].
    """
    faults: list[tuple[str, int | None, str]] = []
    sound = {}
    for key, column in columns.items():
        if fault := _kind_fault(key, column):
            faults.append((key, None, fault))
        else:
            sound[key] = column
    rows = {key: len(column) for key, column in sound.items()}
    if len(set(rows.values())) > 1:
        expected = rows.get("observations", max(rows.values()))
        key, count = next((key, count) for key, count in rows.items() if count != expected)
        faults.append((key, min(count, expected), f"has {count} rows, but 'observations' has {expected}."))
    elif 0 in rows.values():
        faults.append((next(iter(rows)), None, "holds no rows."))
    faults += [(key, None, "has no entries.") for key, column in sound.items() if column.shape[1:] == (0,)]
    if {"next_observations", "observations"} <= sound.keys():
        size, expected = (sound[key].shape[1] for key in ("next_observations", "observations"))
        if size != expected:
            text = f"has {size} columns, but 'observations' has {expected}."
            faults.append(("next_observations", None, text))
    findings = [Finding("error", file, *fault) for fault in faults]
    return findings + [found for key in sound for found in _audit_values(file, key, sound[key])]


def _kind_fault(key: str, column: np.ndarray) -> str:
    """What is wrong with the type or the dimensions of a column; empty where nothing is."""
    if column.dtype.kind not in "biuf":
        return f"has the dtype {column.dtype}, which is not a number. Save it as float32."
    dimensions = 1 if key in ("rewards", *FLAGS) else 2
    if column.ndim != dimensions:
        expected = words.plural(dimensions, "dimension")
        return f"has the shape {column.shape}, where an array of {expected} is expected."
    return ""


def _audit_values(file: str, key: str, column: np.ndarray) -> list[Finding]:
    if not column.size:
        return []
    bad = ~np.isfinite(column)
    if bad.any():
        row = _first_row(bad)
        value = column[row][bad[row]].flat[0] if column.ndim > 1 else column[row]
        count = int(bad.reshape(len(column), -1).any(axis=1).sum())
        text = f"is {value} ({words.plural(count, 'such row')})."
        return [Finding("error", file, key, row, text)]
    if (bad := np.abs(column) > np.finfo(np.float32).max).any():
        row = _first_row(bad)
        value = column[row][bad[row]].flat[0] if column.ndim > 1 else column[row]
        return [
            Finding("error", file, key, row, f"is {value:g}, more than float32, which is kept, can hold.")
        ]
    if key in FLAGS and (bad := ~np.isin(column, (0, 1))).any():
        row = _first_row(bad)
        return [Finding("error", file, key, row, f"is {column[row]}, but only 0 and 1 mean anything here.")]
    if key == "actions":
        return _audit_actions(file, column)
    if key == "rewards" and column.min() == column.max():
        what = "all rewards are 0" if column[0] == 0 else f"all rewards are {column[0]:g}"
        text = f"{what}{NOTHING_TO_LEARN}"
        return [Finding("warning", file, key, None, text)]
    return _audit_precision(file, key, column)


def _audit_precision(file: str, key: str, column: np.ndarray) -> list[Finding]:
    """Warn of entries whose offset leaves no room for what they say, once they are float32."""
    if column.dtype.itemsize < 4 or column.dtype == np.float32 or key in FLAGS:
        return []
    size, spread = np.abs(column).max(axis=0), np.atleast_1d(column.std(axis=0))
    step = np.atleast_1d(np.spacing(size.astype(np.float32)))
    merged = np.flatnonzero((spread > 0) & (step > _MERGED * spread))
    if not len(merged):
        return []
    first = int(merged[0])
    text = (
        f"{_entries_text(merged)} differ{'s' if len(merged) == 1 else ''} by {spread[first]:.3g} or so, but "
        f"float32, which is kept, has steps of {step[first]:.3g} there: values merge. Subtract an offset."
    )
    return [Finding("warning", file, key, None, text)]


def audit_transitions(file: str, data: Transitions) -> list[Finding]:
    """What is wrong with the rows that are trained on, whatever the file holds beside them."""
    if not len(data):
        text = f"holds no row that has a next one: no transition. {HOW_TO_END}, or give next_observations."
        return [Finding("error", file, None, None, text)]
    findings = _audit_limits(file, data)
    mean, spread = (moment.astype(np.float32) for moment in observation_moments(data.observations))
    beyond = np.zeros(data.observations.shape[1], np.int64)
    for first in range(0, len(data), 2**16):
        beyond += (np.abs(data.observations[first : first + 2**16] - mean) > LIMIT * spread).sum(axis=0)
    far = np.flatnonzero((spread > 0) & (beyond > 0))
    if not len(far):
        return findings
    text = (
        f"{_entries_text(far)}: {int(beyond[far].sum()):,} values are further than {LIMIT:g} standard "
        "deviations from the mean, where a policy sees them cut off. Leave out what is no measurement, or "
        "train with --no-normalize-observations."
    )
    return [*findings, Finding("warning", file, "observations", None, text)]


def _audit_limits(file: str, data: Transitions) -> list[Finding]:
    """Warn where every episode truly ends after the same number of steps, as time limits end them."""
    last = np.flatnonzero(data.ends)
    lengths = np.diff(last, prepend=-1)
    if len(last) < _ALIKE or lengths[0] == 1 or np.ptp(lengths) or not data.terminations[last].all():
        return []
    text = (
        f"each of the {len(last)} episodes truly ends after {lengths[0]} steps. Where these are time limits, "
        "mark them as such (timeouts, truncations), or no value is learned of what comes after them."
    )
    return [Finding("warning", file, "terminations", int(last[0]), text)]


def _entries_text(numbers: np.ndarray) -> str:
    """Entries of a vector by number: "entries 0, 3"."""
    shown = ", ".join(map(str, numbers[:10])) + (", …" if len(numbers) > 10 else "")
    return f"{'entry' if len(numbers) == 1 else 'entries'} {shown}"


def _audit_actions(file: str, actions: np.ndarray) -> list[Finding]:
    excess = np.abs(actions) - 1.0
    worst = float(excess.max())
    if worst <= 0:
        return []
    row = _first_row(excess > (ACTION_TOLERANCE if worst > ACTION_TOLERANCE else 0))
    count = int((excess > 0).any(axis=1).sum())
    where = f"{count} rows have actions outside [−1, 1]; the largest is {worst + 1:.7g} in size"
    if worst > ACTION_TOLERANCE:
        text = f"{where}. Scale (or clip) the actions to [−1, 1]; the environment's bounds are mapped to ±1."
        return [Finding("error", file, "actions", row, text)]
    return [Finding("warning", file, "actions", row, f"{where}: clipped.")]


def _audit_ends(file: str, columns: FileColumns, layout: Layout) -> list[Finding]:
    """Warn of an episode that the end of the file cuts, and of episodes that never end."""
    keys = [key for key in ("ends", "terminals", "timeouts", "terminations") if key in columns]
    flags = [columns[key] for key in keys if columns[key].ndim == 1 and len(columns[key])]
    if not flags or len({len(flag) for flag in flags}) > 1:
        return []
    ends = np.logical_or.reduce([flag.astype(bool) for flag in flags])
    if not ends.any():
        steps = "each: true ends in 'terminals', time limits in 'timeouts'"
        how = steps if layout == "steps" else "each episode, time limits included"
        text = f"no row ends an episode. Mark the last row of {how}."
        return [Finding("warning", file, keys[0], None, text)]
    if not ends[-1]:
        text = "the last episode has no end; the last row is taken for one."
        return [Finding("warning", file, keys[0], len(ends) - 1, text)]
    return []


def _audit_other_flags(file: str, columns: FileColumns) -> list[Finding]:
    """Errors of flags that D4RL's layout does not have, and that say something else than those it has."""
    flags = {key: columns[key] != 0 for key in FLAGS if key in columns}
    if "terminals" not in flags or len({flag.shape for flag in flags.values()}) > 1:
        return []
    findings = []
    said = {"terminations": flags["terminals"], "ends": flags["terminals"] | flags.get("timeouts", False)}
    for key in [key for key in said if key in flags]:
        other = flags[key] != said[key]
        other[-1:] &= key == "terminations"  # the last row is an end in any case
        if other.any():
            text = (
                f"is not what 'terminals' and 'timeouts' say ({words.plural(int(other.sum()), 'such row')}). "
                "Leave one out, or say which are which: --columns terminations=COLUMN,ends=COLUMN."
            )
            findings.append(Finding("error", file, key, int(np.argmax(other)), text))
    return findings


def _first_row(bad: np.ndarray) -> int:
    return int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))

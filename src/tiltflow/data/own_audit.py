"""What a user would want to know of their own logs before training: warnings on the data as a whole."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from tiltflow import words
from tiltflow.data.audit import Finding
from tiltflow.data.columns import HOW_TO_END
from tiltflow.data.formats import FileColumns, Recording
from tiltflow.data.interface import Signal, entry_text

_Signals = Mapping[str, Sequence[Signal]]
_FILLED = 0.1
"""Of [−1, 1]: entries of actions that fill less are warned of."""
_JUMP = 3.0
"""Times the median step in time: longer steps are jumps."""


def audit_logs(
    recordings: Sequence[Recording],
    times: Sequence[np.ndarray | None],
    signals: _Signals,
) -> list[Finding]:
    """Warn of episodes of one row, narrow actions, constant entries, jumps in time and duplicated episodes.

    Where all episodes are of one row, that is an error.

    Actions are in [−1, 1]; `times` are the time stamps [rows] of each recording, where it has them; `signals`
    what the data call the entries of observations and actions.
    """
    findings = _audit_lengths(recordings) + _audit_entries(recordings, signals)
    for (file, columns), time in zip(recordings, times, strict=True):
        if time is not None and len(time) == len(columns["actions"]):
            findings += _audit_time(file, time, _last_rows(columns))
    return findings + _audit_duplicates(recordings)


def audit_own_units(recordings: Sequence[Recording], signals: _Signals) -> list[Finding]:
    """Warn of actions, in the data's units, that may be labels or that the observations have as well."""
    sound = [one for one in recordings if _are_vectors(one.columns) and one.columns["actions"].size]
    if not sound:
        return []
    findings = _audit_copies(sound, signals)
    moves = any(np.ptp(one.columns["actions"]) for one in sound)
    if moves and all((one.columns["actions"] == np.round(one.columns["actions"])).all() for one in sound):
        text = (
            "are whole numbers alone, taken as numbers on a scale. Where they are labels of discrete "
            "actions, none of the algorithms fits."
        )
        findings.append(Finding("warning", sound[0].file, "actions", None, text))
    return findings


def audit_number(recordings: Sequence[Recording]) -> list[Finding]:
    """Warn of data that are one episode."""
    if sum(_count_usable(columns) for _, columns in recordings) > 1:
        return []
    text = (
        "is one episode: none can be held out, so a run on it cannot be scored without a simulator (--env). "
        f"{HOW_TO_END}, or add episodes."
    )
    return [Finding("warning", recordings[0].file, None, None, text)]


def merge_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, those that are the same of many files as one that names the first and their number."""
    alike: dict[tuple, list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.level, finding.key, finding.row is None, finding.text), []).append(finding)
    merged = []
    for group in alike.values():
        if len(group) == 1 or group[0].level == "error":
            merged += group
            continue
        first = group[0]
        text = f"{first.text.removesuffix('.')} (and in {words.plural(len(group) - 1, 'other')})"
        merged.append(Finding(first.level, first.file, first.key, first.row, text))
    return merged


def _audit_entries(recordings: Sequence[Recording], signals: _Signals) -> list[Finding]:
    findings = []
    file = recordings[0].file
    for key in ("observations", "actions"):
        low = np.min([columns[key].min(axis=0) for _, columns in recordings], axis=0)
        high = np.max([columns[key].max(axis=0) for _, columns in recordings], axis=0)
        constant = np.flatnonzero(low == high)
        if len(constant):
            text = f"{_entries(constant, signals[key])} never change{'s' if len(constant) == 1 else ''}."
            findings.append(Finding("warning", file, key, None, text))
        narrow = np.flatnonzero((high > low) & (high - low < 2 * _FILLED))
        if key == "actions" and len(narrow):
            share = 50 * float((high - low)[narrow].max())
            fill = "fills" if len(narrow) == 1 else "fill"
            text = (
                f"{_entries(narrow, signals[key])} {fill} {share:.2g} % of the range or "
                "less: are the bounds those of these data? Give --action-bounds LOW HIGH."
            )
            findings.append(Finding("warning", file, key, None, text))
    return findings


def _audit_lengths(recordings: Sequence[Recording]) -> list[Finding]:
    """Episodes whose one row has no next one, and so makes no transition."""
    lone = {file: rows for file, columns in recordings if len(rows := _lone_rows(columns))}
    if not lone:
        return []
    file, rows = next(iter(lone.items()))
    if any(_count_usable(columns) for _, columns in recordings):
        count = words.plural(sum(map(len, lone.values())), "episode")
        text = f"{count} of one row, which has no next one: left out."
        return [Finding("warning", file, None, int(rows[0]), text)]
    text = (
        "every episode is one row, which has no next one: nothing can be learned from it. "
        f"{HOW_TO_END}, or give next_observations."
    )
    return [Finding("error", file, None, None, text)]


def _lone_rows(columns: FileColumns) -> np.ndarray:
    """The rows that are an episode each, without a next one, where it did not truly end."""
    if "next_observations" in columns:
        return np.zeros(0, int)
    true = columns["terminations" if "terminations" in columns else "terminals"].astype(bool)
    last = _last_rows(columns)
    return np.flatnonzero(last & np.append(True, last[:-1]) & ~true)


def _count_usable(columns: FileColumns) -> int:
    """How many episodes have a transition."""
    return int(_last_rows(columns).sum()) - len(_lone_rows(columns))


def _audit_copies(recordings: Sequence[Recording], signals: _Signals) -> list[Finding]:
    """Entries of the actions that are entries of the observations too: the answer is in the question."""
    left = None
    for _, columns in recordings:
        seen, done = columns["observations"], columns["actions"]
        if left is None:
            moving = [action for action in range(done.shape[1]) if np.ptp(done[:, action])]
            left = [(entry, action) for entry in range(seen.shape[1]) for action in moving]
        left = [(entry, action) for entry, action in left if (seen[:, entry] == done[:, action]).all()]
    if not left:
        return []
    entry, action = left[0]
    text = (
        f"{entry_text(signals['actions'], action)} is {entry_text(signals['observations'], entry)} of the "
        "observations in every row: a policy would learn to copy what it cannot know before it acts. Leave "
        "one of them out."
    )
    return [Finding("warning", recordings[0].file, "actions", None, text)]


def _are_vectors(columns: FileColumns) -> bool:
    seen, done = (columns.get(key, np.zeros(0)) for key in ("observations", "actions"))
    return (
        seen.ndim == done.ndim == 2
        and len(seen) == len(done) > 0
        and seen.dtype.kind == done.dtype.kind == "f"
    )


def _audit_time(file: str, time: np.ndarray, ends: np.ndarray) -> list[Finding]:
    steps = np.diff(time.astype(np.float64))
    inside = ~ends[:-1]
    if not inside.any() or not np.isfinite(steps).all():
        return []
    usual = float(np.median(steps[inside]))
    jumps = np.flatnonzero(inside & ((steps <= 0) | (steps > _JUMP * usual)))
    if not len(jumps):
        return []
    row, count = int(jumps[0]), words.plural(len(jumps), "such row")
    text = (
        f"jumps by {steps[row]:.4g} to the next row, where {usual:.4g} is usual ({count}): an "
        "episode may end there, or rows be missing."
    )
    return [Finding("warning", file, "time", row, text)]


def _audit_duplicates(recordings: Sequence[Recording]) -> list[Finding]:
    first: dict[tuple[bytes, bytes], str] = {}
    twice: list[tuple[str, str]] = []
    for file, columns in recordings:
        last = np.flatnonzero(_last_rows(columns))
        for number, (start, end) in enumerate(zip([0, *last[:-1] + 1], last + 1, strict=True)):
            parts = [np.ascontiguousarray(columns[key][start:end]) for key in ("observations", "actions")]
            name = f"{file}, episode {number}"
            digests = (_digest(parts[0]), _digest(parts[1]))
            if (known := first.setdefault(digests, name)) is not name:
                twice.append((name, known))
    if not twice:
        return []
    name, known = twice[0]
    count = words.plural(len(twice), "repeated episode")
    text = f"the same as {known}; there are {count}, which count as often as they are there."
    return [Finding("warning", name, None, None, text)]


def _last_rows(columns: FileColumns) -> np.ndarray:
    """Which rows end an episode, in any of the layouts; the last row does."""
    keys = ["ends"] if "ends" in columns else ["terminals", "timeouts"]
    ends = np.logical_or.reduce([columns[key].astype(bool) for key in keys if key in columns])
    return np.append(ends[:-1], True)


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()


def _entries(numbers: np.ndarray, signals: Sequence[Signal]) -> str:
    return ", ".join(entry_text(signals, int(n)) for n in numbers[:10]) + (", …" if len(numbers) > 10 else "")

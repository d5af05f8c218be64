"""What a user would want to know of their own logs before training: warnings on the data as a whole."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tiltflow.data.audit import Finding, entries_text
from tiltflow.data.formats import FileColumns, Recording

_FILLED = 0.1
"""Of [−1, 1]: entries of actions that fill less are warned of."""
_JUMP = 3.0
"""Times the median step in time: longer steps are jumps."""


def audit_logs(recordings: Sequence[Recording], times: Sequence[np.ndarray | None]) -> list[Finding]:
    """Warn of narrow actions, constant entries, jumps in time and episodes that are there twice.

    Actions are in [−1, 1]; `times` are the time stamps [rows] of each recording, where it has them.
    """
    findings = _audit_entries(recordings)
    for (file, columns), time in zip(recordings, times, strict=True):
        if time is not None and len(time) == len(columns["actions"]):
            findings += _audit_time(file, time, _last_rows(columns))
    return findings + _audit_duplicates(recordings)


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
        text = f"{first.text.removesuffix('.')} (and in {len(group) - 1} other files)"
        merged.append(Finding(first.level, first.file, first.key, first.row, text))
    return merged


def _audit_entries(recordings: Sequence[Recording]) -> list[Finding]:
    findings = []
    file = recordings[0].file
    for key in ("observations", "actions"):
        low = np.min([columns[key].min(axis=0) for _, columns in recordings], axis=0)
        high = np.max([columns[key].max(axis=0) for _, columns in recordings], axis=0)
        constant = np.flatnonzero(low == high)
        if len(constant):
            text = f"{entries_text(constant)} never change{'s' if len(constant) == 1 else ''}."
            findings.append(Finding("warning", file, key, None, text))
        narrow = np.flatnonzero((high > low) & (high - low < 2 * _FILLED))
        if key == "actions" and len(narrow):
            share = 50 * float((high - low)[narrow].max())
            text = (
                f"{entries_text(narrow)} fill{'s' if len(narrow) == 1 else ''} {share:.2g} % of the range or "
                "less: are the bounds those of these data? Give --action-bounds LOW HIGH."
            )
            findings.append(Finding("warning", file, key, None, text))
    return findings


def _audit_time(file: str, time: np.ndarray, ends: np.ndarray) -> list[Finding]:
    steps = np.diff(time.astype(np.float64))
    inside = ~ends[:-1]
    if not inside.any() or not np.isfinite(steps).all():
        return []
    usual = float(np.median(steps[inside]))
    jumps = np.flatnonzero(inside & ((steps <= 0) | (steps > _JUMP * usual)))
    if not len(jumps):
        return []
    row = int(jumps[0])
    text = (
        f"jumps by {steps[row]:.4g} to the next row, where {usual:.4g} is usual ({len(jumps)} such rows): an "
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
    text = f"the same as {known}; {len(twice)} episode(s) are there more than once. They count as often."
    return [Finding("warning", name, None, None, text)]


def _last_rows(columns: FileColumns) -> np.ndarray:
    """Which rows end an episode, in any of the layouts; the last row does."""
    keys = ["ends"] if "ends" in columns else ["terminals", "timeouts"]
    ends = np.logical_or.reduce([columns[key].astype(bool) for key in keys if key in columns])
    return np.append(ends[:-1], True)


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()

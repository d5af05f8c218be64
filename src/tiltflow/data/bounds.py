"""Actions in the user's units to [−1, 1], by bounds that are given, that the file has, or of the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltflow import words
from tiltflow.data.audit import ACTION_TOLERANCE, Finding
from tiltflow.data.formats import FileColumns, Recording
from tiltflow.data.interface import ActionBounds, Signal, entry_text

_ABSURD = 1e9
"""Bounds of that size stand for none, as the largest float does: all actions would become 0."""
MARGIN = 0.05
"""Of the range of an entry: how far bounds that come from the data reach beyond them, on each side."""


def bound_actions(
    recordings: Sequence[Recording],
    given: ActionBounds | None,
    stored: ActionBounds | None,
    signals: Sequence[Signal] = (),
) -> tuple[ActionBounds | None, list[Finding]]:
    """Scale the actions of all recordings to [−1, 1]; the bounds, and what there is to say of them.

    Bounds that are given come first, then those that the file has. Without any, actions in [−1, 1] stay as
    they are, and others are scaled by their own range with a margin. Actions outside the bounds are errors.
    `signals` are what the data call the entries.
    """
    sized = [(file, columns) for file, columns in recordings if _is_sound(columns)]
    sizes = {columns["actions"].shape[1] for _, columns in sized}
    if len(sizes) != 1:
        return None, []  # the audit says why
    (size,) = sizes
    where = str(sized[0][0])
    sides: tuple[Any, ...] | None
    sides, source = (given, "given") if given else (stored, "of the file")
    findings = []
    if sides is None:
        low = np.min([columns["actions"].min(axis=0) for _, columns in sized], axis=0).astype(np.float64)
        high = np.max([columns["actions"].max(axis=0) for _, columns in sized], axis=0).astype(np.float64)
        if max(-low.min(), high.max()) <= 1 + ACTION_TOLERANCE:
            return None, []
        margin = MARGIN * np.where(high > low, high - low, 1.0)
        sides, source = (low - margin, high + margin), "of the data"
        text = (
            f"there are no bounds, and values outside [−1, 1]: taken from the data, {_shown(sides)}, with "
            f"{100 * MARGIN:.0f} % of the range to spare on each side. Say them: --action-bounds LOW HIGH."
        )
        findings.append(Finding("warning", where, "actions", None, text))
    if any(len(side) not in (1, size) for side in sides):
        text = f"has {size} entries, but the bounds {source} are for {len(sides[0])} and {len(sides[1])}."
        return None, [Finding("error", where, "actions", None, text)]
    low, high = (np.broadcast_to(np.asarray(side, np.float64), size) for side in sides)
    if absurd_bounds(low, high):
        text = f"has bounds {source} that are none: {_shown((low, high))}. Give --action-bounds LOW HIGH."
        return None, [Finding("error", where, "actions", None, text)]
    for file, columns in sized:
        pinned = low == high  # has no say: 0, or what is outside
        scaled = columns["actions"] - low
        scaled = np.where(pinned, scaled, 2 * scaled / np.where(pinned, 1, high - low) - 1)
        outside = np.abs(scaled) > 1 + ACTION_TOLERANCE
        if outside.any():
            row, entry = map(int, np.argwhere(outside)[0])
            count = words.plural(int(outside.any(axis=1).sum()), "such row")
            value = f"{columns['actions'][row, entry]:.6g}"
            text = (
                f"{entry_text(signals, entry)} is {value}, outside the bounds {source}, "
                f"{low[entry]:.6g} to {high[entry]:.6g} ({count}). Give wider "
                "--action-bounds, or clip the actions."
            )
            findings.append(Finding("error", file, "actions", row, text))
        columns["actions"] = np.clip(scaled, -1, 1).astype(np.float32)
    return (tuple(low.tolist()), tuple(high.tolist())), findings


def absurd_bounds(low: np.ndarray, high: np.ndarray) -> bool:
    """Whether these are no bounds that actions can be scaled by; entries that are pinned (low = high) can."""
    return not (max(np.abs(low).max(), np.abs(high).max()) < _ABSURD and (low <= high).all())


def _is_sound(columns: FileColumns) -> bool:
    actions = columns.get("actions")
    if actions is None or actions.ndim != 2 or actions.dtype.kind != "f" or not actions.size:
        return False
    return bool(np.isfinite(actions).all())


def _shown(bounds: tuple[Any, ...]) -> str:
    return "; ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(*bounds, strict=True))

"""A data set in a few lines: sizes, episodes, ranges, returns."""

from functools import partial
from pathlib import Path

import numpy as np

from tiltflow.data.columns import ColumnChoice
from tiltflow.data.formats import layout_of, to_transitions
from tiltflow.data.locate import data_places, unread_below
from tiltflow.data.mapped_folder import map_columns, mapped_inside, read_record, stored_findings
from tiltflow.data.own import read_own
from tiltflow.data.row_store import IN_MEMORY
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.tasks import Task

Lines = list[tuple[str, str]]


def describe(data: Transitions, task: Task | None = None) -> Lines:
    """What there is to say of transitions; with a task that has reference returns, normalised ones too."""
    lengths, returns = episodes(data)
    saturated = float((np.abs(data.actions) == 1).mean())
    lines = [
        ("transitions", f"{len(data):,}"),
        ("episodes", f"{len(lengths):,}, {_spread(lengths, 0)} steps"),
        ("observation size", str(data.spec.observation_size)),
        ("observations", _range(data.observations)),
        ("action size", str(data.spec.action_size)),
        ("actions", f"{_range(data.actions)}; {100 * saturated:.1f} % of entries at ±1"),
        ("rewards", f"{_range(data.rewards)}; mean {data.rewards.mean():.4g}"),
        ("terminations", f"{int(data.terminations.sum()):,}"),
        ("return of an episode", _spread(returns, 1)),
    ]
    if task and task.reference:
        low, high = task.reference
        lines.append(("normalized return", f"{_spread(100 * (returns - low) / (high - low), 1)} points"))
    return lines


def describe_path(path: Path, choice: ColumnChoice | None = None) -> list[tuple[str, Lines]]:
    """For each file of a path, or a data set: its keys, transitions (if it has rewards) and faults.

    More than three files, and those of a pattern, are described as one. Raises UserError where there is none.
    """
    if folder := mapped_inside(path):
        record = read_record(folder)
        lines = [("data of", f"{record['source']}, as {record['task']}"), *describe(map_columns(folder))]
        return [(str(path), lines + [(one.level, str(one)) for one in stored_findings(record)])]
    places = data_places(path)
    missing = [place for place in places if not place.exists()]
    if missing or not places:
        what = f"There is no file {missing[0]}" if missing else f"{path} holds no data"
        advice = unread_below(path) or "Give a file, a folder or a task."
        raise UserError(f"{what}, and no task of that name. {advice}")
    together = (len(places) > 3 or not path.exists()) and read_own(places, choice, states=None).alike
    groups = [places] if together else [[place] for place in places]
    return [
        (f"{path} ({len(group)} files)" if len(group) > 1 else str(group[0]), _describe_group(group, choice))
        for group in groups
    ]


def _describe_group(places: list[Path], choice: ColumnChoice | None) -> Lines:
    own = read_own(places, choice, states=None)
    columns = own.recordings[0].columns if own.recordings else {}
    lines = [
        (key, f"{'×'.join(map(str, column.shape))} {column.dtype}, {_range(column)}")
        for key, column in (columns.items() if len(places) == 1 else ())
    ]
    if not any(finding.level == "error" for finding in own.findings):
        if layout_of(columns) == "states":
            lines.append(("episodes", f"{int(columns['terminals'].sum()):,}"))
        else:
            longest = sum(len(columns["rewards"]) for _, columns in own.recordings)
            parts = [partial(to_transitions, c, None, longest) for _, c in own.recordings]
            lines += describe(IN_MEMORY.join(parts))
            if own.interface and own.interface.bounds:
                sides = zip(*own.interface.bounds, strict=True)
                bounds = dict.fromkeys(f"{low:g} to {high:g}" for low, high in sides)
                lines.append(("action bounds", f"{'; '.join(bounds)} in the data, here −1 to 1"))
    return lines + [(finding.level, str(finding)) for finding in own.findings]


def episodes(data: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and undiscounted returns [e] of the episodes, an unfinished last one included."""
    bounds = np.append(0, np.flatnonzero(data.ends) + 1)
    if bounds[-1] != len(data):
        bounds = np.append(bounds, len(data))
    total = np.append(0.0, np.cumsum(data.rewards, dtype=np.float64))
    return np.diff(bounds), np.diff(total[bounds])


def _range(values: np.ndarray) -> str:
    if not values.size or values.dtype.kind not in "biuf":
        return "no numbers"
    return f"{float(values.min()):.4g} to {float(values.max()):.4g}"


def _spread(values: np.ndarray, digits: int) -> str:
    low, high = values.min(), values.max()
    if low == high:
        return f"{low:.{digits}f}"
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

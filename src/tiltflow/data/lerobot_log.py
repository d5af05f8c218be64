"""A LeRobot data set, versions 2 and 3, as a log: Parquet files, and meta/info.json that describes them.

Images and videos are left out. Version 2 has a file of each episode, version 3 many episodes in a file; in
both, columns say of which episode and frame a row is.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.logs import Log
from tiltflow.data.parquet_log import list_parquet
from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.npz import ArrayFault


def list_log(folder: Path) -> Log:
    """List the features of the data set. Raises UserError where it is of another version, or has no rows."""
    file = folder / "meta" / "info.json"
    info = read_object(file, "codebase_version", "features")
    version, features = str(info["codebase_version"]), info["features"]
    if not version.startswith(("v2", "v3")):
        raise UserError(f"{file} has the codebase_version {version!r}; v2 and v3 are read. Convert the data.")
    if not isinstance(features, dict) or not all(isinstance(one, dict) for one in features.values()):
        raise UserError(f"{file}: 'features' does not describe columns.")
    paths = sorted((folder / "data").glob("*/*.parquet"))
    if not paths:
        raise UserError(f"{folder} holds no data/*/*.parquet: the data set is not there as a whole.")
    whole = _listed(paths, features)
    rows, said = max(column.rows or 0 for column in whole.columns.values()), info.get("total_frames")
    lack = ""
    if isinstance(said, int) and rows < said:
        lack = f"holds {rows:,} of the {said:,} frames that meta/info.json names: copy the missing files."

    def pieces() -> list[tuple[str, Log]]:
        logs = [(str(path), _listed([path], features)) for path in _in_order(paths, whole)]
        return [(logs[0][0], replace(logs[0][1], lack=lack)), *logs[1:]]

    return replace(whole, pieces=pieces, lack=lack)


def _listed(paths: Sequence[Path], features: dict[str, dict[str, Any]]) -> Log:
    table = list_parquet(paths)
    columns: dict[str, LogColumn] = {}
    for name, feature in features.items():
        kind = str(feature.get("dtype"))
        if kind in ("image", "video"):
            columns[name] = LogColumn(None, (), kind, f"({kind}) is not read yet.")
        elif name in table.columns:
            there, shape = table.columns[name], feature.get("shape")
            sized = there.shape and isinstance(shape, list) and len(shape) == 1
            columns[name] = there._replace(shape=(shape[0],)) if sized else there  # type: ignore[index]
    columns |= {name: column for name, column in table.columns.items() if name not in columns}

    def read(names: Any) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        order = [name for name in ("episode_index", "frame_index") if name in table.columns]
        arrays, faults = table.read([*names, *(name for name in order if name not in names)])
        if faults or not order:
            return arrays, faults
        # Files of version 3 are written in any order.
        rows = np.lexsort([arrays[name][0] for name in reversed(order)])
        return {name: [arrays[name][0][rows]] for name in names}, []

    return Log(columns, read, entries={name: _entries(feature) for name, feature in features.items()})


def _in_order(paths: Sequence[Path], whole: Log) -> list[Path]:
    """The files by their episodes. Raises UserError where an episode lies in two of them."""
    if "episode_index" not in whole.columns:
        return list(paths)
    spans = []
    for path in paths:
        arrays, _ = list_parquet([path]).read(["episode_index"])
        if arrays and arrays["episode_index"][0].size:  # a damaged file says so when it is read
            episodes = arrays["episode_index"][0]
            spans.append((int(episodes.min()), int(episodes.max()), path))
        else:
            spans.append((-1, -1, path))
    spans.sort()
    for (_, last, before), (first, _, path) in pairwise(spans):
        if -1 < first <= last:
            raise UserError(
                f"{path} and {before} hold episodes in between each other's, so that they cannot be read one "
                "after the other. Write the data set anew with LeRobot."
            )
    return [path for _, _, path in spans]


def _entries(feature: dict[str, Any]) -> tuple[str, ...]:
    """The names of a feature's entries: a list, or lists by the part of the robot."""
    names = feature.get("names")
    if isinstance(names, dict):
        lists = [value for value in names.values() if isinstance(value, list)]
        names = [name for one in lists for name in one] if lists else list(names)
    return tuple(map(str, names)) if isinstance(names, list) else ()

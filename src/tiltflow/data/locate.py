"""Where data lie: files by the names of their data sets, and Minari's folders. Standard library only."""

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tiltflow import words
from tiltflow.errors import UserError, nearest
from tiltflow.tasks import Task, collectable

_SUFFIXES = (".npz", ".hdf5", ".h5")
LOG_SUFFIXES = (*_SUFFIXES, ".parquet", ".csv", ".tsv")
"""What the names of files end in that are read."""


def data_folder() -> Path:
    """The folder searched and written to by default: TILTFLOW_DATA or ~/.cache/tiltflow/data."""
    return Path(os.environ.get("TILTFLOW_DATA") or "~/.cache/tiltflow/data").expanduser()


def default_folders(task: Task) -> list[Path]:
    """The folders that are searched for a task where no --data is given, in this order."""
    return [data_folder(), *(Path(folder).expanduser() for folder in task.source.folders)]


def locate_files(task: Task, path: Path | None) -> list[Path]:
    """The training file(s) of a task in `path`: a file, a folder of NAME.npz or .hdf5, or A,B,….

    NAME may be in several files, NAME-000.npz and so on, as OGBench's largest data sets are. Without
    `path`, the default folders are searched. Raises UserError saying how to obtain the data where there are
    none.
    """
    if path is None or path.is_dir():
        return _search(task, path)
    paths = listed_paths(path)
    for part in paths:
        if not part.is_file():
            raise UserError(f"There is no file {part}, which --data names for the task {task.name}.")
    if task.source.states and len(paths) > 1:
        raise UserError(
            f"--data {path} names several files, but the task {task.name} takes one (and its -val)."
        )
    return paths


def validation_of(train: Path) -> Path | None:
    """NAME-val.npz beside NAME.npz, if it is there."""
    path = train.with_name(f"{train.stem}-val{train.suffix}")
    return path if path.is_file() else None


def minari_inside(path: Path) -> Path | None:
    """The folder of metadata.json and the files of data where `path` is a Minari data set, else None."""
    return next((folder for folder in (path, path / "data") if (folder / "metadata.json").is_file()), None)


def data_places(path: Path) -> list[Path]:
    """What a path means: a Minari or LeRobot data set, the files of a folder or pattern, or a list A,B,….

    The folders below a folder are not searched; a pattern that ends in `*` names the files that are read, and
    `**` all folders below. Numbers in names count as numbers: episode_2 comes before episode_10.
    """
    if minari_inside(path) or (path / "meta" / "info.json").is_file():
        return [path]
    if path.is_dir():
        return _in_order(filter(_is_log, path.iterdir()))
    if not path.exists() and set("*?[") & set(str(path)):
        found = map(Path, glob.iglob(str(path), recursive=True))
        named, deep = path.suffix.strip(".*"), "**" in path.parts
        return _in_order(p for p in found if _is_log(p) or (not deep if p.is_dir() else named))
    return listed_paths(path)


def listed_paths(path: Path) -> list[Path]:
    """The file of that name, which may have a comma in it, or those of a list A,B,…."""
    return [path] if path.exists() else [Path(part) for part in str(path).split(",")]


def unread_below(path: Path) -> str:
    """What to say of files in the folders of a folder, which are not read; empty where there are none."""
    if not path.is_dir() or data_places(path) == [path]:
        return ""
    count = sum(map(_is_log, path.glob("*/*")))
    if not count:
        return ""
    return (
        f'{words.plural(count, "file")} in folders below {path} are not read; "{path}/**/*" names them too.'
    )


def _is_log(path: Path) -> bool:
    """Whether a file is read where nobody has named it."""
    return path.suffix.lower() in LOG_SUFFIXES and path.is_file()


def locate_own(task: Task, path: Path | None) -> list[Path]:
    """The files of a user's own data: what `data_places` makes of `path`, or the file NAME of a folder.

    Raises UserError where there are none.
    """
    if path is None or (path.is_dir() and _named(task, path)):
        return locate_files(task, path)
    places = data_places(path)
    if not places:
        raise UserError(
            f"{path} holds no data: no {task.dataset}.npz or .hdf5, and no file that ends in "
            f"{', '.join(LOG_SUFFIXES)}. {unread_below(path)}".rstrip()
        )
    for place in places:
        if not place.exists():
            raise UserError(f"There is no file {place}, which --data names for the task {task.name}.")
    return places


def _named(task: Task, folder: Path) -> bool:
    return any((folder / f"{task.dataset}{suffix}").is_file() for suffix in _SUFFIXES)


def _in_order(paths: Iterable[Path]) -> list[Path]:
    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted(paths, key=key)


def packed_name(task: Task) -> str:
    """What a file is called, less its suffix, that holds the rewards of this one OGBench task."""
    return task.name.replace("/", "-")


def _search(task: Task, given: Path | None) -> list[Path]:
    folders = [given] if given else default_folders(task)
    for folder in folders:
        for stem in _stems(task):
            for suffix in _SUFFIXES:
                if (folder / f"{stem}{suffix}").is_file():
                    return [folder / f"{stem}{suffix}"]
                numbered = re.compile(rf"{re.escape(stem)}-\d+{re.escape(suffix)}")
                if pieces := [path for path in folder.glob("*") if numbered.fullmatch(path.name)]:
                    return _in_order(pieces)
    if given:
        names = sorted(p.stem for p in given.iterdir() if p.suffix in _SUFFIXES)
        raise UserError(
            f"The folder {given} given by --data holds no {task.dataset}.npz or .hdf5."
            f"{nearest(task.dataset, names)} Give the path of a file to use data of another name."
        )
    ways = []
    if collectable(task):
        ways.append(f"make them with `tiltflow data collect {task.dataset} --out {folders[0]}`")
    if task.source.copies:
        ways.append(f"get {task.source.copies.format(task.dataset)}")
    ways.append("give --data the path of a file or folder")
    raise UserError(
        f"There are no data for the task {task.name}: {task.dataset}.npz or .hdf5 is not in "
        f"{' or '.join(map(str, folders))}. {'; or '.join(ways).capitalize()}."
    )


def _stems(task: Task) -> list[str]:
    """What the file of a task is called, less its suffix; one with the rewards of the task comes first."""
    robot, _, rest = task.dataset.partition("-")
    # D4RL's own download names its files hopper_medium-v2.hdf5.
    names = [task.dataset, f"{robot}_{rest.replace('-', '_').replace('_v', '-v')}"]
    return [packed_name(task), *names] if task.source.states else names

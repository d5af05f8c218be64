"""Where the files of a task's data set lie."""

import os
from pathlib import Path

from tiltflow.errors import UserError, nearest
from tiltflow.tasks import Task, collectable

_SUFFIXES = (".npz", ".hdf5", ".h5")
_SOURCES = {
    "ogbench": "a copy of the published {}.npz (see https://github.com/seohongpark/ogbench)",
    "d4rl": "a copy of D4RL's {}.hdf5 (see https://github.com/Farama-Foundation/D4RL)",
}


def data_folder() -> Path:
    """The folder searched and written to by default: TILTFLOW_DATA or ~/.cache/tiltflow/data."""
    return Path(os.environ.get("TILTFLOW_DATA") or "~/.cache/tiltflow/data").expanduser()


def locate(task: Task, path: Path | None) -> list[Path]:
    """The training file(s) of a task in `path`: a file, a folder of NAME.npz or .hdf5, or A,B,….

    Without `path`, the default folder is searched, then those of the ogbench and d4rl packages.
    Raises UserError saying how to obtain the data where there are none.
    """
    if path is None:
        return [_search(task)]
    if path.is_dir():
        found = _of_task(task, path)
        if found is None:
            names = sorted(p.stem for p in path.iterdir() if p.suffix in _SUFFIXES)
            raise UserError(
                f"The folder {path} given by --data holds no {task.dataset}.npz or .hdf5."
                f"{nearest(task.dataset, names)} Give the path of a file to use data of another name."
            )
        return [found]
    paths = [Path(part) for part in str(path).split(",")]
    for part in paths:
        if not part.is_file():
            raise UserError(f"There is no file {part}, which --data names for the task {task.name}.")
    return paths


def validation_of(train: Path) -> Path | None:
    """NAME-val.npz beside NAME.npz, if it is there."""
    path = train.with_name(f"{train.stem}-val{train.suffix}")
    return path if path.is_file() else None


def data_files(path: Path) -> list[Path]:
    """Every npz and HDF5 file that a path means: itself, those of a folder, or those of a list A,B,…."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
    return [Path(part) for part in str(path).split(",")]


def default_folders(task: Task) -> list[Path]:
    """The folders that are searched for a task where no --data is given, in this order."""
    folders = [data_folder()]
    if task.family == "ogbench":
        folders.append(Path("~/.ogbench/data").expanduser())
    if task.family == "d4rl":
        folders.append(Path("~/.d4rl/datasets").expanduser())
    return folders


def _search(task: Task) -> Path:
    folders = default_folders(task)
    for folder in folders:
        found = _of_task(task, folder)
        if found is not None:
            return found
    ways = []
    if collectable(task):
        ways.append(f"make them with `tiltflow data collect {task.dataset} --out {folders[0]}`")
    if task.family in _SOURCES:
        ways.append(f"get {_SOURCES[task.family].format(task.dataset)}")
    ways.append("give --data the path of a file or folder")
    raise UserError(
        f"There are no data for the task {task.name}: {task.dataset}.npz or .hdf5 is not in "
        f"{' or '.join(map(str, folders))}. {'; or '.join(ways).capitalize()}."
    )


def packed_name(task: Task) -> str:
    """What a file is called, less its suffix, that holds the rewards of this one OGBench task."""
    return task.name.replace("/", "-")


def _of_task(task: Task, folder: Path) -> Path | None:
    """The file of a task in a folder: one with the rewards of an OGBench task before that of its data set."""
    if task.family == "ogbench" and (path := folder / f"{packed_name(task)}.npz").is_file():
        return path
    return _in_folder(task.dataset, folder)


def _in_folder(name: str, folder: Path) -> Path | None:
    robot, _, rest = name.partition("-")
    # D4RL's own download names its files hopper_medium-v2.hdf5.
    for stem in (name, f"{robot}_{rest.replace('-', '_').replace('_v', '-v')}"):
        for suffix in _SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    return None

"""`tiltflow data`: list, describe, check, collect and convert data sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow import words
from tiltflow.cli.bars import progress_bar
from tiltflow.cli.column_options import ColumnOptions, join_action_bounds
from tiltflow.cli.tables import print_table
from tiltflow.data.locate import LOG_SUFFIXES
from tiltflow.errors import UserError
from tiltflow.tasks import find_task, list_tasks


@dataclass(frozen=True)
class DataList:
    """List the data sets that can be collected here, and which data sets the default folder holds.

    The default folder is ~/.cache/tiltflow/data, or what TILTFLOW_DATA names.
    """

    def run(self) -> None:
        """Print the two tables."""
        from tiltflow.data.locate import data_folder, data_places

        made = {task.dataset: task.source.collection(task) for task in list_tasks()}
        rows = [(name, f"{collection.episodes} episodes") for name, collection in made.items() if collection]
        print_table(("data set to collect", "by default"), rows)
        folder = data_folder()
        found = data_places(folder) if folder.is_dir() else []
        print(f"\n{folder} holds {'these files:' if found else 'no data.'}")
        for path in found:
            print(f"  {path.name}  {path.stat().st_size / 2**20:.1f} MiB")


@dataclass(frozen=True)
class DataInfo(ColumnOptions):
    """Describe a file's columns, or the transitions of a task: sizes, episodes, ranges, returns."""

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH|TASK")]
    """A file (npz, HDF5, Parquet, CSV), a folder or pattern of them, a data set of LeRobot or Minari, or the
    name of a task."""

    data: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """With a task: the file or folder of its data; without it the default folders are searched."""

    def run(self) -> None:
        """Print the description and the findings of the audit."""
        path = Path(self.what)
        files = path.exists() or "*" in self.what or path.suffix in LOG_SUFFIXES
        if files and self.data is None:
            self._run_files(path)
            return
        from tiltflow.data.describe import describe
        from tiltflow.data.load import load_dataset

        task = find_task(self.what)
        dataset = load_dataset(task, self.data, self.choice())
        lines = [("task", task.name), ("source", dataset.source), *describe(dataset.train, task)]
        if dataset.validation is not None:
            lines.append(("validation transitions", f"{len(dataset.validation):,}"))
        print_table(("", ""), [*lines, ("sha256 of the arrays", dataset.checksum)])
        for finding in dataset.findings:
            print(f"{finding.level}: {finding}")

    def _run_files(self, path: Path) -> None:
        from tiltflow.data.describe import describe_path

        for name, lines in describe_path(path, self.choice()):
            print(name)
            print_table(("", ""), [(f"  {key}", value) for key, value in lines])


@dataclass(frozen=True)
class DataDescribe(ColumnOptions):
    """Say which columns a file of own data has and which is taken for what; --write keeps that beside it.

    What names and shapes do not tell is to be said: in the file that is written, or by the options.
    """

    path: tyro.conf.Positional[Path]
    """A file (npz, HDF5, Parquet, CSV), a folder or pattern of them, or a LeRobot data set."""

    write: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write it to PATH.columns.toml, in a folder to columns.toml, which every verb reads from then on."""

    def run(self) -> None:
        """Print the columns, the guess and what could not be guessed."""
        from tiltflow.data.guess import guess_choice

        guess = guess_choice(self.path, self.choice())
        print_table(("column", "shape", "taken for"), guess.rows)
        print(f"\n{guess.text}", end="")
        for question in guess.questions:
            print(f"open: {question}")
        if self.write:
            print(f"written: {guess.write()}")
        elif guess.questions:
            print(
                "Say it with --columns observations=COLUMN+COLUMN,actions=COLUMN, --reward and "
                "--action-bounds; or keep this with --write, and say it there."
            )


@dataclass(frozen=True)
class DataAudit(ColumnOptions):
    """Check data for NaN, actions out of bounds, wrong lengths, damage and more; exit code 2 on errors."""

    path: tyro.conf.Positional[Path]
    """A file (npz, HDF5, Parquet, CSV), a folder or pattern of them, a list A,B,…, or a LeRobot or Minari
    data set."""

    def run(self) -> None:
        """Print every finding. Raises UserError where one is an error."""
        from tiltflow.data.load import audit_path

        findings = audit_path(self.path, self.choice())
        for finding in findings:
            print(f"{finding.level}: {finding}")
        errors = sum(finding.level == "error" for finding in findings)
        if errors:
            raise UserError(f"{self.path} cannot be used: {words.plural(errors, 'error')} found.")
        warnings = sum(finding.level == "warning" for finding in findings)
        print(f"{self.path}: no errors, {words.plural(warnings, 'warning')}.")


@dataclass(frozen=True)
class DataCollect:
    """Make a data set without any download, by its published protocol; equal seeds give equal files."""

    name: tyro.conf.Positional[str]
    """The data set, such as pointmaze-umaze-v0 or cube-single-play-v0; `tiltflow data list` has them all."""

    out: Path
    """Folder to write NAME.npz to (and NAME-val.npz, a tenth as many episodes, for OGBench)."""

    episodes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Training episodes; without it as many as the published data set has (200 for pointmaze-*)."""

    seed: int = 0
    """Seed; episode i depends on the name, the seed and i alone."""

    def run(self) -> None:
        """Collect with a progress bar and print the path of the file."""
        from tiltflow.data.collect import collect

        with progress_bar("episodes") as advance:

            def progress(done: int, total: int) -> None:
                advance(f"collecting {self.name}", done, total, "")

            path = collect(self.name, self.episodes, self.out, self.seed, progress)
        print(path)


@dataclass(frozen=True)
class DataShard(ColumnOptions):
    """Convert data to a folder that training maps into memory: for data that the memory cannot hold.

    They are read file by file: needed are some times the memory of the largest file, and on the disk twice
    the room of all. What --columns and the others say is said here, and no more when training.
    """

    path: tyro.conf.Positional[Path]
    """What --data would be: a file (npz, HDF5, Parquet, CSV), a folder or pattern of them, a list A,B,…, or a
    LeRobot or Minari data set."""

    out: tyro.conf.Positional[Path]
    """The new folder, which is then given as --data."""

    task: str | None = None
    """The task that the data are for, where they are not your own (file/…): rewards may depend on it."""

    def run(self) -> None:
        """Convert with a progress bar; print what was found and the path."""
        from tiltflow.data.shard import shard

        task = find_task(self.task or f"file/{self.path.stem or 'data'}")
        with progress_bar("parts") as advance:

            def progress(what: str, done: int, total: int) -> None:
                advance(what, done, total, "")

            dataset = shard(task, self.path, self.out, self.choice(), progress)
        for finding in dataset.findings:
            print(f"{finding.level}: {finding}")
        print(f"{self.out}: {len(dataset.train):,} transitions of {task.name}, sha256 {dataset.checksum}")


def parse(
    arguments: Sequence[str],
) -> DataList | DataInfo | DataDescribe | DataAudit | DataCollect | DataShard:
    """Read the arguments behind `tiltflow data`."""
    return tyro.cli(
        Annotated[DataList, tyro.conf.subcommand("list")]  # type: ignore[arg-type]
        | Annotated[DataInfo, tyro.conf.subcommand("info")]
        | Annotated[DataDescribe, tyro.conf.subcommand("describe")]
        | Annotated[DataAudit, tyro.conf.subcommand("audit")]
        | Annotated[DataCollect, tyro.conf.subcommand("collect")]
        | Annotated[DataShard, tyro.conf.subcommand("shard")],
        prog="tiltflow data",
        description="List, describe, check, collect and convert data sets.",
        args=join_action_bounds(arguments),
    )

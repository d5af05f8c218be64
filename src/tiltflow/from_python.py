"""From arrays in memory to a run, and from a run to its policy: what README's first lines call."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tiltflow.agents.registry import named_preset
from tiltflow.compiled_programs import keep_compiled_here
from tiltflow.data.column_file import choice_file
from tiltflow.data.recorded_arrays import RecordedArrays
from tiltflow.errors import UserError, nearest
from tiltflow.files import read_object
from tiltflow.python_words import in_python, python_errors
from tiltflow.remote_folder import open_mirror
from tiltflow.remote_store import is_url
from tiltflow.run_folder import RunFolder
from tiltflow.settings import diff, diff_text, override
from tiltflow.train_config import TrainConfig, default_out, to_dict

if TYPE_CHECKING:
    from tiltflow.serving.compiled_policy import CompiledPolicy

_DATA_FILE = "data.npz"
"""Arrays of memory, in the run folder, where the run finds them again."""


@dataclass(frozen=True)
class TrainedRun:
    """A run folder, or an exported policy."""

    folder: Path

    def policy(
        self,
        *,
        seed: int | None = None,
        noise: float | None = None,
        best_of: int | None = None,
        critic: str | Path | None = None,
    ) -> "CompiledPolicy":
        """The policy of a seed, the first one by default: observations in, actions out, in the data's units.

        `noise` is the noise temperature, `best_of` the N of best-of-N by the critic of the run, or of
        another one. Raises UserError where there is no policy, and for settings that it does not have.
        """
        from tiltflow.serving.load_policy import load_policy

        other = None if critic is None else _folder(critic)
        with python_errors():
            return load_policy(self.folder, seed=seed, noise=noise, best_of=best_of, critic=other)

    @property
    def result(self) -> dict[str, Any]:
        """The score, as in result.json. Raises UserError where there is none yet."""
        return read_object(RunFolder(self.folder).result_file)

    def resume(
        self, *, data: str | Path | None = None, steps: int | None = None, quiet: bool = False
    ) -> "TrainedRun":
        """Train on where the run was stopped, to the bits of one that was not.

        `data` is where the data lie by now; more `steps` than the run has lengthen it. Raises what `train`
        does.
        """
        keep_compiled_here()
        from tiltflow.training.run import resume

        with python_errors(), _shown(quiet) as observe:
            resume(self.folder, observe, data=None if data is None else Path(data), steps=steps)
        return self


def open_run(folder: str | Path) -> TrainedRun:
    """A run, also at a URL, or a file that `tiltflow export` wrote. Raises UserError where it is none."""
    with python_errors():
        path = _folder(folder)
        if not path.is_file():
            RunFolder(path).refuse_no_run()
    return TrainedRun(path)


def train_on(
    algorithm: str,
    data: RecordedArrays | str | Path | None = None,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> TrainedRun:
    """Train an algorithm on arrays, which are written into the run folder, or on files.

    `task` is the name of a task, for files of known ones; without it the data are your own. `out` is the new
    run folder, or a URL, by default runs/ALGORITHM-TASK-SEEDS; with `resume`, one that holds this training
    already is continued, or opened where it is finished. `settings` are those of the algorithm, as
    {"beta": 5.0, "flow.network.width": 512}; `options` are fields of `TrainConfig`: steps, seeds, seed,
    episodes, env, columns, reward, action_bounds, …. Raises UserError, TrainingDiverged and Interrupted as
    `tiltflow train` does.
    """
    keep_compiled_here()
    from tiltflow.training.origin import refuse_other_data
    from tiltflow.training.prepare import prepare
    from tiltflow.training.run import train

    recorded, files = (data, None) if isinstance(data, RecordedArrays) else (None, data)
    if not isinstance(files, str | Path | None) or data is task is None:
        raise UserError("Give a tiltflow.Dataset, the path of files, or the name of a task with task=.")
    task = task or f"file/{recorded.name if recorded else Path(str(files)).stem}"
    with python_errors():
        config = _config(algorithm, task, settings, options)
        run = RunFolder(_folder(out) if out else default_out(config))
        place = run.path / _DATA_FILE if recorded else files
        config = replace(config, data=None if place is None else str(place))
        if run.holds_run and resume:
            _refuse_other_run(run, config, recorded)
            if run.finished:
                refuse_other_data(run, prepare(config)[1])
                return TrainedRun(run.path)
            return TrainedRun(run.path).resume(data=files, quiet=quiet)
        _refuse_full(run, recorded is not None)
    made = [folder for folder in (run.path, *run.path.parents) if not folder.exists()]
    arrays = run.path / _DATA_FILE if recorded else None
    try:
        if recorded and arrays:
            recorded.write(arrays)
        with python_errors(arrays), _shown(quiet, arrays) as observe:
            train(config, run.path, observe, in_this_process=True)
    finally:
        if arrays and not run.holds_run:  # refused before it began
            arrays.unlink(missing_ok=True)
            choice_file(arrays).unlink(missing_ok=True)
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()
    return TrainedRun(run.path)


def _folder(place: str | Path) -> Path:
    """The folder that a place is, or that mirrors it where it is a URL."""
    return open_mirror(str(place)) if is_url(place) else Path(place)


def _config(
    algorithm: str, task: str, settings: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> TrainConfig:
    known = {field.name for field in fields(TrainConfig)} - {"algorithm", "task", "agent", "data", "ends"}
    for name in options:
        if name not in known:
            raise UserError(f"tiltflow.train has no argument {name!r}.{nearest(name, known)}")
    start = named_preset(algorithm, task, "ours")
    options = {"steps": start.steps or TrainConfig.steps, **options}
    if isinstance(columns := options.get("columns"), Mapping):
        named = {role: [of] if isinstance(of, str) else of for role, of in columns.items()}
        options["columns"] = ",".join(f"{role}={'+'.join(of)}" for role, of in named.items())
    if isinstance(sides := options.get("action_bounds"), list | tuple):
        entries = [side if isinstance(side, list | tuple) else [side] for side in sides]
        options["action_bounds"] = " ".join(",".join(map(str, of)) for of in entries)
    return TrainConfig(algorithm, task, override(start.config, settings or {}), **options)


def _refuse_full(run: RunFolder, with_arrays: bool) -> None:
    if run.holds_run:
        raise UserError(
            f'{run.path} holds a run already. tiltflow.load("{run.path}") opens it; resume=True continues it '
            "where settings and data are the same; out= names another folder."
        )
    if with_arrays and not run.is_empty:
        raise UserError(f"{run.path} exists and is not an empty folder. Choose another one with out=.")


def _refuse_other_run(run: RunFolder, config: TrainConfig, recorded: RecordedArrays | None) -> None:
    """Raise UserError where the folder holds a run of other settings, or of other arrays."""
    stored = run.read_config()
    changed = diff(to_dict(replace(stored, data=config.data)), to_dict(config))
    if changed:
        raise UserError(
            f"{run.path} holds a run with other settings ({diff_text(changed)}). Give the same ones, or "
            "another folder with out=."
        )
    if recorded:
        with TemporaryDirectory() as folder:
            again = Path(folder) / _DATA_FILE
            recorded.write(again)
            there = run.path / _DATA_FILE
            if not there.is_file() or again.read_bytes() != there.read_bytes():
                raise UserError(f"{run.path} holds a run on other arrays. Choose another folder with out=.")


def _shown(quiet: bool, arrays: Path | None = None) -> Any:
    from tiltflow.training.display import show_progress
    from tiltflow.training.progress import ignore_event

    return nullcontext(ignore_event) if quiet else _in_python_words(show_progress(), arrays)


@contextmanager
def _in_python_words(display: Any, arrays: Path | None) -> Iterator[Any]:
    with display as observe:

        def reworded(event: dict[str, Any]) -> None:
            told = {"text": in_python(event["text"], arrays)} if event["event"] == "message" else {}
            observe({**event, **told})

        yield reworded

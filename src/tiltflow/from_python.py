"""From arrays in memory to a run, and from a run to its policy: what README's first lines call."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.agents.registry import named_preset
from tiltflow.compiled_programs import keep_compiled_here
from tiltflow.data.column_file import choice_file
from tiltflow.data.recorded_arrays import RecordedArrays
from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.run_folder import RunFolder, default_out
from tiltflow.settings import override
from tiltflow.train_config import TrainConfig

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

        other = None if critic is None else Path(critic)
        return load_policy(self.folder, seed=seed, noise=noise, best_of=best_of, critic=other)

    @property
    def result(self) -> dict[str, Any]:
        """The score, as in result.json. Raises UserError where there is none yet."""
        return read_object(RunFolder(self.folder).result_file)

    def resume(self, *, quiet: bool = False) -> "TrainedRun":
        """Train on where the run was stopped, to the bits of one that was not. Raises what `train` does."""
        keep_compiled_here()
        from tiltflow.training.run import resume

        with _shown(quiet) as observe:
            resume(self.folder, observe)
        return self


def open_run(folder: str | Path) -> TrainedRun:
    """A run, or a file that `tiltflow export` wrote. Raises UserError where it is none."""
    if not Path(folder).is_file():
        RunFolder(Path(folder)).refuse_no_run()
    return TrainedRun(Path(folder))


def train_on(
    algorithm: str,
    data: RecordedArrays | str | Path | None = None,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **options: Any,
) -> TrainedRun:
    """Train an algorithm on arrays, which are written into the run folder, or on files.

    `task` is the name of a task, for files of known ones; without it the data are your own. `out` is the new
    run folder, by default runs/ALGORITHM-TASK-SEEDS. `settings` are those of the algorithm, as
    {"beta": 5.0, "flow.network.width": 512}; `options` are fields of `TrainConfig`: steps, seeds, seed,
    episodes, env, …. Raises UserError, TrainingDiverged and Interrupted as `tiltflow train` does.
    """
    keep_compiled_here()
    from tiltflow.training.run import train

    recorded = data if isinstance(data, RecordedArrays) else None
    task = task or f"file/{recorded.name if recorded else Path(str(data)).stem}"
    start = named_preset(algorithm, task, "ours")
    options = {"steps": start.steps or TrainConfig.steps, **options}
    try:
        config = TrainConfig(algorithm, task, override(start.config, settings or {}), **options)
    except TypeError as error:
        raise UserError(f"train: {error}") from error
    run = RunFolder(Path(out) if out else default_out(config))
    run.refuse_run()
    place = run.path / _DATA_FILE
    if recorded:
        if not run.is_empty:
            raise UserError(f"{run.path} exists and is not an empty folder. Choose another one with out=.")
        recorded.write(place)
        config = replace(config, data=str(place))
    elif data is not None:
        config = replace(config, data=str(data))
    try:
        with _shown(quiet) as observe:
            train(config, run.path, observe, in_this_process=True)
    finally:
        if recorded and not run.holds_run:  # refused before it began
            place.unlink()
            choice_file(place).unlink(missing_ok=True)
    return TrainedRun(run.path)


def _shown(quiet: bool) -> Any:
    from tiltflow.training.display import show_progress
    from tiltflow.training.progress import ignore_event

    return nullcontext(ignore_event) if quiet else show_progress()

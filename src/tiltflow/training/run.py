"""Runs: a folder that a training fills, that can be resumed, evaluated and shown."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from tiltflow.data.locate import data_places
from tiltflow.errors import Interrupted, TrainingDiverged, UserError
from tiltflow.merged_seeds import merge_logs
from tiltflow.processes.locks import locked
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import TrainConfig
from tiltflow.training.conclusion import finish
from tiltflow.training.devices import devices_of
from tiltflow.training.group import train_group
from tiltflow.training.lengthen import lengthened, told
from tiltflow.training.origin import HERE, begin_run, refuse_other_data
from tiltflow.training.prepare import check_environment, check_trusted, prepare, seed_groups
from tiltflow.training.progress import Event, Observe, ignore_event
from tiltflow.training.restore import refuse_unsound
from tiltflow.training.reuse import check_reuse
from tiltflow.training.seed_jobs import train_in_processes
from tiltflow.training.shared_data import data_shared, remove_shared_data
from tiltflow.training.time_spent import TimeSpent
from tiltflow.training.under_way import Training


def train(
    config: TrainConfig,
    out: Path,
    observe: Observe = ignore_event,
    *,
    in_this_process: bool = False,
    profile: bool = False,
) -> Path:
    """Train all seeds of `config` into the new folder `out`; returns it, with result.json and report.html.

    Where the config says not to play, both are missing until `training.unplayed.play_kept` has played.
    On a CPU each seed has a process of its own, except where there is one seed and `in_this_process`. With
    `profile` the first seeds' folder gets a trace of one chunk of each stage, `trace/STAGE`. Raises
    UserError (bad config or data, `out` exists already), TrainingDiverged, Interrupted (after a checkpoint;
    `resume` continues).
    """
    run, spent = RunFolder(out), TimeSpent()
    run.refuse_run()
    prepared, dataset = prepare(config)
    if config.play:
        dataset = replace(dataset, findings=(*dataset.findings, *check_environment(prepared, dataset)))
    devices_of(prepared, config.seed_numbers)
    training = Training(prepared, dataset, run, observe, spent, profile=profile)
    check_reuse(training)
    with locked(out):
        run.refuse_run()
        run.write_config(config)
        _train_all(training, in_this_process=in_this_process)
    return out


def resume(
    folder: Path,
    observe: Observe = ignore_event,
    *,
    config: TrainConfig | None = None,
    data: Path | None = None,
    steps: int | None = None,
    in_this_process: bool | None = None,
) -> Path:
    """Continue the run in `folder` from its checkpoints to the bits of an uninterrupted one.

    It goes on in this process, on all of its cores, where it began so: their number may change roundings.

    `data` is where the data lie by now; `config` takes the place of the run's own. With `steps`, more than
    it has, a run that is trained goes on in its last stage (`training.lengthen`). Raises what `train` does,
    and UserError where the data are others, no checkpoint can be read, or the folder names code to be run
    that nobody has vouched for; the folder then stays as it was.
    """
    run, spent = RunFolder(folder), TimeSpent()
    stored = run.read_config()
    if config is None:
        check_trusted(stored, run)
    config = config or stored
    config = replace(config, data=str(data)) if data is not None else _with_data_found(config, run)
    prepared, dataset = prepare(config)
    if in_this_process is None and run.environment_file.exists():
        in_this_process = run.read_environment().get(HERE) is True
    with locked(folder):
        refuse_other_data(run, dataset)
        for seeds in seed_groups(config, run):
            refuse_unsound(prepared, run, seeds)
        if steps is not None:
            before = prepared.schedule
            config = lengthened(config, run, steps, before.steps, seed_groups(config, run))
            prepared = prepared.with_config(config)
            text = told(config, before.stages[-1], prepared.schedule.stages[-1])
            observe({"event": "message", "level": "info", "text": text})
        if config != stored:
            run.write_config(config)
        if steps is not None:
            run.reopen()
        training = Training(prepared, dataset, run, observe, spent)
        _train_all(training, in_this_process=bool(in_this_process))
    return folder


def _with_data_found(config: TrainConfig, run: RunFolder) -> TrainConfig:
    """The config with data that are where it says, or else in the run folder itself, by their name.

    Raises UserError saying how to name data that are at neither place.
    """
    if config.data is None or any(place.exists() for place in data_places(Path(config.data))):
        return config
    inside = run.path / Path(config.data).name
    if inside.is_file():
        return replace(config, data=str(inside))
    seen = "" if Path(config.data).is_absolute() else f", seen from {Path.cwd()}"
    raise UserError(
        f"{run.config_file}, key 'data' = {config.data!r}: nothing is there{seen}. Say where the data lie by "
        f"now: tiltflow train --resume {run.path} --data PATH"
    )


def _train_all(training: Training, *, in_this_process: bool) -> None:
    """Train every group of seeds, join what they wrote, and conclude the run where it is played."""
    config, run = training.prepared.config, training.run
    remove_shared_data(run)  # of a training that was killed
    groups = seed_groups(config, run)
    with stop_on_signals() as stop:
        begin_run(training, in_this_process=in_this_process)
        watched = replace(training, observe=_LiveLogs(run, groups, training.observe), stop=stop)
        together = config.parallel != "process" and len(groups[0]) > 1
        try:
            if len(groups) == 1 and (in_this_process or together):
                done = [train_group(watched, groups[0])]
            else:
                with data_shared(run, training.dataset):
                    done = train_in_processes(watched, groups)
        except (Interrupted, TrainingDiverged):
            merge_logs(run, groups)
            raise
        # Still locked, and deaf to a late Ctrl-C: what is left takes a moment.
        finish(training, max(record["train_seconds"] for record in done))


@dataclass
class _LiveLogs:
    """Hands events on, and joins the groups' logs at evaluations and checkpoints, for who looks at the run.

    Long logs take a while to join: no more than a twentieth of the time is spent on it.
    """

    run: RunFolder
    groups: list[list[int]]
    observe: Observe
    due: float = 0.0

    def __call__(self, event: Event) -> None:
        began = time.monotonic()
        if event["event"] in ("evaluation", "checkpoint") and began >= self.due:
            merge_logs(self.run, self.groups)
            self.due = began + 20 * (time.monotonic() - began)
        self.observe(event)

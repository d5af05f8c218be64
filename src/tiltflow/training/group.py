"""One group of seeds from its last checkpoint (or none) to the end of its schedule."""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from tiltflow.errors import Interrupted
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.devices import devices_of, on_host
from tiltflow.training.estimator import Estimator
from tiltflow.training.evaluator import Evaluator, write_actions
from tiltflow.training.loop import Loop
from tiltflow.training.policy import data_scaler, identity_scaler, init_state
from tiltflow.training.prepare import Prepared
from tiltflow.training.restore import restore_group
from tiltflow.training.reuse import Reusable, find_reusable
from tiltflow.training.rows import DataRows, DeviceRows, HostRows, row_columns
from tiltflow.training.schedule import Position
from tiltflow.training.under_way import Training


def train_group(training: Training, seeds: list[int]) -> dict[str, Any]:
    """Train a group of seeds to the end of the schedule; returns what the run's result needs of it.

    The seconds that are spent are added to those that the group's folder has of an earlier part. Raises
    UserError (a checkpoint, a run to reuse), TrainingDiverged, Interrupted (after a checkpoint).
    """
    dataset, spent, steps = training.dataset, training.spent, training.prepared.schedule.steps
    with spent.apart_from_compiling():
        group = restored(training, seeds)
        try:
            with spent.on("train"):
                train_stages(group)
            shown = dataset.train if dataset.held_out is None else dataset.held_out.rows
            with spent.on("play"):
                write_actions(group.folder, group.evaluator, group.loop.state, shown)
        except Interrupted as error:
            group.save()
            raise Interrupted(f"Stopped at step {group.step} of {steps}, after a checkpoint.") from error
        finally:
            group.add_time()
    return {"train_seconds": group.seconds(), "steps": steps}


class Advancing(Protocol):
    """What trains: a group of seeds, or several."""

    loop: Loop
    step: int

    @property
    def prepared(self) -> Prepared: ...
    def run_chunk(self, here: Position, length: int) -> dict[str, np.ndarray]: ...
    def adopts(self, here: Position) -> bool: ...
    def log(self, here: Position, length: int, spent: float, values: dict[str, np.ndarray]) -> None: ...
    def has_evaluated(self) -> bool: ...
    def evaluate(self) -> None: ...
    def save(self) -> None: ...


@dataclass
class TrainingGroup:
    """A group of seeds under way, at the edge after `step` gradient steps."""

    training: Training
    folder: RunFolder
    loop: Loop
    evaluator: Evaluator | Estimator
    reusable: Reusable | None
    step: int
    seconds_before: float
    """Seconds of training that `began` does not count; those of evaluations are taken off."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def prepared(self) -> Prepared:
        return self.training.prepared

    def seconds(self) -> float:
        """Wall seconds of training so far, without evaluations."""
        return self.seconds_before + time.perf_counter() - self.began

    def tell(self, event: str, **content: Any) -> None:
        self.training.observe({"event": event, **content})

    def save(self) -> None:
        """Write the checkpoint of this edge."""
        prepared, seeds = self.prepared, self.loop.seeds
        head = {
            "step": self.step,
            "seconds": self.seconds(),
            "stage_end": prepared.schedule.ends_stage(self.step),
            "to_play": not prepared.config.play and self.step in prepared.schedule.evaluated,
            "run": prepared.fingerprint(seeds),
        }
        with self.training.spent.on("checkpoint"):
            checkpoints.save(self.folder, self.loop.state, head, keep=prepared.config.keep)
        self.tell("checkpoint", seeds=seeds, step=self.step)

    def log(self, here: Position, length: int, spent: float, values: dict[str, np.ndarray]) -> None:
        """Log the metrics of a chunk that took `spent` seconds."""
        stage = self.prepared.schedule.stages[here.stage]
        line = {
            "step": here.step + length,
            "stage": stage.name,
            "stage_step": here.stage_step + length,
            "seconds": spent,
            "steps_per_second": length / spent,
            "metrics": {name: value.mean(axis=1).tolist() for name, value in values.items()},
        }
        self.folder.log_metrics(line)
        self.tell("chunk", seeds=self.loop.seeds, stage_steps=stage.steps, **line)

    def add_time(self) -> None:
        """Add what time was spent on to what the folder says of earlier parts."""
        earlier, spent = self.folder.read_time(), self.training.spent.seconds()
        self.folder.write_time({name: value + earlier.get(name, 0.0) for name, value in spent.items()})

    def has_evaluated(self) -> bool:
        """Whether the evaluation of this edge is logged."""
        lines = self.folder.evaluations(len(self.loop.seeds))
        return self.step in {line["step"] for line in lines}

    def evaluate(self) -> None:
        """Play and log the evaluation of this edge."""
        with self.training.spent.on("play"):
            line = self.evaluator.scheduled(self.loop.state, self.step)
        self.seconds_before -= line["seconds"]
        line |= self.prepared.schedule.lengthened_before(self.step)
        if (paths := getattr(self.evaluator, "paths", None)) is not None:
            self.folder.write_episodes(paths)
        self.folder.log_evaluation(line)
        self.tell("evaluation", seeds=self.loop.seeds, step=self.step, score=line["score"])

    def run_chunk(self, here: Position, length: int) -> dict[str, np.ndarray]:
        """Run one chunk; with `profile`, trace the first of each stage that does not compile."""
        stage = self.prepared.schedule.stages[here.stage]
        folder = self.folder.path / "trace" / stage.name
        due = here.stage_step > 0 or length == stage.steps
        traced = self.training.profile and due and not folder.exists()
        with jax.profiler.trace(str(folder)) if traced else nullcontext():
            return self.loop.run_chunk(here, length)

    def adopts(self, here: Position) -> bool:
        """Whether the stage that begins here is taken over from another run, which then is done."""
        source, index = self.reusable, here.stage
        if source is None or index not in source.checkpoints:
            return False
        stage, state = self.prepared.schedule.stages[index], self.loop.state
        agent = source.take(index, stage, self.loop.refresh(stage, here))
        self.loop.state = state._replace(agent=agent)
        self.seconds_before += source.take_metrics(index, here.step, self.folder)
        self.training.tell(f"stage {stage.name} of seeds {self.loop.seeds} is taken over from {source.run}")
        return True


def restored(training: Training, seeds: list[int], rows: DataRows | None = None) -> TrainingGroup:
    """The group at its newest checkpoint, its logs cut to what was logged before.

    It reads these rows of the data, or makes its own.
    """
    prepared, dataset, run = training.prepared, training.dataset, training.run
    observe, stop = training.observe, training.stop
    scaled = prepared.config.normalize_observations
    scaler = data_scaler(dataset.train, dataset.moments) if scaled else identity_scaler(prepared.spec)
    fresh = init_state(prepared.agent, scaler, seeds)
    state, start, seconds, problems = restore_group(prepared, run, seeds, fresh, to_train=True)
    reusable = find_reusable(prepared, seeds, start, fresh)
    folder = run.group(seeds)
    folder.path.mkdir(parents=True, exist_ok=True)
    for problem in problems:
        training.tell(problem, "warning")
    folder.cut_logs(start)
    devices = devices_of(prepared, seeds)
    if rows is None:
        rows = (
            HostRows(dataset.train, scaler, folder.path)
            if on_host(prepared.config, dataset.train)
            else DeviceRows(devices.rows(row_columns(dataset.train, scaler)))
        )
    loop = Loop(prepared.schedule, seeds, rows, state, observe, stop, training.spent, devices)
    evaluator: Evaluator | Estimator = (
        Evaluator(prepared, seeds, observe, stop)
        if dataset.held_out is None
        else Estimator(prepared, dataset.held_out, seeds, observe, stop)
    )
    return TrainingGroup(training, folder, loop, evaluator, reusable, start, seconds)


def train_stages(group: Advancing) -> None:
    """Run every chunk that is left. At an edge the order is: log, evaluate, save.

    A stage that is taken over is not trained: its outcome is in the state, and only its end is an edge.
    Raises Interrupted where stopping was asked for: `group` is then at the last edge.
    """
    schedule, play = group.prepared.schedule, group.prepared.config.play
    evaluated = schedule.evaluated if play else ()
    if group.step in evaluated and not group.has_evaluated():
        group.evaluate()  # the run was stopped between this edge's checkpoint and its evaluation
    adopted = None
    for here, length in schedule.chunks(group.step):
        end = here.step + length
        if here.stage_step == 0 and group.adopts(here):
            adopted = here.stage
        if here.stage != adopted:
            began = time.perf_counter()
            values = group.run_chunk(here, length)
            group.log(here, length, time.perf_counter() - began, values)
        elif not schedule.ends_stage(end):
            continue
        group.step = end
        group.loop.stop.check()
        if end in evaluated:
            group.evaluate()
        if schedule.saves(here, length):
            group.save()

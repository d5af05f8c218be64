"""Runs of one seed that differ in numbers of their settings alone, trained as one program: an axis of them.

Each has its own folder, checkpoints, logs and evaluations, and is a run as any other, which may have begun
alone and may go on so: what is computed is the same up to the rounding of a vmapped program. One that
diverges is carried along without being looked at, and stops no other.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tiltflow.errors import Interrupted, TrainingDiverged
from tiltflow.merged_seeds import merge_logs
from tiltflow.processes.locks import locked
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import TrainConfig
from tiltflow.training.conclusion import finish
from tiltflow.training.evaluator import write_actions
from tiltflow.training.group import TrainingGroup, restored, train_stages
from tiltflow.training.loop import Loop
from tiltflow.training.origin import begin_run, refuse_other_data
from tiltflow.training.policy import RunState, device_numbers
from tiltflow.training.prepare import Prepared, check_environment, prepare
from tiltflow.training.progress import Observe
from tiltflow.training.restore import refuse_unsound
from tiltflow.training.schedule import Position
from tiltflow.training.time_spent import TimeSpent
from tiltflow.training.under_way import Training


@dataclass
class Lane:
    """A run of one seed: its config, its folder and who is told of it."""

    config: TrainConfig
    folder: Path
    observe: Observe
    diverged: str | None = None
    """Why it was given up."""


def train_lanes(lanes: list[Lane], until: int | None = None) -> None:
    """Train each from its last checkpoint to the end, or to so many evaluations of the last stage.

    Raises what `train` does, but where a lane diverges it only says so.
    """
    spent = TimeSpent()
    prepared, dataset = prepare(lanes[0].config)
    if prepared.config.play:
        check_environment(prepared)
    with ExitStack() as held:
        stop = held.enter_context(stop_on_signals())
        for lane in lanes:
            held.enter_context(locked(lane.folder))
        held.enter_context(spent.apart_from_compiling())
        opened = list[tuple[Lane, TrainingGroup]]()
        for lane in lanes:
            own = prepared.with_config(lane.config)
            training = Training(own, dataset, RunFolder(lane.folder), lane.observe, spent, stop)
            _open(training)
            rows = opened[0][1].loop.rows if opened else None
            opened.append((lane, restored(training, own.config.seed_numbers, rows)))
        for _, alike in groupby(sorted(opened, key=_place), _place):
            _train(list(alike), until)


def _place(opened: tuple[Lane, TrainingGroup]) -> tuple[int, list[int]]:
    """Where a run goes on, and the stages that it takes over."""
    group = opened[1]
    return group.step, sorted(group.reusable.checkpoints) if group.reusable else []


def _open(training: Training) -> None:
    """Begin a run, or go on with one that has a checkpoint."""
    run, prepared = training.run, training.prepared
    if run.steps_kept() > 0:
        refuse_other_data(run, training.dataset)
        refuse_unsound(prepared, run, prepared.config.seed_numbers)
    else:
        run.clear()
    run.write_config(prepared.config)
    begin_run(training)


def _train(lanes: list[tuple[Lane, TrainingGroup]], until: int | None) -> None:
    """Train runs that are at one edge, and conclude those that come to the end."""
    together, ended = _together([group for _, group in lanes], until), False
    dataset, spent = lanes[0][1].training.dataset, lanes[0][1].training.spent
    try:
        with spent.on("train"):
            train_stages(together)
        shown = dataset.train if dataset.held_out is None else dataset.held_out.rows
        with spent.on("play"):
            for _, group in together.alive():
                write_actions(group.folder, group.evaluator, group.loop.state, shown)
        ended = True
    except (_Enough, Interrupted) as error:
        together.save()
        if isinstance(error, Interrupted):
            raise
    finally:
        for place, (lane, group) in enumerate(lanes):
            lane.diverged = together.diverged.get(place)
            group.add_time()
            merge_logs(group.training.run, [group.loop.seeds])
    for lane, group in lanes:
        if ended and lane.diverged is None:
            finish(group.training, group.seconds())


def _together(groups: list[TrainingGroup], until: int | None) -> "_Together":
    first, several = groups[0].loop, len(groups) > 1
    act = groups[0].evaluator.act.func  # one compiled policy serves all
    numbers = [group.prepared.agent.numbers for group in groups]
    for group, own in zip(groups, numbers, strict=True):
        group.evaluator.act = partial(act, device_numbers(own))
    loop = Loop(
        first.schedule,
        [group.loop.seeds[0] for group in groups],
        first.rows,
        _stacked([group.loop.state for group in groups]),
        first.observe,
        first.stop,
        first.spent,
        replace(first.devices, several_seeds=several),
        {key: np.array([own[key] for own in numbers]) for key in numbers[0]} if several else None,
    )
    return _Together(groups, loop, until, groups[0].step)


def _stacked(states: list[RunState]) -> RunState:
    """The state of several, with their axis; of one as it is. All have the same units of observations."""
    if len(states) == 1:
        return states[0]
    parts = [(state.agent, state.buffer) for state in states]
    agent, buffer = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    return states[0]._replace(agent=agent, buffer=buffer)


class _Enough(Exception):
    """There are as many evaluations as were wanted for the time being, or all have diverged."""


@dataclass
class _Together:
    """Groups of one seed that train as one: what `train_stages` asks of a `TrainingGroup`."""

    groups: list[TrainingGroup]
    loop: Loop
    until: int | None
    step: int
    diverged: dict[int, str] = field(default_factory=dict)
    """Why, by the places of those that are given up."""

    @property
    def prepared(self) -> Prepared:
        """That of the first: all have one schedule."""
        return self.groups[0].prepared

    def alive(self) -> Iterator[tuple[int, TrainingGroup]]:
        """Those that have not diverged, by their places, at this edge and with their part of the state."""
        state, several = self.loop.state, len(self.groups) > 1
        for place, group in enumerate(self.groups):
            if place not in self.diverged:
                parts = (state.agent, state.buffer)
                own = jax.tree.map(lambda leaf, i=place: leaf[i] if several else leaf, parts)
                group.loop.state, group.step = RunState(own[0], state.scaler, own[1]), self.step
                yield place, group

    def give_up(self, place: int, error: TrainingDiverged) -> None:
        """Go on without one. Raises _Enough where it was the last."""
        self.diverged[place] = str(error)
        self.loop.finite.given_up.add(place)
        if len(self.diverged) == len(self.groups):
            raise _Enough

    def run_chunk(self, here: Position, length: int) -> dict[str, np.ndarray]:
        """Run one chunk of all; again, where one diverges in it."""
        while True:
            try:
                return self.loop.run_chunk(here, length)
            except TrainingDiverged as error:
                self.give_up(error.place, error)

    def log(self, here: Position, length: int, spent: float, values: dict[str, np.ndarray]) -> None:
        """Log the metrics of a chunk, each its own."""
        for place, group in enumerate(self.groups):
            if place not in self.diverged:
                own = {name: value[place : place + 1] for name, value in values.items()}
                group.log(here, length, spent, own)

    def adopts(self, here: Position) -> bool:
        """Whether the stage that begins here is taken over, by all or by none."""
        if self.groups[0].reusable is None:
            return False
        adopted = [group.adopts(here) for _, group in self.alive()]
        if any(adopted):
            self.loop.state = _stacked([group.loop.state for group in self.groups])
        return any(adopted)

    def has_evaluated(self) -> bool:
        """Whether the evaluation of this edge is logged by all."""
        return all(group.has_evaluated() for _, group in self.alive())

    def evaluate(self) -> None:
        """Play and log the evaluation of this edge, where it is not yet. Raises _Enough."""
        began = time.perf_counter()
        before = [group.seconds_before for group in self.groups]
        for place, group in self.alive():
            try:
                if not group.has_evaluated():
                    group.evaluate()
            except TrainingDiverged as error:
                self.give_up(place, error)
        spent = time.perf_counter() - began
        for group, seconds in zip(self.groups, before, strict=True):
            group.seconds_before = seconds - spent
        last = self.prepared.schedule.stages[-1].name
        for _, group in self.alive():
            lines = [line for line in group.folder.evaluations(seeds=1) if line["stage"] == last]
            if self.until is not None and len(lines) >= self.until:
                raise _Enough

    def save(self) -> None:
        """Write the checkpoint of this edge of each."""
        for _, group in self.alive():
            group.save()

"""Where a run stands, and the edges at which it may stop: between chunks, never inside one."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiltflow.agents.base import Stage
from tiltflow.training.config import TrainConfig


@dataclass(frozen=True)
class Position:
    """An edge between two chunks: `stage_step` gradient steps of stage number `stage` are done."""

    stage: int
    stage_step: int
    step: int
    """Gradient steps done in all stages together."""


@dataclass(frozen=True)
class Schedule:
    """The chunks of a run and what happens at their edges; a function of the stages and the config alone."""

    stages: tuple[Stage, ...]
    config: TrainConfig

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def position(self, step: int) -> Position:
        """The edge after `step` gradient steps; between two stages it is the start of the later one."""
        begun = 0
        for index, stage in enumerate(self.stages):
            if step < begun + stage.steps or index == len(self.stages) - 1:
                return Position(index, step - begun, step)
            begun += stage.steps
        raise ValueError("a schedule needs at least one stage")

    def begin(self, index: int) -> int:
        """Gradient steps of the run before stage number `index`."""
        return sum(stage.steps for stage in self.stages[:index])

    def stage_before(self, step: int) -> Stage:
        """The stage of the `step`-th gradient step: at the edge of two stages it is the earlier one."""
        return self.stages[self.position(step - 1).stage]

    def ends_stage(self, step: int) -> bool:
        """Whether a stage is complete after `step` gradient steps of the run."""
        return step in itertools.accumulate(stage.steps for stage in self.stages)

    def chunks(self, start: int) -> Iterator[tuple[Position, int]]:
        """From `start` gradient steps on: the edge at which each chunk begins, and its length."""
        for index in range(len(self.stages)):
            begun = self.begin(index)
            for first, last in itertools.pairwise(self._edges(index)):
                if begun + last > start:
                    first = max(first, start - begun)
                    yield Position(index, first, begun + first), last - first

    def _edges(self, index: int) -> Sequence[int]:
        stage = self.stages[index]
        edges = {*range(0, stage.steps, self.config.chunk), stage.steps}
        if stage.refresh_every is not None:
            edges |= set(range(0, stage.steps, stage.refresh_every))
        return sorted(edges)

    def refresh_number(self, here: Position) -> int:
        """Number of the refresh whose columns are in force in the chunk that begins here."""
        every = self.stages[here.stage].refresh_every
        return 0 if every is None else here.stage_step // every

    def refreshes(self, here: Position) -> bool:
        """Whether the chunk that begins here begins with a refresh."""
        every = self.stages[here.stage].refresh_every
        return here.stage_step == 0 if every is None else here.stage_step % every == 0

    def evaluates(self, before: Position, length: int) -> bool:
        """Whether the policy is evaluated after the chunk of that length that began at `before`.

        In the last stage `config.evaluations` times, at the edges nearest above equal spacing; in an
        earlier stage that improves the policy, at its end.
        """
        stage = self.stages[before.stage]
        end = before.stage_step + length
        if not stage.improves_policy:
            return False
        if before.stage < len(self.stages) - 1:
            return end == stage.steps
        count = self.config.evaluations
        return end * count // stage.steps > before.stage_step * count // stage.steps

    def evaluated(self, last: int) -> Iterator[int]:
        """The steps up to `last` after which the policy is evaluated."""
        for here, length in self.chunks(0):
            if here.step + length <= last and self.evaluates(here, length):
                yield here.step + length

    def evaluations_before(self, step: int) -> int:
        """How often the policy has been evaluated before the edge after `step` gradient steps."""
        return len(list(self.evaluated(step - 1)))

    def saves(self, before: Position, length: int) -> bool:
        """Whether a checkpoint follows the chunk of that length that began at `before`."""
        every = self.config.checkpoint_every
        end_of_stage = before.stage_step + length == self.stages[before.stage].steps
        due = (before.step + length) // every > before.step // every
        return end_of_stage or due or (not self.config.play and self.evaluates(before, length))

"""Where a run stands, and the edges at which it may stop: between chunks, never inside one."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tiltflow.agents.base import Stage
from tiltflow.train_config import TrainConfig


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

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        """Gradient steps of the run after each stage."""
        return tuple(itertools.accumulate(stage.steps for stage in self.stages))

    @property
    def steps(self) -> int:
        return self._ends[-1]

    @cached_property
    def _parts(self) -> tuple[tuple[int, int], ...]:
        """The last stage from its begin to each end that the run had, and on to the next."""
        bounds = (self.begin(len(self.stages) - 1), *(self.config.ends or (self.steps,)))
        return tuple(itertools.pairwise(bounds))

    def begin(self, index: int) -> int:
        """Gradient steps of the run before stage number `index`."""
        return self._ends[index - 1] if index else 0

    def position(self, step: int) -> Position:
        """The edge after `step` gradient steps; between two stages it is the start of the later one."""
        index = min(bisect_right(self._ends, step), len(self.stages) - 1)
        return Position(index, step - self.begin(index), step)

    def stage_before(self, step: int) -> Stage:
        """The stage of the `step`-th gradient step: at the edge of two stages it is the earlier one."""
        return self.stages[self.position(step - 1).stage]

    def ends_stage(self, step: int) -> bool:
        """Whether a stage is complete after `step` gradient steps of the run."""
        return step in self._ends or step in self.config.ends

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """The gradient steps of the run before its first chunk and after each chunk."""
        edges = {0}
        for stage, end in zip(self.stages, self._ends, strict=True):
            for every in filter(None, (self.config.chunk, stage.refresh_every)):
                edges.update(range(end - stage.steps, end, every))
            edges.add(end)
        for begin, end in self._parts[1:]:
            edges.difference_update(range(begin + 1, end))
            edges.update(range(begin, end, self.config.chunk))
            if (refresh := self.stages[-1].refresh_every) is not None:
                first = self._parts[0][0]
                edges.update(step for step in range(first, end, refresh) if step > begin)
        return tuple(sorted(edges | {end for _, end in self._parts}))

    def chunks(self, start: int) -> Iterator[tuple[Position, int]]:
        """From `start` gradient steps on: the edge at which each chunk begins, and its length."""
        for end in self.edges[bisect_right(self.edges, start) :]:
            yield self.position(start), end - start
            start = end

    def longest_chunk(self, index: int) -> int:
        """Steps of the longest chunk of stage number `index`."""
        return max(self._lengths[index])

    def common_part(self, index: int) -> int:
        """Steps of the largest part that divides every chunk of stage number `index`."""
        return math.gcd(*self._lengths[index])

    @cached_property
    def _lengths(self) -> dict[int, set[int]]:
        """The lengths of the chunks of each stage."""
        found: dict[int, set[int]] = {index: set() for index in range(len(self.stages))}
        for here, length in self.chunks(0):
            found[here.stage].add(length)
        return found

    def refresh_number(self, here: Position) -> int:
        """Number of the refresh whose columns are in force in the chunk that begins here."""
        every = self.stages[here.stage].refresh_every
        return 0 if every is None else here.stage_step // every

    def refreshes(self, here: Position) -> bool:
        """Whether the chunk that begins here begins with a refresh."""
        every = self.stages[here.stage].refresh_every
        return here.stage_step == 0 if every is None else here.stage_step % every == 0

    @cached_property
    def evaluated(self) -> tuple[int, ...]:
        """The gradient steps after which the policy is evaluated.

        In the last stage they are `config.evaluations`, at the edges nearest above equal spacing, and so many
        again in each part that it was lengthened by; in an earlier stage that improves the policy there is
        one, at its end.
        """
        return tuple(here.step + length for here, length in self.chunks(0) if self._evaluates(here, length))

    def _evaluates(self, before: Position, length: int) -> bool:
        stage = self.stages[before.stage]
        end = before.stage_step + length
        if not stage.improves_policy:
            return False
        if before.stage < len(self.stages) - 1:
            return end == stage.steps
        count, last = self.config.evaluations, before.step + length
        begin, end = next(part for part in self._parts if part[0] < last <= part[1])
        return (last - begin) * count // (end - begin) > (before.step - begin) * count // (end - begin)

    def lengthened_before(self, step: int) -> dict[str, int]:
        """What the line of an evaluation says of a run that was lengthened before `step`: from where."""
        ends = [end for end in self.config.ends if end < step]
        return {"lengthened_from": ends[-1]} if ends else {}

    def evaluated_to(self, step: int) -> tuple[int, ...]:
        """Those of `evaluated` that are not after `step`."""
        return self.evaluated[: bisect_right(self.evaluated, step)]

    def saves(self, before: Position, length: int) -> bool:
        """Whether a checkpoint follows the chunk of that length that began at `before`."""
        every, end = self.config.checkpoint_every, before.step + length
        due = end // every > before.step // every
        return self.ends_stage(end) or due or (not self.config.play and end in self.evaluated)

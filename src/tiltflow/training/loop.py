"""The training loop of one group of seeds: chunks of compiled steps, and what happens at their edges.

Everything that a chunk computes is a function of the state, the data and keys folded from (seed, stage,
step), so that a resumed run takes the same steps as an uninterrupted one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from tiltflow.accelerators import step_options
from tiltflow.agents.base import Stage
from tiltflow.errors import TrainingDiverged
from tiltflow.optimize import Buffer, Columns, run_steps
from tiltflow.processes.stopping import StopFlag
from tiltflow.training.policy import STAGE, RunState, seed_keys
from tiltflow.training.precompute import drawn_rows, precompute_columns
from tiltflow.training.progress import Observe
from tiltflow.training.rows import DataRows
from tiltflow.training.schedule import Position, Schedule
from tiltflow.training.time_spent import TimeSpent

SAMPLE_ROWS = 2048


@dataclass
class Loop:
    """Runs the chunks of one group of seeds. `state` is its only memory; everything else is rebuilt."""

    schedule: Schedule
    seeds: list[int]
    rows: DataRows
    state: RunState
    observe: Observe
    stop: StopFlag
    spent: TimeSpent = field(default_factory=TimeSpent)
    precomputed: dict[str, Array] = field(default_factory=dict)
    precomputed_for: tuple[int, int] | None = None
    _compiled: dict[tuple[str, int], Callable] = field(default_factory=dict)

    def run_chunk(self, here: Position, length: int) -> dict[str, np.ndarray]:
        """Run one chunk; returns each metric as [seeds, steps].

        Raises TrainingDiverged or, while columns are precomputed, Interrupted: the state then stays as it was
        at the edge.
        """
        stage = self.schedule.stages[here.stage]
        agent_state = self.state.agent
        with self.spent.on("refresh"):
            if self.schedule.refreshes(here):
                agent_state = self.refresh(stage, here)
            buffer = self._extended(stage, here, agent_state)
            self._precompute(stage, here, agent_state)
        key = self._stage_keys(here.stage, 0)
        room, first = self.schedule.longest_chunk(here.stage), here.stage_step
        run = self._once("steps", here.stage, lambda: self._steps(stage, room))
        agent_state, metrics = run(
            agent_state,
            self.rows.resident,
            self.rows.batches(key, first, room, stage.batch_size, buffer),
            self.precomputed,
            buffer,
            key,
            jnp.int32(first),
            jnp.int32(length),
        )
        values = {
            name: np.asarray(of_steps).reshape(len(self.seeds), room)[:, :length]
            for name, of_steps in metrics.items()
        }
        self._check(values, stage, here)
        self.state = self.state._replace(agent=agent_state, buffer=buffer)
        return values

    def _extended(self, stage: Stage, here: Position, agent_state: Any) -> Buffer | None:
        """The rows added so far, with those that the chunk which begins here begins with."""
        rows_of, buffer = stage.extend, self.state.buffer
        if rows_of is None or buffer is None:
            return buffer

        def extend(state: Any, buffer: Buffer, key: PRNGKeyArray) -> Buffer:
            return buffer.add(rows_of(state, key))

        compiled = self._once("extend", here.stage, lambda: jax.jit(self._lift(extend, (0, 0, 0))))
        return compiled(agent_state, buffer, self._stage_keys(here.stage, 3, here.stage_step))

    def _stage_keys(self, stage: int, *path: int) -> PRNGKeyArray:
        keys = seed_keys(self.seeds, STAGE)
        for number in (stage, *path):
            keys = jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys)
        return keys if len(self.seeds) > 1 else keys[0]

    def _lift(self, function: Callable, axes: tuple[Any, ...]) -> Callable:
        """`function` for the whole group: vmapped over several seeds, as it is for one."""
        return jax.vmap(function, in_axes=axes) if len(self.seeds) > 1 else function

    def _steps(self, stage: Stage, room: int) -> Callable:
        """Up to `room` compiled steps. Their input is not donated: it stays where they diverge."""

        def chunk(
            state: Any,
            columns: Columns,
            gathered: Columns,
            precomputed: Columns,
            buffer: Buffer | None,
            key: PRNGKeyArray,
            first: Array,
            length: Array,
        ):
            return run_steps(
                stage.update,
                state,
                {**columns, **precomputed},
                key,
                first,
                num_steps=length,
                batch_size=stage.batch_size,
                room=room,
                rows=self.rows.count,
                gathered=gathered,
                buffer=buffer,
            )

        lifted = self._lift(chunk, (0, None, 0, 0, 0, 0, None, None))
        return jax.jit(lifted, compiler_options=step_options())

    def refresh(self, stage: Stage, here: Position) -> Any:
        """The agent's state after the refresh with which the chunk that begins here begins."""
        key = self._stage_keys(here.stage, 1, self.schedule.refresh_number(here))
        sample = self.rows.take(np.random.default_rng(0).integers(0, self.rows.count, SAMPLE_ROWS))
        refresh = self._once("refresh", here.stage, lambda: jax.jit(self._lift(stage.refresh, (0, None, 0))))
        return refresh(self.state.agent, sample, key)

    def _precompute(self, stage: Stage, here: Position, agent_state: Any) -> None:
        """The columns that follow from the state at the last refresh, unless they are there already."""
        wanted = (here.stage, self.schedule.refresh_number(here))
        if self.precomputed_for == wanted:
            return
        self.precomputed_for, self.precomputed = None, {}
        function = stage.precompute
        if function is None:
            return
        precompute = self._once("precompute", here.stage, lambda: jax.jit(self._lift(function, (0, None, 0))))
        keys = self._stage_keys(here.stage, 0)
        room = self.schedule.longest_chunk(here.stage)
        rows = drawn_rows(keys, stage, wanted[1], self.rows.count, room)

        def done(share: float) -> None:
            self._activity(stage.precompute_reason, share)
            self.stop.check()

        self.precomputed = precompute_columns(
            precompute,
            agent_state,
            self.rows,
            rows,
            lambda block: self._stage_keys(here.stage, 2, wanted[1], block),
            seeds=len(self.seeds),
            done=done,
        )
        self.precomputed_for = wanted

    def _once(self, what: str, index: int, make: Callable[[], Callable]) -> Callable:
        if (what, index) not in self._compiled:
            self._compiled[what, index] = make()
        return self._compiled[what, index]

    def _activity(self, text: str, fraction: float) -> None:
        self.observe({"event": "activity", "seeds": self.seeds, "text": text, "fraction": fraction})

    def _check(self, values: dict[str, np.ndarray], stage: Stage, here: Position) -> None:
        for name, metric in values.items():
            wrong = np.argwhere(~np.isfinite(metric))
            if len(wrong):
                row, column = wrong[wrong[:, 1].argmin()]
                raise TrainingDiverged(
                    f"Training diverged: {name} became {metric[row, column]} at step "
                    f"{here.stage_step + column + 1} of stage {stage.name} (step {here.step + column + 1} of "
                    f"the run, seed {self.seeds[row]}). The last good checkpoint is kept. Lower the learning "
                    "rate or beta, or look at the scale of rewards and observations."
                )

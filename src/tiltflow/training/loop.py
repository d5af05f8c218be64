"""The training loop of one group of seeds: chunks of compiled steps, and what happens at their edges.

Everything that a chunk computes is a function of the state, the data and keys folded from (seed, stage,
step), so that a resumed run takes the same steps as an uninterrupted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from tiltflow.accelerators import step_unroll
from tiltflow.agents.base import Numbers, Stage
from tiltflow.optimize import Buffer, Columns, Update, run_steps
from tiltflow.processes.stopping import StopFlag
from tiltflow.training.devices import Devices
from tiltflow.training.divergence import batch_text
from tiltflow.training.finite import Finite
from tiltflow.training.policy import STAGE, RunState, device_numbers, seed_keys
from tiltflow.training.precompute import drawn_rows, precompute_columns
from tiltflow.training.progress import Observe
from tiltflow.training.rows import DataRows
from tiltflow.training.schedule import Position, Schedule
from tiltflow.training.time_spent import TimeSpent
from tiltflow.training.used_columns import used_columns, with_blanks

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
    devices: Devices = None  # type: ignore[assignment]
    """Those that JAX chooses by itself, by default."""
    numbers: Numbers | None = None
    """Those of each seed, [seeds], where they differ; otherwise those of the stages."""
    precomputed: dict[str, Array] = field(default_factory=dict)
    precomputed_for: tuple[int, int] | None = None
    finite: Finite = field(init=False)
    _programs: dict[tuple[str, int], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.devices = self.devices or Devices(len(self.seeds) > 1)
        self.finite = Finite(self.seeds, self.observe)

    def run_chunk(self, here: Position, length: int) -> dict[str, np.ndarray]:
        """Run one chunk; returns each metric as [seeds, steps].

        Raises TrainingDiverged or, while columns are precomputed, Interrupted: the state then stays as it was
        at the edge.
        """
        stage = self.schedule.stages[here.stage]
        agent_state = self.devices.state(self.state.agent)
        with self.spent.on("refresh"):
            if self.schedule.refreshes(here):
                agent_state = self.refresh(stage, here)
            buffer = self._extended(stage, here, agent_state)
            self._precompute(stage, here, agent_state)
        key = self._stage_keys(here.stage, 0)
        longest = self.schedule.longest_chunk(here.stage)
        room = self.rows.steps_at_once(longest, stage.batch_size * len(self.seeds))
        used, update_of = self._batches_of(here.stage)
        run = self._once(f"{room} steps", here.stage, lambda: self._steps(here.stage, update_of, room))
        end, parts = here.stage_step + length, []
        for first in range(here.stage_step, end, room):
            steps = min(room, end - first)
            agent_state, metrics = run(
                agent_state,
                self.rows.resident,
                self.devices.batches(self.rows.batches(key, first, room, stage.batch_size, buffer, used)),
                self.precomputed,
                buffer,
                key,
                jnp.int32(first),
                jnp.int32(steps),
            )
            values = {name: np.asarray(v).reshape(len(self.seeds), room) for name, v in metrics.items()}
            parts.append({name: of_steps[:, :steps] for name, of_steps in values.items()})
        values = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
        self.finite.check(values, stage, here, partial(self._batch_text, stage, here))
        self.state = self.state._replace(agent=agent_state, buffer=buffer)
        return values

    def _extended(self, stage: Stage, here: Position, agent_state: Any) -> Buffer | None:
        """The rows added so far, with those that the chunk which begins here begins with."""
        buffer = self.devices.state(self.state.buffer)
        if stage.extend is None or buffer is None:
            return buffer

        def extend(stage: Stage) -> Callable:
            assert stage.extend is not None
            rows_of = stage.extend
            return lambda state, buffer, key: buffer.add(rows_of(state, key))

        compiled = self._once("extend", here.stage, lambda: self._compiled(here.stage, extend, (0, 0, 0)))
        return compiled(agent_state, buffer, self._stage_keys(here.stage, 3, here.stage_step))

    def _stage_keys(self, stage: int, *path: int) -> PRNGKeyArray:
        keys = seed_keys(self.seeds, STAGE)
        for number in (stage, *path):
            keys = jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys)
        return self.devices.state(keys if len(self.seeds) > 1 else keys[0])

    def _compiled(
        self, index: int, function_of: Callable[[Stage], Callable], axes: tuple[int | None, ...]
    ) -> Callable:
        """A function of a stage, compiled for all values of its numbers; axes as for `Devices.compiled`."""
        stage, own = self.schedule.stages[index], self.numbers

        def function(*arguments: Any) -> Any:
            return function_of(stage.at(arguments[-1]))(*arguments[:-1])

        compiled = self.devices.compiled(function, (*axes, None if own is None else 0))
        place = self.devices.rows if own is None else self.devices.state
        numbers = place(device_numbers(stage.numbers if own is None else own))
        return lambda *arguments: compiled(*arguments, numbers)

    def _batches_of(self, index: int) -> tuple[frozenset[str] | None, Callable[[Stage], Update]]:
        """The columns that are to be gathered for a stage, and its update of batches of them.

        None where all are on the device.
        """

        def find() -> tuple[frozenset[str], Callable[[Stage], Update]]:
            stage = self.schedule.stages[index]
            state = jax.eval_shape(self._of_first_seed, self.state.agent)
            rows = self.rows.take(np.zeros(stage.batch_size, int))
            used = used_columns(stage, state, rows)
            return used, lambda stage: with_blanks(stage.update, rows, used)

        if self.rows.resident:
            return None, lambda stage: stage.update
        return self._once("batches", index, find)

    def _of_first_seed(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], tree) if len(self.seeds) > 1 else tree

    def _steps(self, index: int, update_of: Callable[[Stage], Update], room: int) -> Callable:
        """Up to `room` compiled steps. Their input is not donated: it stays where they diverge."""
        part = math.gcd(self.schedule.common_part(index), room)

        def chunk_of(stage: Stage) -> Callable:
            of_batch = update_of(stage)

            def update(state: Any, batch: Columns, key: PRNGKeyArray) -> Any:
                return of_batch(state, self.devices.batch(batch), key)

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
                    update,
                    state,
                    {**columns, **precomputed},
                    key,
                    first,
                    num_steps=length,
                    batch_size=stage.batch_size,
                    room=room,
                    part=part,
                    unroll=step_unroll(stage.unroll, len(self.seeds)),
                    rows=self.rows.count,
                    gathered=gathered,
                    buffer=buffer,
                )

            return chunk

        return self._compiled(index, chunk_of, (0, None, 0, 0, 0, 0, None, None))

    def refresh(self, stage: Stage, here: Position) -> Any:
        """The agent's state after the refresh with which the chunk that begins here begins."""
        key = self._stage_keys(here.stage, 1, self.schedule.refresh_number(here))
        numbers = np.random.default_rng(0).integers(0, self.rows.count, SAMPLE_ROWS)
        sample = self.devices.rows(self.rows.take(numbers))
        refresh = self._once(
            "refresh", here.stage, lambda: self._compiled(here.stage, lambda s: s.refresh, (0, None, 0))
        )
        return refresh(self.devices.state(self.state.agent), sample, key)

    def _precompute(self, stage: Stage, here: Position, agent_state: Any) -> None:
        """The columns that follow from the state at the last refresh, unless they are there already."""
        wanted = (here.stage, self.schedule.refresh_number(here))
        if self.precomputed_for == wanted:
            return
        self.precomputed_for, self.precomputed = None, self.rows.hold(np.empty(0, int), (), 0)
        if stage.precompute is None:
            return
        precompute = self._once(
            "precompute",
            here.stage,
            lambda: self._compiled(here.stage, lambda s: s.precompute, (0, None, 0)),  # type: ignore
        )
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

    def _once(self, what: str, index: int, make: Callable[[], Any]) -> Any:
        if (what, index) not in self._programs:
            self._programs[what, index] = make()
        return self._programs[what, index]

    def _activity(self, text: str, fraction: float) -> None:
        self.observe({"event": "activity", "seeds": self.seeds, "text": text, "fraction": fraction})

    def _batch_text(self, stage: Stage, here: Position, seed: int, step: int) -> str:
        """What was in a seed's batch of a step of the chunk; empty where rows are added to the data."""
        if self.state.buffer is not None:
            return ""
        keys = self._stage_keys(here.stage, 0)
        return batch_text(self.rows, keys, seed, here.stage_step + step, stage.batch_size) + " "

"""The training loop of one group of seeds: chunks of compiled steps, and what happens at their edges.

Everything that a chunk computes is a function of the state, the data and keys folded from (seed, stage,
step), so that a resumed run takes the same steps as an uninterrupted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from tiltflow.accelerators import step_unroll
from tiltflow.agents.base import Stage
from tiltflow.errors import TrainingDiverged
from tiltflow.optimize import Buffer, Columns, Update, run_steps
from tiltflow.processes.stopping import StopFlag
from tiltflow.training.devices import Devices
from tiltflow.training.divergence import batch_text
from tiltflow.training.policy import STAGE, RunState, seed_keys
from tiltflow.training.precompute import drawn_rows, precompute_columns
from tiltflow.training.progress import Observe
from tiltflow.training.rows import DataRows
from tiltflow.training.schedule import Position, Schedule
from tiltflow.training.time_spent import TimeSpent
from tiltflow.training.used_columns import used_columns, with_blanks

SAMPLE_ROWS = 2048
_EXPLODED = 1e6


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
    precomputed: dict[str, Array] = field(default_factory=dict)
    precomputed_for: tuple[int, int] | None = None
    _compiled: dict[tuple[str, int], Any] = field(default_factory=dict)
    _first: dict[tuple[str, str], float] = field(default_factory=dict)
    """What each loss of a stage was at first, 1 at least."""

    def __post_init__(self) -> None:
        self.devices = self.devices or Devices(len(self.seeds) > 1)

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
        used, update = self._batches_of(here.stage)
        run = self._once(f"{room} steps", here.stage, lambda: self._steps(here.stage, update, room))
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
        self._check(values, stage, here)
        self._warn_of_explosion(values, stage, here)
        self.state = self.state._replace(agent=agent_state, buffer=buffer)
        return values

    def _extended(self, stage: Stage, here: Position, agent_state: Any) -> Buffer | None:
        """The rows added so far, with those that the chunk which begins here begins with."""
        rows_of, buffer = stage.extend, self.devices.state(self.state.buffer)
        if rows_of is None or buffer is None:
            return buffer

        def extend(state: Any, buffer: Buffer, key: PRNGKeyArray) -> Buffer:
            return buffer.add(rows_of(state, key))

        compiled = self._once("extend", here.stage, lambda: self.devices.compiled(extend, (0, 0, 0)))
        return compiled(agent_state, buffer, self._stage_keys(here.stage, 3, here.stage_step))

    def _stage_keys(self, stage: int, *path: int) -> PRNGKeyArray:
        keys = seed_keys(self.seeds, STAGE)
        for number in (stage, *path):
            keys = jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys)
        return self.devices.state(keys if len(self.seeds) > 1 else keys[0])

    def _batches_of(self, index: int) -> tuple[frozenset[str] | None, Update]:
        """The columns that are to be gathered for a stage, and its update of batches of them.

        None where all are on the device.
        """
        stage = self.schedule.stages[index]

        def find() -> tuple[frozenset[str], Update]:
            state = jax.eval_shape(self._of_first_seed, self.state.agent)
            rows = self.rows.take(np.zeros(stage.batch_size, int))
            used = used_columns(stage, state, rows)
            return used, with_blanks(stage.update, rows, used)

        return (None, stage.update) if self.rows.resident else self._once("batches", index, find)

    def _of_first_seed(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], tree) if len(self.seeds) > 1 else tree

    def _steps(self, index: int, of_batch: Update, room: int) -> Callable:
        """Up to `room` compiled steps. Their input is not donated: it stays where they diverge."""
        stage, part = self.schedule.stages[index], math.gcd(self.schedule.common_part(index), room)

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

        return self.devices.compiled(chunk, (0, None, 0, 0, 0, 0, None, None))

    def refresh(self, stage: Stage, here: Position) -> Any:
        """The agent's state after the refresh with which the chunk that begins here begins."""
        key = self._stage_keys(here.stage, 1, self.schedule.refresh_number(here))
        numbers = np.random.default_rng(0).integers(0, self.rows.count, SAMPLE_ROWS)
        sample = self.devices.rows(self.rows.take(numbers))
        refresh = self._once(
            "refresh", here.stage, lambda: self.devices.compiled(stage.refresh, (0, None, 0))
        )
        return refresh(self.devices.state(self.state.agent), sample, key)

    def _precompute(self, stage: Stage, here: Position, agent_state: Any) -> None:
        """The columns that follow from the state at the last refresh, unless they are there already."""
        wanted = (here.stage, self.schedule.refresh_number(here))
        if self.precomputed_for == wanted:
            return
        self.precomputed_for, self.precomputed = None, self.rows.hold(np.empty(0, int), (), 0)
        function = stage.precompute
        if function is None:
            return
        precompute = self._once(
            "precompute", here.stage, lambda: self.devices.compiled(function, (0, None, 0))
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
        if (what, index) not in self._compiled:
            self._compiled[what, index] = make()
        return self._compiled[what, index]

    def _activity(self, text: str, fraction: float) -> None:
        self.observe({"event": "activity", "seeds": self.seeds, "text": text, "fraction": fraction})

    def _warn_of_explosion(self, values: dict[str, np.ndarray], stage: Stage, here: Position) -> None:
        """Say once that a loss or value has grown beyond all measure since the stage was begun or resumed."""
        for name, metric in values.items():
            if "loss" not in name and not name.startswith(("q_", "target")):
                continue
            sizes, key = np.abs(metric[:, -1]), (stage.name, name)
            now, seed = float(sizes.max()), int(sizes.argmax())
            first = self._first.setdefault(key, max(1.0, float(np.abs(metric[:, 0]).max())))
            if now > _EXPLODED * first:
                self._first[key] = np.inf
                text = (
                    f"{name} is {now:.3g} at step {here.stage_step + metric.shape[1]} of stage {stage.name}, "
                    f"where it was {first:.3g}: it explodes, though it is finite. "
                    f"{self._batch_text(stage, here, seed, metric.shape[1] - 1)}Lower the learning rate or "
                    "beta, or look at the scale of rewards and observations."
                )
                self.observe({"event": "message", "level": "warning", "text": text})

    def _check(self, values: dict[str, np.ndarray], stage: Stage, here: Position) -> None:
        for name, metric in values.items():
            wrong = np.argwhere(~np.isfinite(metric))
            if len(wrong):
                row, column = wrong[wrong[:, 1].argmin()]
                raise TrainingDiverged(
                    f"Training diverged: {name} became {metric[row, column]} at step "
                    f"{here.stage_step + column + 1} of stage {stage.name} (step {here.step + column + 1} of "
                    f"the run, seed {self.seeds[row]}). {self._batch_text(stage, here, row, column)}The last "
                    "good checkpoint is kept. Lower the learning rate or beta, or look at the scale of "
                    "rewards and observations."
                )

    def _batch_text(self, stage: Stage, here: Position, seed: int, step: int) -> str:
        """What was in a seed's batch of a step of the chunk; empty where rows are added to the data."""
        if self.state.buffer is not None:
            return ""
        keys = self._stage_keys(here.stage, 0)
        return batch_text(self.rows, keys, seed, here.stage_step + step, stage.batch_size) + " "

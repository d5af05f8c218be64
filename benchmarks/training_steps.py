"""Gradient steps a second of every stage of every agent, on random data of cube-single's sizes.

The work of a step is that of its matrix products. The share is of a chain of products of the shape on which
most of it is spent, with as many networks side by side. The reference is the same update, compiled,
and called once a step from Python. Stages that are compiled to the same program are measured once.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks.measuring import (
    Measured,
    Products,
    block,
    costliest,
    measured,
    product_rate,
    products_of,
    seconds_of,
)

from tiltflow.accelerators import step_options, step_unroll
from tiltflow.agents.base import Agent, Stage
from tiltflow.agents.registry import build_agent, preset
from tiltflow.data.transitions import Spec
from tiltflow.optimize import run_steps
from tiltflow.training.policy import device_numbers

SPEC = Spec(28, 5)
TASK = "ogbench/cube-single-play-singletask-v0"
BATCH = 256

STAGES = {
    "qipo-ot": ("behaviour", "critic", "improvement"),
    "fql": ("actor-critic",),
    "qgpo": ("critic", "energy"),
    "flowq": ("guidance",),
    "iql": ("actor-critic",),
    "ifql": ("actor-critic",),
    "td3-bc": ("actor-critic",),
    "rebrac": ("actor-critic",),
    "flow-ql": ("actor-critic",),
    "diffusion-ql": ("actor-critic",),
}
"""Those with a program of their own. bc-flow and bc-diffusion are qipo-ot's behaviour stage; qipo-diff has
the stages of qipo-ot, idql that of ifql, and the first ones of qgpo and flowq are qipo-ot's: the same
products on another path."""


def sized(config: Any, width: int, depth: int) -> Any:
    """The settings with networks of these sizes."""
    for name in ("flow", "critic", "actor"):
        if hasattr(config, name):
            part = getattr(config, name)
            part = replace(part, network=replace(part.network, width=width, depth=depth))
            config = replace(config, **{name: part})
    if hasattr(config, "energy"):
        config = replace(config, energy=replace(config.energy, width=width, depth=depth))
    return config


@dataclass(frozen=True)
class Case:
    """A stage of an agent, with networks of a size, for so many seeds at once."""

    algorithm: str
    stage_name: str
    width: int
    depth: int
    seeds: int
    rows: int
    steps: int
    """Gradient steps of one timed call."""

    @property
    def name(self) -> str:
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        return f"step: {self.algorithm} {self.stage_name}, {self.width}x{self.depth}, {seeds}"

    @cached_property
    def agent(self) -> Agent:
        config = sized(preset(self.algorithm, TASK), self.width, self.depth)
        return build_agent(self.algorithm, config, SPEC, 1000)

    @cached_property
    def stage(self) -> Stage:
        return next(stage for stage in self.agent.stages if stage.name == self.stage_name)

    def lift(self, function: Callable, *axes: int | None) -> Callable:
        return jax.vmap(function, in_axes=axes) if self.seeds > 1 else function

    def begin(self) -> tuple[Any, dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
        """State, columns of all seeds, precomputed columns of each, keys."""
        one = jax.random.key(0)
        keys = jax.random.split(one, self.seeds) if self.seeds > 1 else one
        state = self.lift(self.agent.init, 0)(keys)
        if hasattr(state, "refreshes"):
            state = state._replace(refreshes=state.refreshes + 1)
        columns = {
            name: jax.random.uniform(jax.random.fold_in(one, i), (self.rows, *size), minval=-1.0)
            for i, (name, size) in enumerate(_COLUMNS.items())
        }
        columns["terminations"] = jnp.zeros(self.rows)
        extra = {}
        if self.stage.precompute is not None:
            own = jax.eval_shape(self.agent.init, one)
            sizes = jax.eval_shape(self.stage.precompute, own, columns, one)
            lead = (self.seeds,) if self.seeds > 1 else ()
            extra = {
                name: jax.random.uniform(jax.random.fold_in(one, i), (*lead, *size.shape), minval=-1.0)
                for i, (name, size) in enumerate(sizes.items(), 99)
            }
        return state, columns, extra, keys

    def numbers(self) -> dict[str, jax.Array]:
        return device_numbers(self.stage.numbers)

    def chunk(self, state: Any, columns: Any, extra: Any, key: jax.Array, numbers: Any) -> Any:
        batch = self.stage.batch_size
        unroll = step_unroll(self.stage.unroll, self.seeds)
        steps = {"num_steps": self.steps, "batch_size": batch, "unroll": unroll}
        update = self.stage.at(numbers).update
        return run_steps(update, state, {**columns, **extra}, key, jnp.int32(0), **steps)

    def compile(self, *, referenced: bool) -> "Compiled":
        """The compiled chunk and what is called beside it."""
        begin = time.perf_counter()
        sizes, numbers = jax.eval_shape(self.begin), self.numbers()
        chunk = jax.jit(self.lift(self.chunk, 0, None, 0, 0, None), compiler_options=step_options())
        program = chunk.lower(*sizes, numbers).compile()
        seconds = time.perf_counter() - begin
        one = jax.jit(self.lift(self.one_step, 0, None, 0, 0, None)).lower(*sizes, jnp.int32(0))
        return Compiled(
            lambda *arguments: program(*arguments, numbers),
            seconds,
            jax.jit(self.begin).lower().compile(),
            one.compile() if referenced else None,
        )

    def products(self) -> Products:
        """Of one step of one seed."""
        state, columns, extra, key = jax.eval_shape(replace(self, seeds=1).begin)
        batch = self.stage.batch_size
        rows = {
            name: jax.ShapeDtypeStruct((batch, *column.shape[1:]), column.dtype)
            for name, column in {**columns, **extra}.items()
        }
        return products_of(self.stage.update, state, rows, key)

    def one_step(self, state: Any, columns: Any, extra: Any, key: jax.Array, number: jax.Array) -> Any:
        run = {"num_steps": 1, "batch_size": self.stage.batch_size}
        return run_steps(self.stage.update, state, {**columns, **extra}, key, number, **run)


class Compiled(NamedTuple):
    """The programs of a case."""

    run: Callable
    seconds: float
    """Of tracing and compiling `run`."""
    begin: Callable
    one_step: Callable | None


_COLUMNS = {
    "observations": (28,),
    "next_observations": (28,),
    "actions": (5,),
    "rewards": (),
    "following_actions": (5,),
    "followed": (),
}


def cases(
    algorithms: list[str], sizes: list[tuple[int, int]], seeds: list[int], rows: int, steps: int
) -> list[Case]:
    """All that is to be measured, the first sizes and seeds first."""
    return [
        Case(algorithm, stage, width, depth, count, rows, steps)
        for width, depth in sizes
        for count in seeds
        for algorithm in algorithms
        for stage in STAGES[algorithm]
    ]


def training_steps(wanted: list[Case], *, referenced: bool, until: float) -> Iterator[Measured]:
    """Rate and compilation of each case. Cases that have not begun at the clock's time `until` are left out.

    On an accelerator several are compiled beside each other, then timed one after the other.
    """
    cpu = jax.default_backend() == "cpu"
    together = 1 if cpu else os.cpu_count() or 1
    limits: dict[tuple[int, int, int], float] = {}
    for first in range(0, len(wanted), together):
        if time.monotonic() > until:
            left = ", ".join(case.name.removeprefix("step: ") for case in wanted[first:])
            print(f"no time for: {left}", flush=True)
            return
        group = wanted[first : first + together]
        with ThreadPoolExecutor(together) as pool:
            compiled = list(pool.map(lambda case: case.compile(referenced=referenced), group))
        for case, programs in zip(group, compiled, strict=True):
            yield _of_case(case, programs, limits)
            if cpu:
                name = case.name.replace("step:", "compile:")
                yield Measured(name, programs.seconds, "s", programs.seconds, programs.seconds)


def _of_case(case: Case, programs: Compiled, limits: dict[tuple[int, int, int], float]) -> Measured:
    state, columns, extra, keys = programs.begin()
    products = case.products()
    side_by_side, rows = costliest(products, case.width)
    shape = (case.seeds * side_by_side, rows, case.width)
    if jax.default_backend() == "cpu" or shape not in limits:
        limits[shape] = product_rate(*shape)
    seconds = seconds_of(lambda: block(programs.run(state, columns, extra, keys)))
    if jax.default_backend() == "cpu":  # the clock of a core moves: the limit is the best of before and after
        limits[shape] = max(limits[shape], product_rate(*shape))
    line = measured(case.name, seconds, case.seeds * case.steps, "seed-steps/s")
    line.share = line.value * products.total() / limits[shape]
    line.note = f"{limits[shape] / 1e9:.0f} GFLOP/s: {'x'.join(map(str, shape))}x{case.width}"
    if (one_step := programs.one_step) is not None:

        def by_python() -> None:
            now = state
            for number in range(case.steps):
                now, _ = one_step(now, columns, extra, keys, jnp.int32(number))
            block(now)

        line.ratio = statistics.median(seconds_of(by_python)) / statistics.median(seconds)
        line.reference = "a call a step"
    return line

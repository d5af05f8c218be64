"""Times of calls, the limit of the machine measured beside them, and the record of one measurement."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp

REPEATS = 5
"""A median is of so many calls, after one that compiles."""


@dataclass
class Measured:
    """One line of the table."""

    name: str
    value: float
    unit: str
    low: float
    """The worst and the best of the repeats."""
    high: float
    share: float | None = None
    """Of the limit: products of the same shapes in the same run."""
    ratio: float | None = None
    """To the reference in the same run; above 1 this is better."""
    reference: str = ""
    note: str = ""

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def seconds_of(call: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """Sorted seconds of so many calls, after one. CPU seconds where JAX computes on a CPU: other work on the
    machine then disturbs little. Each call has to wait for its result."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    call()
    taken = []
    for _ in range(repeats):
        begin = clock()
        call()
        taken.append(clock() - begin)
    return sorted(taken)


def wall_seconds_of(call: Callable[[], Any], repeats: int) -> list[float]:
    """Sorted wall seconds of so many calls, after one."""
    call()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return sorted(taken)


def measured(name: str, seconds: list[float], amount: float, unit: str, **more: Any) -> Measured:
    """So much of something in each of those times; in `unit` per second, or a time where `unit` is one."""
    if unit.endswith("/s"):
        low, high = amount / seconds[-1], amount / seconds[0]
        return Measured(name, amount / statistics.median(seconds), unit, low, high, **more)
    return Measured(
        name, amount * statistics.median(seconds), unit, amount * seconds[0], amount * seconds[-1], **more
    )


def product_rate(batch: int, rows: int, width: int, steps: int = 1000) -> float:
    """FLOP/s of a chain of dependent products [batch, rows, width]·[batch, width, width] in one program.

    On an accelerator ten stand in each turn of the loop, whose own time is no product's.
    """
    key = jax.random.key(0)
    x = jax.random.normal(key, (batch, rows, width))
    kernel = jax.random.normal(key, (batch, width, width)) / width**0.5
    unroll = 1 if jax.default_backend() == "cpu" else 10

    @jax.jit
    def chain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (c @ kernel, None), x, None, length=steps, unroll=unroll)[0]

    seconds = seconds_of(lambda: jax.block_until_ready(chain(x, kernel)))
    return steps * 2 * batch * rows * width**2 / statistics.median(seconds)


def product_flop(function: Callable, *arguments: Any) -> float:
    """FLOP of all matrix products in a call of `function`, loops counted in full, branches by their mean."""
    return _flop(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flop(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() for p in (p if isinstance(p, tuple | list) else (p,))]
        parts = [_flop(getattr(p, "jaxpr", p)) for p in inner if hasattr(getattr(p, "jaxpr", p), "eqns")]
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                left = equation.invars[0].aval.shape
                total += 2 * equation.outvars[0].aval.size * _product(left[i] for i in contracted)
            case "scan":
                total += equation.params["length"] * sum(parts)
            case "cond":
                total += sum(parts) / len(parts)
            case "custom_jvp_call" | "custom_vjp_call":
                total += parts[0]
            case _:
                total += sum(parts)
    return total


def _product(sizes: Any) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def block(value: Any) -> Any:
    """The value, once it is there."""
    return jax.block_until_ready(value)


def uniform(key: int, *shape: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(key), shape, minval=-1.0)


def float_shape(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)

"""Times of calls, the limit of the machine measured beside them, and the record of one measurement."""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax

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


Products = Counter[tuple[int, int, int, int]]
"""FLOP by the shape of a product: how many side by side, rows, entries summed over, columns."""


def products_of(function: Callable, *arguments: Any) -> Products:
    """All matrix products in a call of `function`, loops counted in full, branches by their mean."""
    return _products(jax.make_jaxpr(function)(*arguments).jaxpr)


def costliest(products: Products, width: int) -> tuple[int, int]:
    """How many side by side, and rows, of the product of hidden layers on which most FLOP are spent."""
    hidden = {shape: flop for shape, flop in products.items() if shape[2:] == (width, width)}
    return max(hidden, key=hidden.__getitem__)[:2] if hidden else (1, 256)


def _products(jaxpr: Any) -> Products:
    total: Products = Counter()
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() for p in (p if isinstance(p, tuple | list) else (p,))]
        parts = [_products(getattr(p, "jaxpr", p)) for p in inner if hasattr(getattr(p, "jaxpr", p), "eqns")]
        times = 1.0
        match equation.primitive.name:
            case "dot_general":
                (summed, _), (side_by_side, _) = equation.params["dimension_numbers"]
                left, result = equation.invars[0].aval.shape, equation.outvars[0].aval.size
                batch, length = (math.prod(left[i] for i in axes) for axes in (side_by_side, summed))
                rows = math.prod(left) // (batch * length)
                total[batch, rows, length, result // (batch * rows)] += 2 * result * length
            case "scan":
                times = equation.params["length"]
            case "cond":
                times = 1 / len(parts)
            case "custom_jvp_call" | "custom_vjp_call":
                parts = parts[:1]
        for part in parts:
            for shape, flop in part.items():
                total[shape] += times * flop
    return total


def block(value: Any) -> Any:
    """The value, once it is there."""
    return jax.block_until_ready(value)

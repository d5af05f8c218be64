"""What is compiled otherwise for an accelerator than for a CPU, so that small kernels run side by side."""

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax._src import xla_bridge
from jaxtyping import Array, Float

from tiltflow.errors import UserError
from tiltflow.settings import Precision

_ROLLED_FROM = 16
_CACHED_ROWS = 1024
"""Activations of so many rows stay in the cache of a CPU's core."""
_PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""What JAX calls the precisions of matrix products."""
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def compute_deterministically() -> None:
    """Have XLA take, on a GPU, only operations that give the same bits each time; on a CPU all do.

    Raises UserError where JAX computes on an accelerator already: it asks for flags once.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _DETERMINISTIC in flags.split():
        return
    if xla_bridge.backends_are_initialized() and on_accelerator():
        raise UserError(
            "deterministic = True comes too late: JAX computes already. Set the environment variable "
            f"XLA_FLAGS={_DETERMINISTIC} before Python starts, or train from the command line."
        )
    os.environ["XLA_FLAGS"] = f"{flags} {_DETERMINISTIC}".strip()


def on_accelerator() -> bool:
    """Whether JAX computes on anything but a CPU."""
    return jax.default_backend() != "cpu"


def solver_unroll() -> int:
    """Steps of a solver that are compiled as one piece: one turn of a loop does not fill a GPU."""
    return _ROLLED_FROM if on_accelerator() else 1


def step_unroll(wanted: int, seeds: int) -> int:
    """Gradient steps that are compiled as one piece: what a stage wants, for several seeds on an accelerator.

    Those of one seed gain nothing.
    """
    return wanted if on_accelerator() and seeds > 1 else 1


def step_options() -> dict[str, str] | None:
    """Options with which gradient steps are compiled: on a GPU, kernels that do not need each other overlap.

    By default XLA puts the kernels of a step into one CUDA graph, but one after the other. A step of small
    networks has many that are independent, such as the gradients of one layer, and each leaves most of the
    GPU idle. The kernels, and so the results, stay the same.
    """
    return (
        {"xla_gpu_command_buffer_scheduling_mode": "CONCURRENT"} if jax.default_backend() == "gpu" else None
    )


def products_in(precision: Precision) -> AbstractContextManager:
    """Matrix products that are traced meanwhile have that precision on a GPU; a CPU takes float32 for all."""
    return nullcontext() if precision == "auto" else jax.default_matmul_precision(_PRODUCTS[precision])


def in_slices(function: Callable[..., Any], first: Float[Array, "n *more d"], *others: Any) -> Any:
    """`function(first, *others)`, whose rows must not interact; `others` have `first`'s leading axis n.

    A CPU computes many rows slice by slice, with what lies between in its cache: the products of a wide
    network take two thirds of the time; a result may differ in its last place. Where n has no fitting
    divisor, or is not known (an exported program is of any), all at once.
    """
    rows, each = first.shape[0], math.prod(first.shape[1:-1])
    if on_accelerator() or not isinstance(rows, int) or rows * each <= _CACHED_ROWS:
        return function(first, *others)
    size = max(n for n in range(1, max(_CACHED_ROWS // each, 1) + 1) if rows % n == 0)
    if size * each < _CACHED_ROWS // 8:
        return function(first, *others)
    slices = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), (first, *others))
    results = jax.lax.map(lambda part: function(*part), slices)
    return jax.tree.map(lambda leaf: leaf.reshape(rows, *leaf.shape[2:]), results)

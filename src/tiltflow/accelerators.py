"""What is compiled otherwise for an accelerator than for a CPU, so that small kernels run side by side."""

from contextlib import AbstractContextManager, nullcontext

import jax

from tiltflow.settings import Precision

_ROLLED_FROM = 16
_PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""What JAX calls the precisions of matrix products."""


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

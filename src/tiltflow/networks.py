"""Multilayer perceptrons with explicit initialisers, as pytrees whose leaves are arrays alone."""

import math
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.settings import Activation, LayerNorm

ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "gelu": jax.nn.gelu, "mish": jax.nn.mish}
SMALL_OUTPUT = 32
TIME_FEATURES = 16


@jax.custom_jvp
def dense(x: Float[Array, "n i"], kernel: Float[Array, "i o"]) -> Float[Array, "n o"]:
    """x @ kernel, with a weight gradient that XLA's CPU matmul runs at full speed.

    The gradient of the kernel, xᵀ·g, is the slow product of a small network on a CPU: its transposed
    operand is re-read column by column, and for few outputs the product runs at 2 % of the peak. The
    transpose is therefore materialised first (an optimisation barrier keeps XLA from folding it back):
    xᵀ, or gᵀ where there are at most `SMALL_OUTPUT` outputs. Differentiable in both modes, to any order.
    """
    return x @ kernel


def _dense_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """ẋ·kernel + x·kernel̇. The second term is written so that JAX's transpose of it is the fast product."""
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    terms = []
    # A product with zeros would be computed: XLA does not know that 0·x is 0.
    if not isinstance(x_dot, SymbolicZero):
        terms.append(x_dot @ kernel)
    if not isinstance(kernel_dot, SymbolicZero):
        if kernel.shape[-1] <= SMALL_OUTPUT:
            terms.append(jax.lax.optimization_barrier(kernel_dot.T @ x.T).T)
        else:
            terms.append(jax.lax.optimization_barrier(x.T).T @ kernel_dot)
    return dense(x, kernel), reduce(jnp.add, terms)


dense.defjvp(_dense_jvp, symbolic_zeros=True)


def glorot_uniform(key: PRNGKeyArray, inputs: int, outputs: int) -> Float[Array, "i o"]:
    """Uniform kernel of variance 2 / (inputs + outputs)."""
    limit = math.sqrt(6.0 / (inputs + outputs))
    return jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit)


class MLP(eqx.Module):
    """Hidden layers of equal width, each: product, bias, activation, and layer normalisation where wanted.

    The normalisation stands before the activation or behind it; public implementations have either.

    Kernels start Glorot-uniform (the last one times `output_scale`) and biases at zero, as in the public
    JAX implementations of offline RL; neither paper gives its initialiser.
    """

    kernels: tuple[Float[Array, "i o"], ...]
    biases: tuple[Float[Array, " o"], ...]
    scales: tuple[Float[Array, " o"], ...]
    shifts: tuple[Float[Array, " o"], ...]
    activation: Activation = eqx.field(static=True)
    layer_norm: LayerNorm = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        activation: Activation = "silu",
        layer_norm: LayerNorm = "none",
        output_scale: float = 1.0,
    ):
        sizes = [inputs, *[width] * depth, outputs]
        keys = jax.random.split(key, depth + 1)
        kernels = [glorot_uniform(k, i, o) for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)]
        self.kernels = (*kernels[:-1], kernels[-1] * output_scale)
        self.biases = tuple(jnp.zeros(o) for o in sizes[1:])
        normalised = depth if layer_norm != "none" else 0
        self.scales = tuple(jnp.ones(width) for _ in range(normalised))
        self.shifts = tuple(jnp.zeros(width) for _ in range(normalised))
        self.activation, self.layer_norm = activation, layer_norm

    def __call__(self, x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
        """Apply to any number of leading axes."""
        activate = ACTIVATIONS[self.activation]
        batch = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        for layer in range(len(self.kernels) - 1):
            x = dense(x, self.kernels[layer]) + self.biases[layer][None]
            x = activate(x) if self.layer_norm != "before" else x
            if self.layer_norm != "none":
                x = _normalise(x) * self.scales[layer][None] + self.shifts[layer][None]
            x = activate(x) if self.layer_norm == "before" else x
        x = dense(x, self.kernels[-1]) + self.biases[-1][None]
        return x.reshape(*batch, x.shape[-1])


def _normalise(x: Float[Array, "n o"]) -> Float[Array, "n o"]:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6)


def time_features(t: Float[Array, "*batch"], count: int = TIME_FEATURES) -> Float[Array, "*batch c"]:
    """t and cos(πkt) for k = 1 … count − 1: a cosine series, complete on [0, 1] and not periodic there."""
    rates = jnp.pi * jnp.arange(1, count, dtype=t.dtype)
    waves = jnp.cos(jnp.expand_dims(rates, tuple(range(t.ndim))) * t[..., None])
    return jnp.concatenate([t[..., None], waves], axis=-1)


class TimeNetwork(eqx.Module):
    """f(x, t, condition): an MLP on a point, its time's features and a condition; d outputs by default."""

    mlp: MLP
    features: int = eqx.field(static=True)
    """How many numbers tell the time (`time_features`)."""

    def __init__(
        self,
        key: PRNGKeyArray,
        size: int,
        condition_size: int,
        *,
        outputs: int | None = None,
        features: int = TIME_FEATURES,
        **mlp_options,
    ):
        self.features = features
        inputs = size + condition_size + features
        self.mlp = MLP(key, inputs, size if outputs is None else outputs, **mlp_options)

    def __call__(
        self,
        x: Float[Array, "*batch d"],
        t: Float[Array, "*batch"],
        condition: Float[Array, "*batch c"] | None = None,
    ) -> Float[Array, "*batch outputs"]:
        parts = [x, time_features(t, self.features)] + ([] if condition is None else [condition])
        return self.mlp(jnp.concatenate(parts, axis=-1))

"""Energies to weights: self-normalised exp(−βE), their effective sample size, and the choice of β."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Energies = Float[Array, "*batch n"]


def tilt_weights(energy: Energies, beta: float | Array) -> Energies:
    """w_i = n·exp(−βE_i) / Σ_j exp(−βE_j) over the last axis: mean 1, never overflowing.

    β = 0 gives ones whatever the energies; an energy of +∞ has weight 0, and where every energy is +∞ the
    weights are ones. An energy that is not a number gives weights that are not, rather than hide.
    """
    floor = jnp.min(energy, axis=-1, keepdims=True)
    above = jnp.where(jnp.isposinf(floor), 0.0, energy - floor)
    logits = jnp.where(jnp.asarray(beta) == 0, 0.0, -jnp.asarray(beta) * above)
    return jax.nn.softmax(logits, axis=-1) * energy.shape[-1]


def effective_sample_size(weights: Energies) -> Float[Array, "*batch"]:
    """(Σw)² / Σw² over the last axis: between 1 and n (Kish), whatever their scale; 0 where all are 0."""
    largest = jnp.max(weights, axis=-1, keepdims=True)
    weights = weights / jnp.where(largest == 0, 1.0, largest)  # squares of tiny weights would vanish
    squares = jnp.sum(weights**2, axis=-1)
    return jnp.sum(weights, axis=-1) ** 2 / jnp.where(squares == 0, 1.0, squares)


def log_mean_loss(x: Float[Array, "*batch"]) -> Float[Array, ""]:
    """E[e^x − x − 1]: with x = y − f, f is led to log E[e^y], where the loss is least.

    x is cut off at 5, beyond which its exponential would lead every step.
    """
    x = jnp.minimum(x, 5.0)
    return jnp.mean(jnp.exp(x) - x - 1.0)


def beta_for_ess(energy: Energies, target: float, *, maximum: float = 1e6) -> Float[Array, ""]:
    """The largest β at which the effective sample size is still `target`·n (a share in (0, 1]).

    With leading axes, the mean over them of the effective sample size is meant. The size falls as β grows,
    so bisection of log β finds it; where no β up to `maximum` reaches the target (constant energies),
    `maximum` is returned. The energies are taken relative to the median of how far they lie above the lowest
    one, so any scale works, and a few huge ones change nothing; infinite ones have no part in it.
    """
    excluded = jnp.isposinf(energy)
    floor = jnp.min(energy, axis=-1, keepdims=True, initial=jnp.inf, where=~excluded)
    above = jnp.where(excluded | (energy <= floor), jnp.nan, energy - floor)
    spread = jnp.maximum(jnp.nan_to_num(jnp.nanmedian(above)), jnp.finfo(energy.dtype).tiny)
    spread = jnp.where(jnp.any(jnp.isnan(energy)), jnp.nan, spread)

    def share(beta: Array) -> Array:
        sizes = effective_sample_size(tilt_weights(energy / spread, beta))
        return jnp.mean(sizes) / energy.shape[-1]

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        enough = share(jnp.exp(middle)) >= target
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, high = jnp.log(jnp.asarray(1e-6)), jnp.log(jnp.asarray(1e6))
    low, _ = jax.lax.fori_loop(0, 60, halve, (low, high))
    return jnp.minimum(jnp.exp(low) / spread, maximum)

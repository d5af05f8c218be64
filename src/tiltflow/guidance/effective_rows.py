"""Weights of rows, how many rows carry a tilt, and the β at which as many do as are wanted."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from tiltflow.errors import UserError
from tiltflow.tilting import beta_for_ess, effective_sample_size, tilt_weights

_FEW = 0.01
_TARGET = 0.05


def relative_energies(energies: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Energies over the lowest one: exact in double precision, then within the reach of single precision."""
    finite = np.isfinite(energies)
    lowest = energies[finite].min() if finite.any() else 0.0
    return np.where(finite, np.minimum(energies - lowest, 3e38), np.inf).astype(np.float32)


def row_weights(energies: Float[np.ndarray, " n"], beta: float) -> Float[np.ndarray, " n"]:
    """exp(−βE) of the rows, with mean 1."""
    return np.asarray(tilt_weights(jnp.asarray(energies), beta))


def effective_rows(weights: Float[np.ndarray, " n"]) -> float:
    """Effective sample size of the weights, in rows."""
    return float(effective_sample_size(jnp.asarray(weights)))


def resample_rows(
    rng: np.random.Generator, weights: Float[np.ndarray, " n"], n: int
) -> Int[np.ndarray, " n"]:
    """n row numbers with probabilities in proportion to the weights."""
    shares = weights.astype(np.float64)
    return rng.choice(len(shares), size=n, p=shares / shares.sum())


def beta_for_share(relative: Float[np.ndarray, " n"], target_ess: float | None) -> float:
    """The β at which the share `target_ess` of the rows is effective; `relative` energies, the lowest is 0.

    Raises UserError where there is none.
    """
    assert target_ess is not None
    if not 0 < target_ess <= 1:
        raise UserError(f"target_ess = {target_ess}: it must be a share of the rows, in (0, 1].")
    allowed = np.isfinite(relative)
    if np.ptp(relative[allowed]) == 0:
        raise UserError("The energies are all equal: no beta changes the effective sample size. Give beta.")
    if target_ess > allowed.mean():
        raise UserError(
            f"target_ess = {target_ess}: only {allowed.mean():.3g} of the rows have an energy below +∞."
        )
    # Ties at the minimum keep their share at any beta; the largest beta there is would overflow the networks.
    lowest = float(np.mean(relative == 0))
    if target_ess <= lowest:
        raise UserError(
            f"target_ess = {target_ess}: a share of {lowest:.3g} of the rows has the lowest energy, so it "
            "never falls below that. Give a larger target, or beta."
        )
    beta = float(beta_for_ess(jnp.asarray(relative), target_ess, maximum=3e38))
    reached = effective_rows(row_weights(relative, beta)) / len(relative)
    if abs(reached - target_ess) > 0.05 * target_ess + 1 / len(relative):
        raise UserError(
            f"target_ess = {target_ess}: no beta comes near it. The nearest, {beta:.4g}, keeps {reached:.3g} "
            "of the rows. Give beta, or look at the energies: their sizes may be too far apart."
        )
    return beta


def few_rows_note(energies: Float[np.ndarray, " n"], beta: float, ess: float) -> str | None:
    """A warning where few rows carry the tilt, with the β that would keep more of them.

    `energies` are relative: the lowest is 0.
    """
    n = len(energies)
    if ess >= _FEW * n:
        return None
    better = float(beta_for_ess(jnp.asarray(energies), _TARGET)) if np.mean(energies == 0) < _TARGET else None
    advice = f" β = {better:.3g} would keep {_TARGET:.0%}." if better is not None and n * _TARGET >= 2 else ""
    return (
        f"At β = {beta:.4g} only {ess:.1f} of {n} rows are effective ({ess / n:.2%}): samples can "
        f"hardly be more than copies of these.{advice}"
    )

"""β by the data: actions weighted by one half of the critic's ensemble, judged by the other.

    β* = argmax_β  E_s Σ_j w_j(Q_A; β)·Q_B(s, a_j),   w_j ∝ exp(βQ_A(s, a_j)/u)

Judged by the members that chose them, the weighted actions would look the better the larger β is. The other
half does not share the error that these members have alone, as in double Q-learning; what both halves have
learned wrong from the same data stays. No return is looked at. Ours.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tiltflow.critics import Critic

SMALLEST_BETA = 0.1
LARGEST_BETA = 20.0
_GRID = 64


def halves(critic: Critic) -> tuple[Critic, Critic]:
    """The critic with the first half of its members, and with the rest."""
    q = critic.q.ema
    first = q.count // 2
    parts = q.part(0, first), q.part(first, q.count)
    one, other = (critic._replace(q=critic.q._replace(ema=part)) for part in parts)
    return one, other


def judge_beta(
    energies: Float[Array, "n m"], judged: Float[Array, "n m"], unit: Float[Array, ""]
) -> Float[Array, ""]:
    """β* between 0.1 and 20, of E = −Q_A that weights and E = −Q_B that judges, at each state's actions."""
    grid = jnp.geomspace(SMALLEST_BETA, LARGEST_BETA, _GRID)

    def cost(beta: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.mean(jnp.sum(jax.nn.softmax(-beta * energies / unit, axis=1) * judged, axis=1))

    return grid[jnp.argmin(jax.lax.map(cost, grid))]

"""Improvement of a flow or diffusion policy at test time, without training: best of N, and guidance by ∇Q.

best-of-n: N actions of the policy, the one of highest Q' is played.
The others shift the policy's score at every step of the sampler, by s/u with u the unit of Q, times

    gradient           α_t·∇Q'(s, a_t)         Q' of the noisy action;
    clean-gradient     α_t·∇Q'(s, â)           Q' of the one-step estimate â = E[data | a_t], the Jacobian
                                               ∂â/∂a_t taken as α_t, which it is for data of unit variance
                                               to first order, and at the end of every path;
    jacobian-gradient  (∂â/∂a_t)ᵀ·∇Q'(s, â)    with the Jacobian of the policy's network.

None of them samples π·exp(sQ'/u) in general: that takes the intermediate energy of CEP. The third does for
Gaussian policies and linear Q'. Q' is asked about actions cut off to their box. The factor α_t of the first
two, with which the velocity stays finite at the noise end, and dividing by α_t of at least 0.1 in the third
are our choice; so is u, the spread of Q' over 16 actions of the policy, by which one strength serves tasks
of different scale.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor_critic import best_of
from tiltflow.agents.base import Parts
from tiltflow.agents.sampling import play_actions, sample_support
from tiltflow.critics import Critic, Ensemble, q_value, q_values
from tiltflow.data.transitions import Spec
from tiltflow.flow import Generator
from tiltflow.guidance.score_shift import Shifted
from tiltflow.model_settings import CriticConfig
from tiltflow.paths import Path
from tiltflow.settings import GuidanceName

SMALLEST_ALPHA = 0.1
UNIT_ACTIONS = 16


class Improved(NamedTuple):
    """The state of a policy that is improved at test time."""

    agent: Any
    critic: Critic
    unit: Float[Array, ""]
    """u, the unit of Q."""


class QGuided(Shifted):
    """The generative model whose score is that of `base`, shifted up Q' (see the file's text)."""

    base: Generator
    critic: Critic
    scale: Float[Array, ""]
    path: Path = eqx.field(static=True)
    kind: GuidanceName = eqx.field(static=True)
    config: CriticConfig = eqx.field(static=True)

    def slope(self, t: Array, x: Array, condition: Array | None) -> Float[Array, "*batch d"]:
        if self.kind == "gradient":
            return self._q_slope(x, condition)

        def clean(x: Array) -> Array:
            return self.base.predict("data", t, x, condition)

        if self.kind == "clean-gradient":
            return self._q_slope(clean(x), condition)
        estimate, pull_back = jax.vjp(clean, x)
        (slope,) = pull_back(self._q_slope(estimate, condition))
        return slope / jnp.maximum(self.path.alpha(t), SMALLEST_ALPHA)[..., None]

    def _q_slope(self, actions: Array, observations: Array | None) -> Float[Array, "*batch d"]:
        assert observations is not None

        def total(actions: Array) -> Array:
            return jnp.sum(q_value(self.critic, observations, actions, self.config))

        return jax.grad(total)(jnp.clip(actions, -1.0, 1.0))


def improved_actions(
    parts: Parts,
    critic: Critic,
    unit: Float[Array, ""],
    kind: GuidanceName,
    setting: float,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    spec: Spec,
) -> Float[Array, "n a"]:
    """One action at each state; `setting` is N of best-of-n, or the strength s."""
    config = parts.critic_config
    assert config is not None
    if kind == "best-of-n":
        return best_of(parts.flow, critic, observations, key, int(setting), spec, parts.sampler, config)
    guided = QGuided(
        base=parts.flow, critic=critic, scale=setting / unit, path=parts.flow.path, kind=kind, config=config
    )
    return play_actions(guided, observations, key, spec, parts.sampler)


def q_unit(
    parts: Parts, critic: Critic, observations: Float[Array, "n o"], key: PRNGKeyArray, spec: Spec
) -> Float[Array, ""]:
    """u: the mean over states of the standard deviation of Q' over actions of the policy."""
    assert parts.critic_config is not None
    actions = sample_support(parts.flow, observations, key, UNIT_ACTIONS, spec, parts.sampler)
    values = q_value(critic, observations[:, None], actions, parts.critic_config)
    return jnp.maximum(jnp.mean(jnp.std(values, axis=1)), 1e-6)


def crossed_value(
    act: Callable[[Critic], Float[Array, "n a"]], critic: Critic, observations: Float[Array, "n o"]
) -> Float[Array, ""]:
    """Mean Q of actions that one member of the ensemble chose, valued by the other members.

    As in double Q-learning, a value is then not the maximum over its own error. The members have learned
    from the same data, so that an error that they share stays.
    """
    members = critic.q.ema.split()
    values = []
    for index, member in enumerate(members):
        actions = act(critic._replace(q=critic.q._replace(ema=Ensemble.of([member]))))
        others = Ensemble.of([other for place, other in enumerate(members) if place != index])
        values.append(jnp.mean(q_values(others, observations, actions)))
    return jnp.mean(jnp.stack(values))

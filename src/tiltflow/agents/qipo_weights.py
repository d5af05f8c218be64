"""Weights of QIPO's support actions: self-normalised over a state's support, or over a baseline of the state.

A state's support are the data's action (where it is included), then actions of the behaviour μ, then actions
of the present policy π_l, which has reached μ·exp(−b·E). The step from b to b + δ goes to μ·exp(−(b + δ)·E).
Its importance weights are exp(−(b + δ)·E) for the behaviour's actions and exp(−δ·E) for the policy's.

    support   the weights over their sum at the state, as published. Exact for infinitely many actions; with
              M of them the tilt is weaker than asked (a linear Q and Gaussian actions: 0.67 of it at M = 4,
              0.87 at M = 16, β = 1 spread of Q).
    value     the weights of E + V(s) in the place of E, with a V that does not depend on the actions drawn.
              Every weight then has the right expectation up to a factor of the state, which leaves the policy
              at each state as it is: exact for every number of actions, for one too.

The energies are E = −Q/u.
"""

from typing import Any

import jax.numpy as jnp
import optax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.critics import Critic, build_mlp
from tiltflow.data.transitions import Spec
from tiltflow.optimize import Metrics, TrainState, begin, gradient_step
from tiltflow.tilting import log_mean_loss, tilt_weights


def drawn_from(config: QIPOConfig) -> tuple[int, int]:
    """How many support actions are drawn from the behaviour and from the present policy."""
    count = config.num_support_actions
    from_policy = {"current": count, "behaviour": 0, "mixture": count // 2, "data": 0}[config.reference]
    return 0 if config.reference == "data" else count - from_policy, from_policy


def support_weights(
    energies: Float[Array, "n m"], before: Float[Array, ""], gain: Float[Array, "n m"], config: QIPOConfig
) -> Float[Array, "n m"]:
    """Weights normalised over the support, of mean 1 at each state (about 1 with a `data_share`).

    `gain` is the log weight of the step from `before` on alone, −δ·E for actions that stay where they are. A
    mixture is weighted by its own density (balance heuristic), exp(gain − b·E)/(n_μ + n_π·exp(−b·E)/Z), Z the
    behaviour's mean of exp(−b·E). With a `data_share` the data's action has that share of the loss, its
    weight being exp(gain − b·E)/Z' among the behaviour's actions (5.2), and the other actions have the rest.
    Where no action is the behaviour's but the data's ("current"), that weight is 1: plain cloning.
    """
    _, from_policy = drawn_from(config)
    from_behaviour = energies.shape[1] - from_policy
    of_behaviour = before * energies - gain
    if config.reference == "mixture":
        log_z = logsumexp(-before * energies[:, :from_behaviour], axis=1, keepdims=True)
        log_policy = jnp.log(from_policy) - before * energies - log_z + jnp.log(from_behaviour)
        costs = of_behaviour + jnp.logaddexp(jnp.log(from_behaviour), log_policy)
    else:
        costs = -gain if config.reference == "current" else of_behaviour
    if config.data_share is None:
        return tilt_weights(costs, 1.0)
    count = energies.shape[1]
    of_data = tilt_weights(of_behaviour[:, :from_behaviour], 1.0)[:, :1]
    others = tilt_weights(costs[:, 1:], 1.0)
    shares = count * config.data_share, count / (count - 1) * (1 - config.data_share)
    return jnp.concatenate([shares[0] * of_data, shares[1] * others], axis=1)


def baseline_weights(
    energies: Float[Array, "n m"],
    before: Float[Array, ""],
    gain: Float[Array, "n m"],
    value: Float[Array, " n"],
    step: Float[Array, ""],
    config: QIPOConfig,
) -> Float[Array, "n m"]:
    """min(exp(−(b + δ)·(E + V)), w_max) of the behaviour's actions, exp(−δ·(E + V)) of the policy's.

    `value` is V(s) in the energies' unit, `step` δ, `gain` as in `support_weights`.
    """
    _, from_policy = drawn_from(config)
    of_policy = jnp.arange(energies.shape[1]) >= energies.shape[1] - from_policy
    excess = energies + value[:, None]
    logs = gain - step * value[:, None] - jnp.where(of_policy, 0.0, before * excess)
    return jnp.minimum(jnp.exp(logs), config.max_weight)


def init_baseline(key: Array, spec: Spec, config: QIPOConfig) -> TrainState | None:
    """A network V(s) for a critic that has none, or whose V stays behind; None where it is not needed."""
    own = config.critic.kind == "expectile" and not config.continue_critic
    if config.baseline != "value" or own:
        return None
    network = build_mlp(key, spec.observation_size, 1, config.critic.network)
    return begin(network, baseline_optimizer(config))


def baseline_optimizer(config: QIPOConfig) -> optax.GradientTransformation:
    """Adam of the fitted V, with the critic's step size."""
    return optax.adam(config.critic.learning_rate)


def state_value(
    critic: Critic, baseline: TrainState | None, observations: Float[Array, "n o"], scale: Float[Array, ""]
) -> Float[Array, " n"]:
    """V(s) of the weights in units of `scale`: that of the expectile critic, or the fitted one."""
    if baseline is not None:
        return baseline.params(observations)[..., 0]
    assert critic.value is not None
    return critic.value.params(observations)[..., 0] / scale


def fit_baseline(
    baseline: TrainState,
    observations: Float[Array, "n o"],
    energies: Float[Array, "n m"],
    beta: Float[Array, ""],
    config: QIPOConfig,
) -> tuple[TrainState, Metrics]:
    """One step of V towards log E_μ[exp(−βE)]/β: `log_mean_loss` of −β·(E + V) over actions of μ.

    The behaviour's weights then have the mean 1 at every state.
    """

    def loss(network: Any) -> tuple[Float[Array, ""], Metrics]:
        value = log_mean_loss(-beta * (energies + network(observations)))
        return value, {"baseline_loss": value}

    return gradient_step(baseline, baseline_optimizer(config), loss)

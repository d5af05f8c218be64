"""The improvement of QIPO: step 3 of Algorithm 2 of arXiv 2503.04975. What departs from it stands in qipo.py.

every K_renew steps   π_l ← π;  a_i1 … a_iM ~ π_l(·|s_i), a_i0 the data's action;  E_ij = −Q(s_i, a_ij)/u
in each step          w_ij ∝ exp(−δ·E_ij), δ the part of β that is added;
                      π down Σ_ij w_ij·|v(x_t, t, s_i) − u_t(x_t|a_ij)|²
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Stage
from tiltflow.agents.bc import make_optimizer
from tiltflow.agents.behaviour_critic import energy_unit, support_energies
from tiltflow.agents.judged import halves, judge_beta
from tiltflow.agents.one_step import OneStep
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.qipo_weights import (
    baseline_weights,
    drawn_from,
    fit_baseline,
    state_value,
    support_weights,
)
from tiltflow.agents.sampling import sample_support
from tiltflow.agents.setting_numbers import with_values
from tiltflow.critics import Critic, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow, matching_loss
from tiltflow.guidance.guided_paths import Energy, propose
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step
from tiltflow.tilting import effective_sample_size

_SPREAD_OF = 16
"""Actions of the behaviour by whose spread Q is measured, where the support is one action."""


class QIPOState(NamedTuple):
    policy: TrainState
    critic: Critic
    behaviour: Flow
    """μ: the averaged policy as the behaviour stage left it."""
    reference: Flow
    """π_l: the averaged policy at the last refresh, from which support actions are drawn."""
    refreshes: Float[Array, ""]
    """l, the number of improvements finished before the present one."""
    scale: Float[Array, ""]
    """u, one unit of energy, in units of Q."""
    baseline: TrainState | None
    """V(s) of the weights, where the critic has none."""
    beta: Float[Array, ""] | None = None
    """β, where it is chosen by the critic (`beta = auto`)."""
    learner: Critic | None = None
    """The critic as it goes on learning (`continue_critic`); the one above is fixed between refreshes."""
    one_step: OneStep | None = None
    """The distilled policy (`distill`)."""


class _Points(NamedTuple):
    """What a step matches at each state: points, with their energies, weights and log gains."""

    x: Float[Array, "n m a"]
    energies: Float[Array, "n m"]
    weights: Float[Array, "n m"]
    gain: Float[Array, "n m"]
    """−δ·E: the log weight of the step that the policy takes."""


def played_energy(
    critic: Critic, observations: Float[Array, "n o"], scale: Float[Array, ""], config: QIPOConfig
) -> Energy:
    """E of points [n, m, a]: −Q of the actions that they are played as, in units of `scale`."""

    def energy(x: Float[Array, "n m a"]) -> Float[Array, "n m"]:
        actions = jnp.clip(x, -1.0, 1.0)
        return -q_value(critic, observations[:, None], actions, config.critic) / scale

    return energy


def improvement_stage(config: QIPOConfig, spec: Spec, steps: int) -> Stage:
    """The stage, of so many gradient steps."""
    from_behaviour, from_policy = drawn_from(config)
    optimizer = make_optimizer(config.improvement_learning_rate, config.flow.decay, steps)
    refresh_every, improvements = config.refreshes(steps)
    rises = config.beta_refreshes or improvements
    lasting = config.beta_refreshes is not None

    def beta_after(state: QIPOState, improvement: Float[Array, ""]) -> Float[Array, ""]:
        """β that the policy has reached after so many improvements."""
        reached = jnp.minimum(improvement, rises) if config.annealed and lasting else improvement
        share = reached / (rises if config.annealed else 1)
        beta = state.beta if config.beta == "auto" else jnp.float32(config.beta)
        assert beta is not None
        return share * beta

    def energies_of(critic: Critic, observations: Array, actions: Array) -> Float[Array, "n m"]:
        """E = −Q by which actions are weighted: of all members, or of the first half."""
        weighing = halves(critic)[0] if config.split_ensemble else critic
        return support_energies(weighing, observations, actions, config.critic)

    def draw(flow: Flow, observations: Array, key: PRNGKeyArray, count: int) -> Float[Array, "n m a"]:
        noise = config.support_noise
        return sample_support(flow, observations, key, count, spec, config.flow, noise=noise)

    def support(state: QIPOState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        """Actions a_i1 … a_iM ~ π_l, the data's action a_i0, and E = −Q of each."""
        observations = rows["observations"]
        behaviour_key, current_key = jax.random.split(key)
        parts = [rows["actions"][:, None]] if config.include_data_action else []
        if from_behaviour > 0:
            parts.append(draw(state.behaviour, observations, behaviour_key, from_behaviour))
        if from_policy > 0:
            parts.append(draw(state.reference, observations, current_key, from_policy))
        actions = jnp.concatenate(parts, axis=1)
        energies = energies_of(state.critic, observations, actions)
        columns = {"support_actions": actions, "support_energies": energies}
        if config.continue_critic:
            next_key, M = jax.random.fold_in(key, 1), config.critic.num_support_actions
            columns["next_support_actions"] = draw(state.reference, rows["next_observations"], next_key, M)
        return columns

    def refresh(state: QIPOState, sample: Columns, key: PRNGKeyArray) -> QIPOState:
        """π_l becomes the reference; the first time, training starts afresh, E gets its unit and β its value.

        Later the critic is what it has learned since the refresh before, where it goes on learning.
        """
        first, observations = state.refreshes < 0.5, sample["observations"]
        fresh = begin(state.policy.ema, optimizer)
        policy = jax.tree.map(lambda a, b: jnp.where(first, a, b), fresh, state.policy)
        state = state._replace(policy=policy, reference=state.policy.ema)
        if state.learner is not None:
            latest = jax.tree.map(lambda a, b: jnp.where(first, a, b), state.critic, state.learner)
            state = state._replace(critic=latest, learner=jax.tree.map(jnp.array, latest))
        if config.reference == "data" or config.support_size < 2:  # one action a state has no spread
            count = config.num_support_actions if config.num_support_actions > 1 else _SPREAD_OF
            actions = draw(state.behaviour, observations, key, count)
        else:
            actions = support(state, sample, key)["support_actions"]
        unit = energy_unit(energies_of(state.critic, observations, actions), config.energy_scale)
        state = state._replace(scale=jnp.where(first, unit, state.scale), refreshes=state.refreshes + 1)
        if state.beta is not None:
            one, other = (
                support_energies(half, observations, actions, config.critic) for half in halves(state.critic)
            )
            chosen = judge_beta(one, other, state.scale)
            state = state._replace(beta=jnp.where(first, chosen, state.beta))
        return state

    def weigh(
        state: QIPOState, batch: Columns, before: Array, after: Array
    ) -> tuple[_Points, TrainState | None, dict[str, Array]]:
        """The support actions with their weights, and V(s) after a step of its own, where it is fitted."""
        energies, baseline = batch["support_energies"], state.baseline
        gain = (before - after) * energies / state.scale
        if config.baseline == "value":
            value = state_value(state.critic, baseline, batch["observations"], state.scale)
            weights = baseline_weights(energies / state.scale, before, gain, value, after - before, config)
        else:
            weights = support_weights(energies / state.scale, before, gain, config)
        losses = dict[str, Array]()
        if baseline is not None:
            of_behaviour = energies[:, : energies.shape[1] - from_policy] / state.scale
            baseline, fitted = fit_baseline(baseline, batch["observations"], of_behaviour, after, config)
            losses = dict(fitted)
        return _Points(batch["support_actions"], energies, weights, gain), baseline, losses

    def move(
        state: QIPOState, observations: Array, points: _Points, beta: Array, key: PRNGKeyArray
    ) -> _Points:
        """x ~ N(z − δσ²∇E(z), σ²I) in the place of z, with weights that account for it."""
        energy = played_energy(state.critic, observations, state.scale, config)
        x, gain = propose(energy, key, points.x, beta=beta, sigma=config.tilted_sigma)
        weights = points.weights * jnp.exp(gain - points.gain)
        return _Points(x, energy(x) * state.scale, weights, gain)

    def improve(state: QIPOState, batch: Columns, key: PRNGKeyArray) -> tuple[QIPOState, Metrics]:
        """One step of the policy."""
        support_key, loss_key, tilt_key, choice_key = jax.random.split(key, 4)
        if config.support == "batch":
            batch = {**batch, **support(state, batch, support_key)}
        before, after = (beta_after(state, state.refreshes - back) for back in (1, 0))
        weighed, baseline, fitted = weigh(state, batch, before, after)
        points = _draw_one(weighed, choice_key) if config.weights == "sampled" else weighed
        if config.improvement == "tilted-path":
            points = move(state, batch["observations"], points, after - before, tilt_key)
        observations = jnp.broadcast_to(
            batch["observations"][:, None], (*points.x.shape[:2], batch["observations"].shape[-1])
        )

        def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
            value = matching_loss(flow, loss_key, points.x, observations, points.weights)
            return value, {"loss": value}

        policy, metrics = gradient_step(state.policy, optimizer, loss, step=config.improvement_average_step)
        report = {
            "ess": jnp.mean(effective_sample_size(weighed.weights)),
            "q_support": -jnp.mean(weighed.energies),
            "q_weighted": -jnp.sum(points.energies * points.weights) / jnp.sum(points.weights),
            "refreshes": state.refreshes,
            "beta": after,
        }
        if config.include_data_action:
            report["q_data"] = -jnp.mean(weighed.energies[:, 0])
        state = state._replace(policy=policy, baseline=baseline)
        if state.learner is not None:
            backup = with_values(config.critic, {"kind": "in-support-softmax"})
            learner, losses = update_critic(state.learner, batch, backup)
            state = state._replace(learner=learner)
            report["critic_loss"] = losses["loss"]
        return state, {**metrics, **report, **fitted}

    return Stage(
        "improvement",
        steps,
        config.improvement_batch_size,
        improve,
        improves_policy=True,
        refresh=refresh,
        refresh_every=refresh_every,
        precompute=support if config.support == "dataset" else None,
        precompute_reason="drawing support actions",
    )


def _draw_one(points: _Points, key: PRNGKeyArray) -> _Points:
    """One of each state's points, drawn by its weight; it counts as all of them together."""
    chosen = jax.random.categorical(key, jnp.log(points.weights), axis=1)[:, None]
    x = jnp.take_along_axis(points.x, chosen[:, :, None], axis=1)
    energies, gain = (
        jnp.take_along_axis(column, chosen, axis=1) for column in (points.energies, points.gain)
    )
    return _Points(x, energies, jnp.mean(points.weights, axis=1, keepdims=True), gain)

"""Q-weighted iterative policy optimisation: QIPO-OT and QIPO-Diff (Algorithm 2 of arXiv 2503.04975).

The policy π(a|s) ∝ μ(a|s)·exp(βQ(s, a)) is a flow (or diffusion) trained by energy-weighted matching on
support actions, without an auxiliary model. Repeating it with support from the policy itself sharpens it:
π_{l+1} ∝ π_l·exp(βQ) ∝ μ·exp((l + 1)βQ)   (5.4).

Departs from the paper, one departure a bullet:
- Noise temperature. Paper: actions start from N(0, I). Here: support and played actions start from N(0, τ²I),
  τ = 0.5 (`support_noise`, `flow.play_noise`). Why: a tilt keeps all of the behaviour's noise along which Q
  is flat, and recorded actions carry noise. The tilt is then one of a narrower μ: for μ = N(m, S) and Q = b·a
  the support is N(m, τ²S) and the policy, drawn with all noise, N(m + βτ²Sb/u, τ²S).
- Length. Paper: not known. Here: the improvement is as long as the behaviour stage, with four refreshes. Why:
  it begins with a fresh step size, which blurs the flow until it has fallen again.
- β. Paper: every refresh adds β, without end. Here: β is what the policy ends at, reached in equal parts over
  the refreshes (`annealed`). Why: a learned critic does not bear more; in our measurements Q of the policy
  rises at every refresh while its success falls, once β exceeds about one spread of Q.
- Unit. Paper: Q's own; β for each task is not known. Here: the mean spread of Q over the support of a state
  at the first refresh (`energy_scale`). Why: one value serves tasks whose rewards differ in scale.
- Support. Paper: all from π_l; reading notes have the data's action in the same softmax, code that seems to
  be the authors' has not. Here: the data's action, half from μ and half from π_l (`reference`), weighted by
  the density of that mixture. Why: one softmax over actions of μ and of π_l is right before the first refresh
  alone.
- Weights. Paper: over their sum at a state, which makes the tilt weaker than asked: exact for M → ∞ alone.
  Here: the same by default (`baseline = "support"`), or over a value of the state (`"value"`, support.py),
  exact for every M. Why both: the second has more variance.
- Use of weights. Paper: all M + 1 actions with their weights. Here: one action of each state's support is
  drawn by its weight and counts fully (`weights`). Why: the same loss, from more states at equal cost.
- QIPO-Diff predicts the velocity of its path, not the noise: the same score, learned better near the data.
- The critic is IQL's, an expectile of the data's own actions, where the paper has Q-learning after QGPO,
  inside the support of the behaviour (`critic.kind`): that needs M actions of every next state.
- Q is the target ensemble's; the critic's steps, M, K_renew and each learning rate are our choice, and so are
  the cosine decay of the policy's step size and the average of its parameters.
- Options of ours, off by default: weights from half of the critic's ensemble, and β by the other half
  (judged.py); a critic that goes on learning between refreshes, by the softmax backup over actions of π_l
  (`continue_critic`); a policy of one step, distilled at the end (one_step.py).
- `improvement="tilted-path"` matches no support action z itself but x ~ N(z − δσ²∇E(z), σ²I), δ the part of
  β that is added, drawn anew in every step and weighted exactly (guidance/guided_paths.py): z is drawn (or
  weighted) as above, and its x has the ratio of both weights as a factor. The policy becomes
  (π_l smoothed by σ)·exp(δQ), and σ = 0 is the form above. x is not clipped, which the weights would not
  know of; its energy is that of the action it is played as, −Q(s, clip(x)), so that Q is never asked about
  an action outside its box. Support from the present policy is smooth already: with `current` the smoothing
  adds up over refreshes, with `behaviour` it does not, and with `mixture` the weights neglect it.

The published form is the preset `published` (published.py, each value with its source), in which none of the
above holds but that the weights are those over the support, as published. What it still does not share with
its source:
- networks are plain perceptrons of our size, where the source has QGPO's residual U;
- the weights are by the target critics, which follow the trained ones that the source uses by 200 steps;
- support of the next states is drawn once, not anew every 100 epochs, from the same behaviour;
- the averaged policy is also what is played and what the improvement begins with, with a fresh optimiser;
- DPM-Solver is the multistep one with our spacing, on the OT path from t = 10⁻² on (paths.py);
- support actions are cut off at the actions' box, and observations normalised, as in every agent here.
"""

from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Stage, flow_parts, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, energy_unit, support_energies
from tiltflow.agents.configs import QIPOConfig
from tiltflow.agents.judged import choose_beta, halves
from tiltflow.agents.one_step import (
    ActionValue,
    OneStep,
    begin_one_step,
    distillation_stage,
    make_one_step,
    play_one_step,
)
from tiltflow.agents.sampling import play_actions, sample_support
from tiltflow.agents.support import (
    baseline_weights,
    drawn_from,
    fit_baseline,
    init_baseline,
    state_value,
    support_weights,
)
from tiltflow.critics import Critic, init_critic, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow, matching_loss
from tiltflow.guidance.guided_paths import Energy, propose
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step
from tiltflow.tilting import effective_sample_size

SHARES = {
    "3:2:3": {"behaviour": 0.375, "critic": 0.25, "improvement": 0.375},
    "6:5:1": {"behaviour": 0.5, "critic": 5 / 12, "improvement": 1 / 12},
}
DISTILL_SHARE = 0.25
REFRESHES = 4


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
    """One unit of energy, in units of Q."""
    baseline: TrainState | None
    """V(s) of the weights, where the critic has none."""
    beta: Float[Array, ""] | None = None
    """β, where it is chosen by the critic (`beta = auto`)."""
    learner: Critic | None = None
    """The critic as it goes on learning (`continue_critic`); the one above is fixed between refreshes."""
    one_step: OneStep | None = None
    """The distilled policy (`distill`)."""


def played_energy(
    critic: Critic, observations: Float[Array, "n o"], scale: Float[Array, ""], config: QIPOConfig
) -> Energy:
    """E of points [n, m, a]: −Q of the actions that they are played as, in units of `scale`."""

    def energy(x: Float[Array, "n m a"]) -> Float[Array, "n m"]:
        actions = jnp.clip(x, -1.0, 1.0)
        return -q_value(critic, observations[:, None], actions, config.critic) / scale

    return energy


def build(config: QIPOConfig, spec: Spec, steps: int) -> Agent:
    """The agent: behaviour, critic (then frozen), improvement with refresh of the support actions."""
    shares = SHARES[config.shares] | ({"distill": DISTILL_SHARE} if config.distill else {})
    count = split_steps(steps, shares, {name: getattr(config, f"{name}_steps") for name in shares})
    from_behaviour, from_policy = drawn_from(config)
    decay = config.flow.decay
    behaviour_optimizer = make_optimizer(config.flow.learning_rate, decay, count["behaviour"])
    improvement_optimizer = make_optimizer(config.improvement_learning_rate, decay, count["improvement"])
    distillation = make_optimizer(config.flow.learning_rate, decay, count.get("distill", 1))

    def init(key: PRNGKeyArray) -> QIPOState:
        flow_key, critic_key = jax.random.split(key)
        flow = init_flow(flow_key, spec, config.flow)
        policy = begin(flow, behaviour_optimizer)
        behaviour, reference = (jax.tree.map(jnp.array, flow) for _ in range(2))
        critic = init_critic(critic_key, spec, config.critic)
        state = QIPOState(
            policy,
            critic,
            behaviour,
            reference,
            refreshes=jnp.zeros(()),
            scale=jnp.ones(()),
            baseline=init_baseline(jax.random.fold_in(key, 2), spec, config),
        )
        if config.beta == "auto":
            state = state._replace(beta=jnp.ones(()))
        if config.continue_critic:
            state = state._replace(learner=jax.tree.map(jnp.array, critic))
        if config.distill:
            network = make_one_step(jax.random.fold_in(key, 3), spec, config.flow)
            state = state._replace(one_step=begin_one_step(network, distillation))
        return state

    def draw(flow: Flow, observations: Array, key: PRNGKeyArray, count: int) -> Float[Array, "n m a"]:
        noise = config.support_noise
        return sample_support(flow, observations, key, count, spec, config.flow, noise=noise)

    refresh_every = config.refresh_every or max(1, -(-count["improvement"] // REFRESHES))
    improvements = max(1, -(-count["improvement"] // refresh_every))

    def inverse_temperature(state: QIPOState, improvement: Float[Array, ""]) -> Float[Array, ""]:
        """β that the policy has reached after so many improvements."""
        share = improvement / (improvements if config.annealed else 1)
        beta = state.beta if config.beta == "auto" else jnp.float32(config.beta)
        assert beta is not None
        return share * beta

    def energies_of(
        state: QIPOState, observations: Array, actions: Float[Array, "n m a"]
    ) -> Float[Array, "n m"]:
        """E = −Q by which actions are weighted: of all members, or of the first half."""
        weighing = state._replace(critic=halves(state.critic)[0]) if config.split_ensemble else state
        return support_energies(weighing, observations, actions, config)

    # 1. K1 steps: plain matching of the data's actions.
    # 2. K2 steps: Q-learning, with the configured backup; Q is fixed from then on.

    def keep_behaviour(state: QIPOState, sample: Columns, key: PRNGKeyArray) -> QIPOState:
        return state._replace(behaviour=state.policy.ema)

    first_stages = behaviour_and_critic(config, spec, count, behaviour_optimizer, keep_behaviour)

    # 3. K3 steps: every K_renew steps the support comes from the current policy; then weighted matching.

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
        columns = {
            "support_actions": actions,
            "support_energies": energies_of(state, observations, actions),
        }
        if config.continue_critic:
            next_key, M = jax.random.fold_in(key, 1), config.critic.num_support_actions
            columns["next_support_actions"] = draw(state.reference, rows["next_observations"], next_key, M)
        return columns

    def refresh(state: QIPOState, sample: Columns, key: PRNGKeyArray) -> QIPOState:
        """π_l becomes the reference; the first time, training starts afresh, E gets its unit and β its value.

        Later the critic is what it has learned since the refresh before, where it goes on learning.
        """
        first = state.refreshes < 0.5
        fresh = begin(state.policy.ema, improvement_optimizer)
        policy = jax.tree.map(lambda a, b: jnp.where(first, a, b), fresh, state.policy)
        state = state._replace(policy=policy, reference=state.policy.ema)
        if state.learner is not None:
            latest = jax.tree.map(lambda a, b: jnp.where(first, a, b), state.critic, state.learner)
            state = state._replace(critic=latest, learner=jax.tree.map(jnp.array, latest))
        if config.reference == "data":
            actions = draw(state.behaviour, sample["observations"], key, config.num_support_actions)
        else:
            actions = support(state, sample, key)["support_actions"]
        unit = energy_unit(energies_of(state, sample["observations"], actions), config.energy_scale)
        state = state._replace(scale=jnp.where(first, unit, state.scale), refreshes=state.refreshes + 1)
        if state.beta is not None:
            one, other = (
                support_energies(state._replace(critic=half), sample["observations"], actions, config)
                for half in halves(state.critic)
            )
            chosen = choose_beta(one, other, state.scale)
            state = state._replace(beta=jnp.where(first, chosen, state.beta))
        return state

    def improve(state: QIPOState, batch: Columns, key: PRNGKeyArray) -> tuple[QIPOState, Metrics]:
        support_key, loss_key, tilt_key, choice_key = jax.random.split(key, 4)
        if config.support == "batch":
            batch = {**batch, **support(state, batch, support_key)}
        actions, energies = batch["support_actions"], batch["support_energies"]
        before, after = (inverse_temperature(state, state.refreshes - back) for back in (1, 0))
        gain = (before - after) * energies / state.scale
        baseline, fitted = state.baseline, dict[str, Array]()
        if config.baseline == "value":
            value = state_value(state.critic, baseline, batch["observations"], state.scale)
            weights = baseline_weights(energies / state.scale, before, gain, value, after - before, config)
        else:
            weights = support_weights(energies / state.scale, before, gain, config)
        if baseline is not None:
            of_behaviour = energies[:, : energies.shape[1] - from_policy] / state.scale
            baseline, losses = fit_baseline(baseline, batch["observations"], of_behaviour, after, config)
            fitted = dict(losses)
        matched, counted = energies, weights
        if config.weights == "sampled":
            chosen = jax.random.categorical(choice_key, jnp.log(weights), axis=1)[:, None]
            actions = jnp.take_along_axis(actions, chosen[:, :, None], axis=1)
            matched, gain = (jnp.take_along_axis(column, chosen, axis=1) for column in (energies, gain))
            counted = jnp.mean(weights, axis=1, keepdims=True)
        if config.improvement == "tilted-path":
            energy = played_energy(state.critic, batch["observations"], state.scale, config)
            beta, sigma = after - before, config.tilted_sigma
            actions, moved_gain = propose(energy, tilt_key, actions, beta=beta, sigma=sigma)
            counted = counted * jnp.exp(moved_gain - gain)
            matched = energy(actions) * state.scale
        observations = jnp.broadcast_to(
            batch["observations"][:, None], (*actions.shape[:2], batch["observations"].shape[-1])
        )

        def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
            value = matching_loss(flow, loss_key, actions, observations, counted)
            return value, {"loss": value}

        policy, metrics = gradient_step(state.policy, improvement_optimizer, loss, ema=config.improvement_ema)
        report = {
            "ess": jnp.mean(effective_sample_size(weights)),
            "q_support": -jnp.mean(energies),
            "q_weighted": -jnp.sum(matched * counted) / jnp.sum(counted),
            "refreshes": state.refreshes,
            "beta": after,
        }
        if config.include_data_action:
            report["q_data"] = -jnp.mean(energies[:, 0])
        state = state._replace(policy=policy, baseline=baseline)
        if state.learner is not None:
            backup = replace(config.critic, kind="in-support-softmax")
            learner, losses = update_critic(state.learner, batch, backup)
            state = state._replace(learner=learner)
            report["critic_loss"] = losses["loss"]
        return state, {**metrics, **report, **fitted}

    # Optionally, K4 steps: the policy becomes one of a single step (one_step.py).

    def value_of(state: QIPOState, observations: Array) -> ActionValue:
        return lambda actions: q_value(state.critic, observations, actions, config.critic) / state.scale

    def act(state: QIPOState, observations: Array, key: PRNGKeyArray) -> Array:
        def value(actions: Float[Array, "n m a"]) -> Float[Array, "n m"]:
            return -support_energies(state, observations, actions, config) / state.scale

        def of_flow() -> Float[Array, "n a"]:
            return play_actions(state.policy.ema, observations, key, spec, config.flow, value)

        return play_one_step(state.one_step, observations, key, spec.action_size, of_flow)

    improvement = Stage(
        "improvement",
        count["improvement"],
        config.improvement_batch_size,
        improve,
        improves_policy=True,
        refresh=refresh,
        refresh_every=refresh_every,
        precompute=support if config.support == "dataset" else None,
        precompute_reason="drawing support actions",
    )
    stages: tuple[Stage, ...] = (*first_stages, improvement)
    if config.distill:
        flow_of, alpha = attrgetter("policy.ema"), config.distill_alpha
        last = distillation_stage(count["distill"], config.flow, distillation, flow_of, value_of, alpha)
        stages += (last,)
    return Agent(init, stages, act, flow_parts(config))

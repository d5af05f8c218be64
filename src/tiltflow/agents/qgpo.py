"""Q-guided policy optimisation (QGPO, arXiv 2304.12824): contrastive energy prediction for actions.

A diffusion μ of the data's actions is guided to π(a|s) ∝ μ(a|s)·exp(βQ(s, a)) by a network f(a_t, t, s) that
learns the intermediate energy −E_t up to a constant of each state and time, from M actions a_i ~ μ(·|s):

    L_CEP = −E_s Σ_i softmax_i(βQ'(s, a_i))·log softmax_i f(a_i,t, t, s),
    score of π_t = score of μ_t + s·∇f, with the guidance scale s.

A state's actions a_i,t share one time t; each has noise of its own.

The critic is Q-learning inside the support of μ (critics.py, in-support softmax).

Departs from the paper: the energy network is trained when the critic is finished, instead of beside it;
β is in units of the mean spread of Q over the behaviour's actions of a state (`energy_scale`), as in QIPO,
instead of scaling rewards by domain; the diffusion predicts its velocity and samples by DPM-Solver++ (2M);
networks are plain perceptrons, the critic's normalised layer by layer; support actions are cut off at the
actions' box; the parameters of μ and f are averaged and the step size of μ decays; s is 1, the exact tilt,
where the authors report the best of several.
"""

from dataclasses import asdict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Parts, Stage, split_steps
from tiltflow.agents.baseline_configs import QGPOConfig
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, energy_unit, support_energies
from tiltflow.agents.sampling import play_actions, sample_support
from tiltflow.critics import Critic, init_critic
from tiltflow.data.transitions import Spec
from tiltflow.guidance.energy_prediction import contrast
from tiltflow.guidance.score_shift import Guided, Potential
from tiltflow.networks import TimeNetwork
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step
from tiltflow.paths import PATHS, interpolate
from tiltflow.tilting import effective_sample_size, tilt_weights

SHARES = {"behaviour": 0.5, "critic": 0.3, "energy": 0.2}


class QGPOState(NamedTuple):
    policy: TrainState
    """μ, from which the policy is guided."""
    critic: Critic
    energy: TrainState
    """f."""
    scale: Float[Array, ""]
    """One unit of energy, in units of Q."""


def contrastive_loss(
    potential: Potential,
    key: PRNGKeyArray,
    observations: Float[Array, "n o"],
    actions: Float[Array, "n m a"],
    weights: Float[Array, "n m"],
) -> Float[Array, ""]:
    """L_CEP over the support actions of each state, with M times their softmax as weights, of mean 1."""
    time_key, noise_key = jax.random.split(key)
    n, m, _ = actions.shape
    path = potential.path
    t = jax.random.uniform(time_key, (n, 1), minval=path.start, maxval=path.end)
    t = jnp.broadcast_to(t, (n, m))
    noised = interpolate(path, actions, jax.random.normal(noise_key, actions.shape), t)
    states = jnp.broadcast_to(observations[:, None], (n, m, observations.shape[-1]))
    return contrast(potential.logit(t, noised, states), weights)


def build(config: QGPOConfig, spec: Spec, steps: int) -> Agent:
    """The agent: behaviour, critic (then frozen), energy network."""
    fixed = {name: getattr(config, f"{name}_steps") for name in SHARES}
    count = split_steps(steps, SHARES, fixed)
    behaviour_optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["behaviour"])
    energy_optimizer = optax.adam(config.energy_learning_rate)
    path = PATHS[config.flow.path]

    def init(key: PRNGKeyArray) -> QGPOState:
        flow_key, critic_key = jax.random.split(key)
        network = TimeNetwork(
            jax.random.fold_in(key, 2),
            spec.action_size,
            spec.observation_size,
            outputs=1,
            output_scale=0.1,
            **asdict(config.energy),
        )
        return QGPOState(
            begin(init_flow(flow_key, spec, config.flow), behaviour_optimizer),
            init_critic(critic_key, spec, config.critic),
            begin(Potential(network, jnp.ones(()), path, classifier=False), energy_optimizer),
            jnp.ones(()),
        )

    # The support of each state comes from the behaviour, once; the energy gets its unit.

    def support(state: QGPOState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        observations, M = rows["observations"], config.num_support_actions
        actions = sample_support(state.policy.ema, observations, key, M, spec, config.flow)
        energies = support_energies(state, observations, actions, config)
        return {"support_actions": actions, "support_energies": energies}

    def prepare(state: QGPOState, sample: Columns, key: PRNGKeyArray) -> QGPOState:
        energies = support(state, sample, key)["support_energies"]
        return state._replace(scale=energy_unit(energies, config.energy_scale))

    def learn_energy(state: QGPOState, batch: Columns, key: PRNGKeyArray) -> tuple[QGPOState, Metrics]:
        weights = tilt_weights(batch["support_energies"] / state.scale, config.beta)

        def loss(potential: Potential) -> tuple[Float[Array, ""], Metrics]:
            value = contrastive_loss(potential, key, batch["observations"], batch["support_actions"], weights)
            return value, {"loss": value}

        energy, metrics = gradient_step(state.energy, energy_optimizer, loss, ema=config.flow.ema)
        report = {
            "ess": jnp.mean(effective_sample_size(weights)),
            "q_support": -jnp.mean(batch["support_energies"]),
            "q_weighted": -jnp.mean(batch["support_energies"] * weights),
        }
        return state._replace(energy=energy), {**metrics, **report}

    def guided(state: QGPOState) -> Guided:
        scale = jnp.asarray(config.guidance_scale, jnp.float32)
        return Guided(base=state.policy.ema, potential=state.energy.ema, scale=scale, path=path)

    def act(state: QGPOState, observations: Array, key: PRNGKeyArray) -> Array:
        def value(actions: Float[Array, "n m a"]) -> Float[Array, "n m"]:
            return -support_energies(state, observations, actions, config) / state.scale

        return play_actions(guided(state), observations, key, spec, config.flow, value)

    def parts(state: QGPOState) -> Parts:
        return Parts(guided(state), config.flow, config.critic)

    energy_stage = Stage(
        "energy",
        count["energy"],
        config.energy_batch_size,
        learn_energy,
        improves_policy=True,
        refresh=prepare,
        precompute=support,
        precompute_reason="drawing support actions",
    )
    first_stages = behaviour_and_critic(config, spec, count, behaviour_optimizer)
    return Agent(init, (*first_stages, energy_stage), act, parts)

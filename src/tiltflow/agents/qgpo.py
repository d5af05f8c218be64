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

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Parts, Stage, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, energy_unit, support_energies
from tiltflow.agents.registry import register
from tiltflow.agents.sampling import play_actions, sample_support
from tiltflow.critics import Critic, init_critic
from tiltflow.data.transitions import Spec
from tiltflow.guidance.methods.energy_prediction import contrast
from tiltflow.guidance.score_shift import Guided, Potential, init_potential
from tiltflow.model_settings import BEFORE, DIFFUSION, CriticConfig, FlowConfig, NetworkConfig, check_kind
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step
from tiltflow.paths import interpolate
from tiltflow.settings import Bounds, Count, EnergyScale, NonNegative, check
from tiltflow.tilting import effective_sample_size, tilt_weights


@dataclass(frozen=True)
class QGPOConfig:
    """Q-guided policy optimisation by contrastive energy prediction (arXiv 2304.12824)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="in-support-softmax")
    beta: NonNegative = 1.0
    """Inverse temperature β, in units of `energy_scale`."""
    energy_scale: EnergyScale = "advantage"
    """Unit of E = −Q: the mean spread of Q over the behaviour's actions of a state, or Q's own."""
    num_support_actions: Annotated[int, Bounds(2)] = 16
    """Support actions of each state (M)."""
    energy: NetworkConfig = NetworkConfig()
    energy_batch_size: Count = 64
    """States of one gradient step of the energy network."""
    energy_learning_rate: NonNegative = 3e-4
    """Adam's step size for the energy network."""
    guidance_scale: NonNegative = 1.0
    """s, the factor of the energy's gradient where actions are sampled; 1 is the tilt by β."""
    behaviour_steps: Count | None = None
    """Gradient steps of the behaviour stage; without it a share of --steps."""
    critic_steps: Count | None = None
    """Gradient steps of the critic stage; without it a share of --steps."""
    energy_steps: Count | None = None
    """Gradient steps of the energy stage; without it a share of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "expectile", "in-support-softmax", why=BEFORE)


_SHARES = {"behaviour": 0.5, "critic": 0.3, "energy": 0.2}


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
    fixed = {name: getattr(config, f"{name}_steps") for name in _SHARES}
    count = split_steps(steps, _SHARES, fixed)
    behaviour_optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["behaviour"])
    energy_optimizer = optax.adam(config.energy_learning_rate)

    def init(key: PRNGKeyArray) -> QGPOState:
        flow_key, critic_key = jax.random.split(key)
        sizes = spec.action_size, spec.observation_size
        potential = init_potential(jax.random.fold_in(key, 2), *sizes, config.energy, config.flow.path)
        return QGPOState(
            begin(init_flow(flow_key, spec, config.flow), behaviour_optimizer),
            init_critic(critic_key, spec, config.critic),
            begin(potential, energy_optimizer),
            jnp.ones(()),
        )

    # The support of each state comes from the behaviour, once; the energy gets its unit.

    def support(state: QGPOState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        observations, M = rows["observations"], config.num_support_actions
        actions = sample_support(state.policy.ema, observations, key, M, spec, config.flow)
        energies = support_energies(state.critic, observations, actions, config.critic)
        return {"support_actions": actions, "support_energies": energies}

    def prepare(state: QGPOState, sample: Columns, key: PRNGKeyArray) -> QGPOState:
        energies = support(state, sample, key)["support_energies"]
        return state._replace(scale=energy_unit(energies, config.energy_scale))

    def learn_energy(state: QGPOState, batch: Columns, key: PRNGKeyArray) -> tuple[QGPOState, Metrics]:
        weights = tilt_weights(batch["support_energies"] / state.scale, config.beta)

        def loss(potential: Potential) -> tuple[Float[Array, ""], Metrics]:
            value = contrastive_loss(potential, key, batch["observations"], batch["support_actions"], weights)
            return value, {"loss": value}

        energy, metrics = gradient_step(state.energy, energy_optimizer, loss, step=config.flow.average_step)
        report = {
            "ess": jnp.mean(effective_sample_size(weights)),
            "q_support": -jnp.mean(batch["support_energies"]),
            "q_weighted": -jnp.mean(batch["support_energies"] * weights),
        }
        return state._replace(energy=energy), {**metrics, **report}

    def guided(state: QGPOState) -> Guided:
        scale, base = jnp.asarray(config.guidance_scale, jnp.float32), state.policy.ema
        return Guided(base=base, potential=state.energy.ema, scale=scale, path=base.path)

    def act(state: QGPOState, observations: Array, key: PRNGKeyArray) -> Array:
        def value(actions: Float[Array, "n m a"]) -> Float[Array, "n m"]:
            return -support_energies(state.critic, observations, actions, config.critic) / state.scale

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
    first_stages = behaviour_and_critic(config.flow, config.critic, spec, count, behaviour_optimizer)
    return Agent(init, (*first_stages, energy_stage), act, parts)


register("qgpo", QGPOConfig(flow=DIFFUSION), build, numbers=True)

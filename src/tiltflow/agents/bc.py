"""Behaviour cloning with a flow or diffusion model: the behaviour stage of QIPO and its floor."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Parts, Stage, split_steps
from tiltflow.agents.one_step import (
    OneStep,
    begin_one_step,
    distillation_stage,
    make_one_step,
    play_one_step,
)
from tiltflow.agents.registry import register
from tiltflow.agents.sampling import play_actions
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow, matching_loss, new_flow
from tiltflow.model_settings import DIFFUSION, FlowConfig
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step
from tiltflow.settings import Count, check


@dataclass(frozen=True)
class BCConfig:
    """Behaviour cloning with a generative model: QIPO's first stage alone."""

    flow: FlowConfig = FlowConfig()
    behaviour_steps: Count | None = None
    """Gradient steps of the flow; without it the whole of --steps, or a share where it is distilled."""
    distill: bool = False
    """Distil the flow into a policy of a single step, in a last stage."""
    distill_steps: Count | None = None
    """Gradient steps of the distillation; without it a share of --steps."""

    def __post_init__(self) -> None:
        check(self)


def init_flow(key: PRNGKeyArray, spec: Spec, config: FlowConfig) -> Flow:
    """A fresh generative model of actions given observations."""
    return new_flow(key, spec.action_size, spec.observation_size, config, features=config.time_features)


def make_optimizer(learning_rate: float, decay: str, steps: int) -> optax.GradientTransformation:
    """Adam; with the decay `cosine` its step size falls along half a cosine to zero over `steps`."""
    if decay == "none":
        return optax.adam(learning_rate)
    return optax.adam(optax.cosine_decay_schedule(learning_rate, max(1, steps)))


def behaviour_update(
    policy: TrainState,
    batch: Columns,
    key: PRNGKeyArray,
    config: FlowConfig,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """One step of plain conditional matching on the data's actions (QIPO, Algorithm 2, step 1)."""

    def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
        value = matching_loss(flow, key, batch["actions"], batch["observations"])
        return value, {"loss": value}

    return gradient_step(policy, optimizer, loss, step=config.average_step)


def trained_by(config: FlowConfig) -> dict[str, Any]:
    """The settings that training depends on: all but those of play."""
    return {name: value for name, value in asdict(config).items() if not name.startswith("play")}


def behaviour_stage(
    config: FlowConfig, steps: int, update: Callable[[Any, Columns, PRNGKeyArray], tuple[Any, Metrics]]
) -> Stage:
    """The stage of plain matching, of every agent that begins with one."""
    return Stage(
        "behaviour",
        steps,
        config.batch_size,
        update,
        improves_policy=True,
        owns=("policy",),
        unroll=4,  # on an H100, with 8 seeds: a tenth more steps a second
        depends={"flow": trained_by(config)},
    )


class BCState(NamedTuple):
    policy: TrainState
    one_step: OneStep | None = None


def build(config: BCConfig, spec: Spec, steps: int) -> Agent:
    """The agent: plain matching, and its distillation where wanted; actions come from averaged parameters."""
    shares = {"behaviour": 0.75, "distill": 0.25} if config.distill else {"behaviour": 1.0}
    count = split_steps(steps, shares, {name: getattr(config, f"{name}_steps") for name in shares})
    optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["behaviour"])
    distillation = make_optimizer(config.flow.learning_rate, config.flow.decay, count.get("distill", 1))

    def init(key: PRNGKeyArray) -> BCState:
        flow_key, _ = jax.random.split(key)  # as QIPO does, whose behaviour stage begins with these weights
        policy = begin(init_flow(flow_key, spec, config.flow), optimizer)
        if not config.distill:
            return BCState(policy)
        network = make_one_step(jax.random.fold_in(key, 3), spec, config.flow)
        return BCState(policy, begin_one_step(network, distillation))

    def update(state: BCState, batch: Columns, key: PRNGKeyArray) -> tuple[BCState, Metrics]:
        policy, metrics = behaviour_update(state.policy, batch, key, config.flow, optimizer)
        return state._replace(policy=policy), metrics

    def act(state: BCState, observations: Array, key: PRNGKeyArray) -> Array:
        def of_flow() -> Float[Array, "n a"]:
            return play_actions(state.policy.ema, observations, key, spec, config.flow)

        return play_one_step(state.one_step, observations, key, spec.action_size, of_flow)

    def parts(state: BCState) -> Parts:
        return Parts(state.policy.ema, config.flow)

    stages: tuple[Stage, ...] = (behaviour_stage(config.flow, count["behaviour"], update),)
    if config.distill:
        flow_of = attrgetter("policy.ema")
        stages += (distillation_stage(count["distill"], config.flow, distillation, flow_of, None, 1.0),)
    return Agent(init, stages, act, parts)


register("bc-flow", BCConfig(), build, numbers=True)
register("bc-diffusion", BCConfig(flow=DIFFUSION), build, numbers=True)

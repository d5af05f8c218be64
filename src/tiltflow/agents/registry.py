"""The algorithms by name, with their default configs and the presets of tasks. Standard library only."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from tiltflow.agents.configs import (
    AgentConfig,
    BCConfig,
    FlowConfig,
    FlowQConfig,
    FlowQLConfig,
    QIPOConfig,
)
from tiltflow.errors import UserError, nearest

if TYPE_CHECKING:
    from tiltflow.agents.base import Agent
    from tiltflow.data.transitions import Spec


@dataclass(frozen=True)
class Algorithm:
    """A name on the command line."""

    name: str
    description: str
    config: AgentConfig
    """Its default hyper-parameters."""
    module: str
    """The module whose `build(config, spec, steps)` makes the agent."""


# The score, of which the paper speaks, follows from any prediction. A noise prediction has to resolve x/σ
# near the data: on a bandit whose modes have a standard deviation of 0.15, with equal training, its modes
# have 0.24 where those of a velocity prediction have 0.16.
_DIFFUSION = FlowConfig(path="vp", prediction="velocity", solver="dpm-solver++", num_steps=15)

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "qipo-ot",
            "QIPO on the optimal-transport path: energy-weighted flow matching with Q-weights",
            QIPOConfig(),
            "tiltflow.agents.qipo",
        ),
        Algorithm(
            "qipo-diff",
            "QIPO on the variance-preserving path: energy-weighted diffusion with Q-weights",
            QIPOConfig(flow=_DIFFUSION),
            "tiltflow.agents.qipo",
        ),
        Algorithm(
            "flowq",
            "FlowQ: flow matching guided by the gradient of Q, with a critic of the policy's own actions",
            FlowQConfig(),
            "tiltflow.agents.flowq",
        ),
        Algorithm(
            "flow-ql",
            "Diffusion-QL with a flow: behaviour cloning plus Q, differentiated through the sampler",
            FlowQLConfig(),
            "tiltflow.agents.flow_ql",
        ),
        Algorithm(
            "diffusion-ql",
            "Diffusion-QL: behaviour cloning plus Q, differentiated through the sampler of a diffusion",
            FlowQLConfig(flow=replace(_DIFFUSION, num_steps=5)),
            "tiltflow.agents.flow_ql",
        ),
        Algorithm(
            "bc-flow",
            "behaviour cloning with flow matching: QIPO-OT's first stage alone",
            BCConfig(),
            "tiltflow.agents.bc",
        ),
        Algorithm(
            "bc-diffusion",
            "behaviour cloning with diffusion: QIPO-Diff's first stage alone",
            BCConfig(flow=_DIFFUSION),
            "tiltflow.agents.bc",
        ),
    )
}


def find_algorithm(name: str) -> Algorithm:
    """The algorithm of that name. Raises UserError that suggests the nearest one."""
    if name not in ALGORITHMS:
        raise UserError(
            f"There is no algorithm {name!r}.{nearest(name, ALGORITHMS)} Known: {', '.join(ALGORITHMS)}."
        )
    return ALGORITHMS[name]


def preset(algorithm: str, task: str) -> AgentConfig:
    """The hyper-parameters with which that algorithm starts on that task.

    D4RL's locomotion has dense rewards: the expectile is IQL's for it, 0.7, instead of 0.9 for sparse ones.
    """
    config = find_algorithm(algorithm).config
    if not isinstance(config, BCConfig) and task.startswith("d4rl/") and task.endswith("-v2"):
        return replace(config, critic=replace(config.critic, expectile=0.7))
    return config


def build_agent(algorithm: str, config: AgentConfig, spec: "Spec", steps: int) -> "Agent":
    """The agent of that algorithm, with `steps` gradient steps split over its stages."""
    return import_module(find_algorithm(algorithm).module).build(config, spec, steps)

"""The algorithms by name, with their default configs and the presets of tasks. Standard library only."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from tiltflow.agents.baseline_configs import (
    AgentConfig,
    BestOfNConfig,
    FlowQLConfig,
    FQLConfig,
    IQLConfig,
    QGPOConfig,
    TD3BCConfig,
)
from tiltflow.agents.configs import (
    BCConfig,
    CriticConfig,
    FlowConfig,
    FlowQConfig,
    NetworkConfig,
    QIPOConfig,
)
from tiltflow.agents.presets import Preset, find_preset
from tiltflow.agents.published import ALGORITHMS_WITH_PRESET, published_preset
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

# The classes' own defaults, of which run folders that lack a setting are read, are the published noise of 1.
_SHARP = 0.5

_PLAIN = NetworkConfig(activation="relu")

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "qipo-ot",
            "QIPO on the optimal-transport path: energy-weighted flow matching with Q-weights",
            QIPOConfig(flow=FlowConfig(play_noise=_SHARP), support_noise=_SHARP),
            "tiltflow.agents.qipo",
        ),
        Algorithm(
            "qipo-diff",
            "QIPO on the variance-preserving path: energy-weighted diffusion with Q-weights",
            QIPOConfig(flow=replace(_DIFFUSION, play_noise=_SHARP), support_noise=_SHARP),
            "tiltflow.agents.qipo",
        ),
        Algorithm(
            "flowq",
            "FlowQ: flow matching guided by the gradient of a learned value, with a finished critic",
            FlowQConfig(
                flow=FlowConfig(play_noise=_SHARP),
                critic=CriticConfig(),
                reading="intermediate",
                matched="support",
                support_noise=_SHARP,
                energy_scale="spread",
            ),
            "tiltflow.agents.flowq",
        ),
        Algorithm(
            "qgpo",
            "QGPO: a diffusion guided by a contrastive model of the intermediate energy (CEP)",
            QGPOConfig(flow=_DIFFUSION),
            "tiltflow.agents.qgpo",
        ),
        Algorithm(
            "iql",
            "IQL: an expectile critic and advantage-weighted regression of a Gaussian policy",
            IQLConfig(),
            "tiltflow.agents.iql",
        ),
        Algorithm(
            "fql",
            "FQL: a one-step policy distilled from a behaviour flow and led up Q",
            FQLConfig(),
            "tiltflow.agents.fql",
        ),
        Algorithm(
            "ifql",
            "IFQL: a behaviour flow, IQL's critic, and the best of N actions by Q",
            BestOfNConfig(),
            "tiltflow.agents.ifql",
        ),
        Algorithm(
            "idql",
            "IDQL: a behaviour diffusion, IQL's critic, and the best of N actions by Q",
            BestOfNConfig(flow=_DIFFUSION, num_candidates=64),
            "tiltflow.agents.ifql",
        ),
        Algorithm(
            "td3-bc",
            "TD3+BC: a deterministic policy up Q, held near the data's actions",
            TD3BCConfig(critic=CriticConfig(kind="policy", network=_PLAIN)),
            "tiltflow.agents.td3_bc",
        ),
        Algorithm(
            "rebrac",
            "ReBRAC: TD3+BC with a penalty in the backup too, and layer normalisation",
            TD3BCConfig(
                critic=CriticConfig(kind="policy", network=replace(_PLAIN, layer_norm="after")),
                actor_penalty=0.1,
                critic_penalty=0.01,
                distance="sum",
            ),
            "tiltflow.agents.td3_bc",
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
            FlowQLConfig(flow=replace(_DIFFUSION, num_steps=5), error="noise"),
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


PRESETS = ("ours", "published")
"""Their names: ours is what each task's entry in presets.py says, and the default."""


def named_preset(algorithm: str, task: str, name: str) -> Preset:
    """The preset of that name. Raises UserError where there is none, or none of this algorithm."""
    if name not in PRESETS:
        raise UserError(
            f"There is no preset {name!r}.{nearest(name, PRESETS)} Known: {', '.join(PRESETS)} (ours is the "
            "default)."
        )
    default = find_algorithm(algorithm).config
    if name == "ours":
        return find_preset(algorithm, default, task)
    if not has_published(algorithm):
        raise UserError(
            f"{algorithm} has no preset 'published'; {', '.join(ALGORITHMS_WITH_PRESET)} have one. Leave "
            "--preset out for ours."
        )
    return published_preset(algorithm, default, task)[0]


def has_published(algorithm: str) -> bool:
    """Whether there is a preset `published` of that algorithm."""
    return algorithm in ALGORITHMS_WITH_PRESET


def preset(algorithm: str, task: str, name: str = "ours") -> AgentConfig:
    """The hyper-parameters with which that algorithm starts on that task (presets.py, published.py)."""
    return named_preset(algorithm, task, name).config


def build_agent(algorithm: str, config: AgentConfig, spec: "Spec", steps: int) -> "Agent":
    """The agent of that algorithm, with `steps` gradient steps split over its stages."""
    return import_module(find_algorithm(algorithm).module).build(config, spec, steps)

"""Hyper-parameters of an algorithm on a task, where they differ from its defaults, each with its source.

A preset is either found, in the file or paper that its source names, or ours: then the source says what it
rests on. Numbers that nobody here has read in their source are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from tiltflow.agents.baseline_configs import AgentConfig, BestOfNConfig, FQLConfig, IQLConfig, TD3BCConfig
from tiltflow.agents.configs import BCConfig, FlowConfig, NetworkConfig

_FQL = "FQL's README (seohongpark/fql)"
_VALUE_FLOWS = "Value Flows' README, for the same domain"
_TWIN = "ours: that of Value Flows' README for the domain's visual twin"
_TWIN_995 = f"{_TWIN}, which has a discount of 0.995"
_TWIN_EARLIER = "ours: that of an earlier README of Value Flows for the domain's visual twin"
_TWIN_FQL = "ours: that of FQL's README for the domain's visual twin"
_REBRAC = "ReBRAC's configs (tinkoff-ai/ReBRAC)"


@dataclass(frozen=True)
class Preset:
    """What `config` of an algorithm is on every task whose name begins with `tasks`."""

    algorithm: str
    tasks: str
    config: AgentConfig
    found: bool
    """Whether the values stand in `source`; otherwise they are our choice."""
    source: str
    steps: int | None = None
    """Gradient steps of a training where none are given; None: those of any training."""


class _Domain(NamedTuple):
    """A domain of OGBench: FQL's column is found for all; the others are where a source is named."""

    discount: float
    fql_alpha: float
    fql_aggregate: str
    iql_alpha: float
    iql_source: str | None
    rebrac: tuple[float, float]
    """(actor_penalty, critic_penalty)."""
    rebrac_source: str | None
    candidates: int
    candidates_source: str | None
    fql_source: str = _FQL


# The values without a source are recalled from a table that could not be read again: ours to answer for.
_OGBENCH = {
    "antmaze-large": _Domain(0.99, 10, "min", 10, None, (0.003, 0.01), None, 32, None),
    "antmaze-giant": _Domain(0.995, 10, "min", 10, None, (0.003, 0.01), None, 32, None),
    "humanoidmaze-medium": _Domain(0.995, 30, "mean", 10, _FQL, (0.01, 0.01), _FQL, 32, _FQL),
    "humanoidmaze-large": _Domain(0.995, 30, "mean", 10, None, (0.01, 0.01), None, 32, None),
    "antsoccer-arena": _Domain(0.995, 10, "mean", 1, None, (0.01, 0.01), None, 64, None),
    "cube-single": _Domain(0.99, 300, "mean", 1, _TWIN_FQL, (1, 0), _TWIN_FQL, 32, _TWIN_FQL),
    "cube-double": _Domain(0.99, 300, "mean", 0.3, _TWIN_995, (0.1, 0), _TWIN_995, 32, _TWIN_EARLIER),
    "cube-triple": _Domain(
        0.995, 300, "mean", 10, _VALUE_FLOWS, (0.03, 0), _VALUE_FLOWS, 32, None, fql_source=_VALUE_FLOWS
    ),
    "scene": _Domain(0.99, 300, "mean", 10, _TWIN, (0.1, 0.01), _TWIN_EARLIER, 32, _TWIN_EARLIER),
    "puzzle-3x3": _Domain(0.99, 1000, "mean", 10, _TWIN, (0.3, 0.01), _TWIN_EARLIER, 32, _TWIN_EARLIER),
    "puzzle-4x4": _Domain(0.99, 1000, "mean", 3, None, (0.3, 0.01), None, 32, None),
}
_OURS = "ours, after the settings common for this domain"

# The sources speak of these data sets; others of the domain (noisy, stitch, explore) take their values over.
_DATA = {domain: "navigate" if "maze" in domain or "soccer" in domain else "play" for domain in _OGBENCH}

# (actor_penalty, critic_penalty) of ReBRAC in locomotion. Two more files, walker2d's expert and random, have
# a step size that reads as a slip; antmaze's and adroit's go with rescaled rewards.
_LOCOMOTION = {
    "halfcheetah-expert": (0.01, 0.5),
    "halfcheetah-medium": (0.001, 0.5),
    "halfcheetah-medium-replay": (0.001, 0.1),
    "hopper-medium": (0.01, 0.001),
    "hopper-random": (0.01, 0.5),
    "walker2d-full-replay": (0.01, 0.001),
    "walker2d-medium": (0.05, 0.0),
    "walker2d-medium-expert": (0.01, 0.001),
}

# α of FQL in adroit, with the minimum of the ensemble.
_ADROIT = {
    "pen-human": 10_000,
    "pen-cloned": 10_000,
    "pen-expert": 3_000,
    "door-human": 30_000,
    "door-cloned": 30_000,
    "door-expert": 30_000,
    "hammer-human": 30_000,
    "hammer-cloned": 10_000,
    "hammer-expert": 30_000,
    "relocate-human": 10_000,
    "relocate-cloned": 30_000,
    "relocate-expert": 30_000,
}


def presets(algorithm: str, default: AgentConfig) -> Iterator[Preset]:
    """The presets of an algorithm with these defaults, the more special ones first."""
    for domain, row in _OGBENCH.items():
        preset = _of_domain(algorithm, domain, row, default)
        yield replace(preset, tasks=f"{preset.tasks}{_DATA[domain]}-")
        source = f"ours: that of the domain's {_DATA[domain]} data" if preset.found else preset.source
        yield replace(preset, found=False, source=source)
    if isinstance(default, FQLConfig):
        for name, alpha in _ADROIT.items():
            config = _with_critic(default, aggregate="min", network=_of_critic(default.critic.network))
            config = replace(config, flow=_gelu_flow(config.flow), alpha=float(alpha), normalize_q=False)
            yield Preset(algorithm, f"d4rl/{name}-", config, True, _FQL)
    if isinstance(default, TD3BCConfig) and algorithm == "rebrac":
        for name, (of_actor, of_critic) in _LOCOMOTION.items():
            config = _with_critic(default, learning_rate=1e-3, batch_size=1024)
            actor = replace(default.actor, learning_rate=1e-3, batch_size=1024)
            config = replace(config, actor=actor, actor_penalty=of_actor, critic_penalty=of_critic)
            yield Preset(algorithm, f"d4rl/{name}-v", config, True, _REBRAC)
    if not isinstance(default, BCConfig) and default.critic.kind == "expectile":
        for robot in ("hopper", "halfcheetah", "walker2d", "ant"):
            source = "ours: IQL's expectile for dense rewards, for every agent that has one"
            config = _with_critic(default, expectile=0.7)
            yield Preset(algorithm, f"d4rl/{robot}-", config, False, source)


def _of_domain(algorithm: str, domain: str, row: _Domain, default: AgentConfig) -> Preset:
    tasks = f"ogbench/{domain}-"
    if isinstance(default, BCConfig):
        return Preset(algorithm, tasks, default, False, "ours: the defaults")
    base = _with_critic(default, discount=row.discount, network=_of_critic(default.critic.network))
    match base:
        case FQLConfig():
            config = _with_critic(base, aggregate=row.fql_aggregate)
            config = replace(config, flow=_gelu_flow(config.flow), alpha=float(row.fql_alpha))
            return _sourced(algorithm, tasks, replace(config, normalize_q=False), row.fql_source)
        case IQLConfig():
            actor = replace(base.actor, network=_gelu(base.actor.network))
            config = replace(base, actor=actor, alpha=float(row.iql_alpha), energy_scale="none")
            return _sourced(algorithm, tasks, config, row.iql_source)
        case TD3BCConfig() if algorithm == "rebrac":
            of_actor, of_critic = row.rebrac
            config = replace(base, actor_penalty=float(of_actor), critic_penalty=float(of_critic))
            config = replace(config, actor=replace(base.actor, network=_gelu(base.actor.network)))
            return _sourced(algorithm, tasks, config, row.rebrac_source)
        case BestOfNConfig() if algorithm == "ifql":
            config = replace(base, flow=_gelu_flow(base.flow), num_candidates=row.candidates)
            return _sourced(algorithm, tasks, config, row.candidates_source)
    return Preset(
        algorithm,
        tasks,
        base,
        False,
        "ours: the defaults, with FQL's discount and the non-linearity of its critics",
    )


def _sourced(algorithm: str, tasks: str, config: AgentConfig, source: str | None) -> Preset:
    source = source or _OURS
    return Preset(algorithm, tasks, config, not source.startswith("ours"), source)


# All networks of FQL's code, its own and those of its baselines, have this non-linearity; its critics' hidden
# layers are normalised behind it. td3-bc, from which rebrac differs in this, stays without.
def _of_critic(network: NetworkConfig) -> NetworkConfig:
    normalised = network.layer_norm != "none"
    return replace(_gelu(network), layer_norm="after" if normalised else "none")


def _gelu(network: NetworkConfig) -> NetworkConfig:
    return replace(network, activation="gelu")


def _gelu_flow(flow: FlowConfig) -> FlowConfig:
    return replace(flow, network=_gelu(flow.network))


def _with_critic(config: Any, **changes: Any) -> Any:
    return replace(config, critic=replace(config.critic, **changes))


@cache
def _table(algorithm: str, default: AgentConfig) -> tuple[Preset, ...]:
    return tuple(presets(algorithm, default))


def find_preset(algorithm: str, default: AgentConfig, task: str) -> Preset:
    """The preset of an algorithm, whose defaults are given, on a task; the defaults where there is none."""
    found = (preset for preset in _table(algorithm, default) if task.startswith(preset.tasks))
    return next(found, Preset(algorithm, "", default, False, "ours: the defaults"))

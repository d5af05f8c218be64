"""Hyper-parameters of an algorithm on a task, where they differ from its defaults, each with its source.

A preset is either found, in the file or paper that its source names, or ours: then the source says what it
rests on. A number that nobody here has read in its source is ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from tiltflow.model_settings import CriticConfig
from tiltflow.settings import override

_FQL = "FQL's README (seohongpark/fql)"
_VALUE_FLOWS = "Value Flows' README, for the same domain"
_TWIN = "ours: that of Value Flows' README for the domain's visual twin"
_TWIN_995 = f"{_TWIN}, which has a discount of 0.995"
_TWIN_EARLIER = "ours: that of an earlier README of Value Flows for the domain's visual twin"
_TWIN_FQL = "ours: that of FQL's README for the domain's visual twin"
_REBRAC = "ReBRAC's configs (tinkoff-ai/ReBRAC)"


@dataclass(frozen=True)
class Preset:
    """What an algorithm has on every task whose name begins with `tasks`."""

    algorithm: str
    tasks: str
    default: Any
    """The algorithm's own settings."""
    rows: Mapping[str, Any]
    """The others, as `--set` takes them."""
    source: str
    """Where the values stand; it begins with "ours" where they are our choice."""
    steps: int | None = None
    """Gradient steps of a training where none are given; None: those of any training."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The source of each row, where they have several."""
    evaluations: int | None = None
    """Evaluations of the last stage where none are given; None: those of any training."""

    @cached_property
    def config(self) -> Any:
        """The settings."""
        return override(self.default, self.rows)

    @property
    def found(self) -> bool:
        """Whether the values have been read in the source."""
        return not self.source.startswith("ours")


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


def presets(algorithm: str, default: Any) -> Iterator[Preset]:
    """The presets of an algorithm with these default settings, the more special ones first."""
    for domain, row in _OGBENCH.items():
        rows, source = _of_domain(algorithm, row)
        rows = _of_critic(default, row.discount) | rows
        tasks, source = f"ogbench/{domain}-", source if rows else "ours: the defaults"
        found = Preset(algorithm, f"{tasks}{_DATA[domain]}-", default, rows, source)
        yield found
        source = f"ours: that of the domain's {_DATA[domain]} data" if found.found else source
        yield replace(found, tasks=tasks, source=source)
    if algorithm == "fql":
        for name, alpha in _ADROIT.items():
            rows = _of_critic(default) | _of_fql("min", alpha)
            yield Preset(algorithm, f"d4rl/{name}-", default, rows, _FQL)
    if algorithm == "rebrac":
        for name, (of_actor, of_critic) in _LOCOMOTION.items():
            rows = {"actor_penalty": of_actor, "critic_penalty": of_critic}
            rows |= {f"{part}.learning_rate": 1e-3 for part in ("actor", "critic")}
            rows |= {f"{part}.batch_size": 1024 for part in ("actor", "critic")}
            yield Preset(algorithm, f"d4rl/{name}-v", default, rows, _REBRAC)
    critic = getattr(default, "critic", None)
    if isinstance(critic, CriticConfig) and critic.kind == "expectile":
        for robot in ("hopper", "halfcheetah", "walker2d", "ant"):
            source = "ours: IQL's expectile for dense rewards, for every agent that has one"
            yield Preset(algorithm, f"d4rl/{robot}-", default, {"critic.expectile": 0.7}, source)


def _of_domain(algorithm: str, row: _Domain) -> tuple[dict[str, Any], str]:
    """What an algorithm has in a domain besides its critic's discount and non-linearity, and the source."""
    match algorithm:
        case "fql":
            return _of_fql(row.fql_aggregate, row.fql_alpha), row.fql_source
        case "iql":
            rows = {"alpha": float(row.iql_alpha), "energy_scale": "none"}
            return rows | {"actor.network.activation": "gelu"}, row.iql_source or _OURS
        case "rebrac":
            rows = dict(zip(("actor_penalty", "critic_penalty"), map(float, row.rebrac), strict=True))
            return rows | {"actor.network.activation": "gelu"}, row.rebrac_source or _OURS
        case "ifql":
            rows = {"num_candidates": row.candidates, "flow.network.activation": "gelu"}
            return rows, row.candidates_source or _OURS
    return {}, "ours: the defaults, with FQL's discount and the non-linearity of its critics"


def _of_fql(aggregate: str, alpha: float) -> dict[str, Any]:
    rows = {"alpha": float(alpha), "normalize_q": False, "critic.aggregate": aggregate}
    return rows | {"flow.network.activation": "gelu"}


def _of_critic(default: Any, discount: float | None = None) -> dict[str, Any]:
    """FQL's critic in the place of an algorithm's own; nothing where that has none.

    All networks of FQL's code, its own and those of its baselines, have this non-linearity; its critics'
    hidden layers are normalised behind it. td3-bc, from which rebrac differs in this, stays without.
    """
    critic = getattr(default, "critic", None)
    if not isinstance(critic, CriticConfig):
        return {}
    rows: dict[str, Any] = {"critic.network.activation": "gelu"}
    if critic.network.layer_norm != "none":
        rows["critic.network.layer_norm"] = "after"
    return rows if discount is None else rows | {"critic.discount": discount}


def find_preset(algorithm: str, default: Any, task: str) -> Preset:
    """The preset of an algorithm, whose defaults are given, on a task; the defaults where there is none."""
    found = (preset for preset in presets(algorithm, default) if task.startswith(preset.tasks))
    return next(found, Preset(algorithm, "", default, {}, "ours: the defaults"))

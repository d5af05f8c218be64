"""Choices and numbers of every config: which words and which values there are, and the one check of both.

A choice is a `Literal`, defined here and nowhere else; the mathematics and the configs import it. A number's
bounds stand in its field's type (`width: Count`). `check(config)` refuses whatever a type does not allow,
wherever the value comes from: the command line, Python or a JSON file. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from math import inf
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tiltflow.errors import UserError, nearest

# Networks, paths and samplers.
Activation = Literal["relu", "silu", "gelu", "mish"]
LayerNorm = Literal["none", "before", "after"]
PathName = Literal["ot", "ot-clipped", "vp", "cosine"]
FitPrediction = Literal["velocity", "noise", "data"]
Prediction = Literal[FitPrediction, "score"]
FixedStep = Literal["euler", "midpoint", "heun", "rk4"]
SolverName = Literal[FixedStep, "dpm-solver++"]
Decay = Literal["cosine", "none"]
Play = Literal["draw", "mean-shift"]

# Critics.
CriticKind = Literal["in-support-softmax", "expectile", "policy"]
Aggregate = Literal["min", "mean", "pessimistic"]
Rewards = Literal["recorded", "minus-one", "return-range"]
EnergyScale = Literal["advantage", "none"]

# QIPO.
Auto = Literal["auto"]
SupportDraws = Literal["dataset", "batch"]
Reference = Literal["mixture", "current", "behaviour", "data"]
Baseline = Literal["support", "value"]
SupportWeights = Literal["sampled", "loss-weights"]
ImprovementKind = Literal["weighted", "tilted-path"]
Shares = Literal["3:2:3", "6:5:1"]

# FlowQ, as an agent and as a method of `guide`.
FitReading = Literal["velocity", "path"]
Reading = Literal[FitReading, "clean", "intermediate", "shift"]
Matched = Literal["data", "support"]
FixedScheduleName = Literal["linear", "quadratic", "rational"]
ScheduleName = Literal[FixedScheduleName, "learned"]
VelocityFactor = Literal["score", "raw"]
QScale = Literal["spread", "size"]

# The other agents, and guidance at test time.
MatchingError = Literal["prediction", "noise"]
Distance = Literal["mean", "sum"]
GuidanceName = Literal["best-of-n", "gradient", "clean-gradient", "jacobian-gradient"]

# Methods of `guide` and sets of `toy`.
RowWeights = Literal["data", "batch", "sampled"]
Contrast = Literal["contrastive", "mse", "emse"]
EnergyLevel = Literal["fitted", "none"]
TransformName = Literal["none", "whiten", "quantile", "lattice"]
SetName = Literal["swissroll", "8gaussians", "moons", "rings", "checkerboard", "2spirals"]

# Runs.
Parallel = Literal["auto", "process", "vmap", "shard"]
Objective = Literal["estimate", "loss", "return"]
"""What a sweep goes by: the estimate of the return from recorded episodes, the matching loss on held-out
episodes, or the return (or success) of played ones."""
Sampler = Literal["tpe", "random"]
"""Who chooses the configurations of a sweep: the tree-structured Parzen estimator, or chance."""
DataPlace = Literal["auto", "device", "host"]
Precision = Literal["auto", "float32", "tf32", "bf16"]
ExportFormat = Literal["jax", "onnx"]
LoggerName = Literal["tensorboard", "wandb"]


@dataclass(frozen=True)
class Bounds:
    """The finite numbers from `low` to `high`; `ends` says which of the two belong to them, as in "[)"."""

    low: float
    high: float = inf
    ends: Literal["()", "[)", "(]", "[]"] = "[)"

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        below = value <= self.high if self.ends[1] == "]" else value < self.high
        return above and below

    def __str__(self) -> str:
        if self.high < inf:
            return f"in {self.ends[0]}{self.low:.10g}, {self.high:.10g}{self.ends[1]}"
        return f"of at least {self.low:.10g}" if self.ends[0] == "[" else f"above {self.low:.10g}"


Count = Annotated[int, Bounds(1)]
"""1, 2, 3, …"""
SolverSteps = Annotated[int, Bounds(1, 10_000, ends="[]")]
"""1, 2, 3, …; more would not compile in any time."""
NonNegative = Annotated[float, Bounds(0)]
Positive = Annotated[float, Bounds(0, ends="()")]
Fraction = Annotated[float, Bounds(0, 1, ends="[]")]
"""A number in [0, 1]."""
InnerFraction = Annotated[float, Bounds(0, 1, ends="()")]
"""A number in (0, 1)."""
AverageDecay = Annotated[float, Bounds(0, 1, ends="[)")]
"""A number in [0, 1): how much of itself an average keeps at a step."""
AverageStep = Annotated[float, Bounds(0, 1, ends="(]")]
"""A number in (0, 1]: how far an average goes in a step."""


class RefusedSetting(UserError):
    """A value that its field does not allow."""

    def __init__(self, field: str, text: str):
        super().__init__(text)
        self.field = field


C = TypeVar("C")
_WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}


def check(config: Any) -> None:
    """Check every field of the dataclass `config` against its type, with the bounds of its `Annotated`.

    True is no number, and 2.0 no whole number; a whole number is a number. Raises RefusedSetting that names
    the field, its value, what it may be and the nearest choice.
    """
    kind: type = type(config)
    hints = field_types(kind)
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if not _allows(hint, value):
            close = nearest(value, _choices(hint)) if isinstance(value, str) else ""
            text = f"{field.name} = {value!r}: it must be {_expected(hint)}.{close}"
            raise RefusedSetting(field.name, text)


def override(config: C, rows: Mapping[str, Any]) -> C:
    """The config with other values: {"alpha": 300.0, "critic.aggregate": "mean"}, keys as `--set` takes them.

    All values are set at once, for some suit each other alone. Raises UserError for a key that there is not,
    with the nearest, and RefusedSetting for a value.
    """
    values: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in rows.items():
        name, _, rest = key.replace("-", "_").partition(".")
        known = [field.name for field in fields(config)]  # type: ignore[arg-type]
        if name not in known or (rest and not is_dataclass(getattr(config, name))):
            raise UserError(f"{type(config).__name__} has no setting {key!r}.{nearest(key, flat(config))}")
        if rest:
            parts.setdefault(name, {})[rest] = value
        else:
            values[name] = value
    values |= {name: override(values.get(name, getattr(config, name)), part) for name, part in parts.items()}
    return replace(config, **values)  # type: ignore[type-var]


@cache
def field_types(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, with their bounds."""
    return get_type_hints(kind, include_extras=True)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union; otherwise the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def bounds_of(hint: Any) -> Bounds | None:
    """The bounds beside a number's type, where it has some."""
    own = hint.__metadata__ if get_origin(hint) is Annotated else ()
    return next((extra for extra in own if isinstance(extra, Bounds)), None)


def _allows(hint: Any, value: Any) -> bool:
    if get_origin(hint) is Annotated:
        bounds = bounds_of(hint)
        return _allows(hint.__origin__, value) and (bounds is None or value in bounds)
    if len(members := alternatives(hint)) > 1:
        return any(_allows(member, value) for member in members)
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint in (int, float):
        allowed = int if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool) and -inf < value < inf
    return hint is Any or isinstance(value, hint)


def _expected(hint: Any) -> str:
    """What a value of this type must be, in words."""
    if get_origin(hint) is Annotated:
        bounds = bounds_of(hint)
        return _expected(hint.__origin__) + (f" {bounds}" if bounds else "")
    if len(members := alternatives(hint)) > 1:
        return ", or ".join(_expected(member) for member in members)
    if get_origin(hint) is Literal:
        words = get_args(hint)
        return f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    return "None" if hint is NoneType else _WORDS.get(hint, f"a {hint.__name__}")


def _choices(hint: Any) -> list[str]:
    return [
        word for member in alternatives(hint) if get_origin(member) is Literal for word in get_args(member)
    ]


def flat(config: Any) -> dict[str, Any]:
    """The leaves of a config, or of its record, by dotted key: {"critic.aggregate": "mean"}."""
    record = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    leaves: dict[str, Any] = {}
    for key, value in record.items():
        inner = flat(value) if isinstance(value, dict) else None
        leaves |= {key: value} if inner is None else {f"{key}.{name}": leaf for name, leaf in inner.items()}
    return leaves


def diff(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configs or records differ, each with both values; None where missing."""
    one, other = flat(before), flat(after)
    pairs = {key: (one.get(key), other.get(key)) for key in one | other}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def diff_text(changes: dict[str, tuple[Any, Any]]) -> str:
    """A `diff` in words: "beta: 1.0 ≠ 3.0; seeds: 1 ≠ 2"."""
    return "; ".join(f"{key}: {before!r} ≠ {after!r}" for key, (before, after) in changes.items())

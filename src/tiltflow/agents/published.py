"""The preset `published`: an algorithm's hyper-parameters as a source gives them, each value with its source.

Where a source begins with "found", the value has been read there; otherwise it is ours, and says why. What
these presets cannot set, because nothing here does it, stands in the docstrings of qipo.py and flow_ql.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tiltflow.agents.baseline_configs import AgentConfig
from tiltflow.agents.presets import Preset

ALGORITHMS_WITH_PRESET = ("qipo-ot", "qipo-diff", "diffusion-ql")


_QIPO_NAME = "a public repository that adapts code of the paper, provenance inferred"
_QIPO = f"found: {_QIPO_NAME}"
_NOT_SAID = "ours: the source does not say"
_DIFFUSION_QL_NAME = "Diffusion-QL's code (Zhendong-Wang/Diffusion-Policies-for-Offline-RL)"
_DIFFUSION_QL = f"found: {_DIFFUSION_QL_NAME}"


@dataclass(frozen=True)
class Setting:
    """A field of an agent's config, by the name that `--set.` takes with _ for -, and its value."""

    key: str
    value: Any
    source: str


_OF_QIPO = (
    # Stage 1: behaviour. 600,000 steps of 1,200,000 (`shares`).
    Setting("shares", "6:5:1", _QIPO),
    Setting("flow.prediction", "noise", _QIPO),
    Setting("flow.learning_rate", 1e-4, _QIPO),
    Setting("flow.batch_size", 4096, _QIPO),
    Setting("flow.decay", "none", f"{_NOT_SAID}; it speaks of Adam alone"),
    Setting("flow.ema", 0.995, "ours: the found rate of the copy that support is drawn from"),
    # Sampling.
    Setting("flow.solver", "dpm-solver++", _QIPO),
    Setting("flow.num_steps", 15, _QIPO),
    Setting("flow.play", "draw", _QIPO),
    Setting("flow.play_noise", 1.0, _QIPO),
    # Stage 2: critic, 500,000 steps.
    Setting("critic.kind", "in-support-softmax", _QIPO),
    Setting("critic.ensemble", 2, _QIPO),
    Setting("critic.aggregate", "min", _QIPO),
    Setting("critic.network.width", 256, _QIPO),
    Setting("critic.network.depth", 3, _QIPO),
    Setting("critic.network.activation", "relu", _QIPO),
    Setting("critic.network.layer_norm", "none", _QIPO),
    Setting("critic.learning_rate", 3e-4, _QIPO),
    Setting("critic.batch_size", 256, _QIPO),
    Setting("critic.discount", 0.99, _QIPO),
    Setting("critic.tau", 0.005, _QIPO),
    Setting("critic.num_support_actions", 64, _QIPO),
    # Stage 3: improvement, 100,000 steps.
    Setting("beta", 3.0, _QIPO),
    Setting("annealed", False, _QIPO),
    Setting("energy_scale", "none", _QIPO),
    Setting("num_support_actions", 64, _QIPO),
    Setting("include_data_action", False, _QIPO),
    Setting("data_share", None, _QIPO),
    Setting("support", "dataset", _QIPO),
    Setting("reference", "current", _QIPO),
    Setting("baseline", "support", _QIPO),
    Setting("support_noise", 1.0, _QIPO),
    Setting("refresh_every", 10_000, _QIPO),
    Setting("weights", "loss-weights", _QIPO),
    Setting("improvement", "weighted", _QIPO),
    Setting("improvement_batch_size", 256, _QIPO),
    Setting("improvement_learning_rate", 1e-4, f"{_NOT_SAID}; that of stage 1"),
    Setting("improvement_ema", 0.995, _QIPO),
)
_PATH = {
    "qipo-ot": Setting("flow.path", "ot-clipped", f"{_QIPO}; where it begins is ours (paths.py)"),
    "qipo-diff": Setting("flow.path", "vp", _QIPO),
}
_ANTMAZE = (
    Setting("critic.beta", 20.0, _QIPO),
    Setting("critic.rewards", "minus-one", _QIPO),
)
_LOCOMOTION = (
    Setting("critic.beta", 1.0, _QIPO),
    Setting("critic.rewards", "return-range", _QIPO),
)
_ELSEWHERE = (
    Setting("critic.beta", 1.0, "ours: what the source has outside antmaze"),
    Setting("critic.rewards", "recorded", "ours: the source has no such task"),
)
_QIPO_STEPS = 1_200_000
_ROBOTS = ("hopper", "halfcheetah", "walker2d")

_OF_DIFFUSION_QL = (
    Setting("num_candidates", 50, f"{_DIFFUSION_QL}, which draws one by softmax of Q instead of the best"),
    Setting("flow.network.activation", "mish", _DIFFUSION_QL),
    Setting("flow.network.width", 256, _DIFFUSION_QL),
    Setting("flow.network.depth", 3, _DIFFUSION_QL),
    Setting("flow.num_steps", 5, _DIFFUSION_QL),
    Setting("flow.batch_size", 256, _DIFFUSION_QL),
    Setting("flow.decay", "cosine", f"{_DIFFUSION_QL}, by the option of its README"),
    Setting("flow.ema", 0.999, f"{_DIFFUSION_QL}: 0.995 at every fifth step"),
    Setting("critic.ensemble", 2, _DIFFUSION_QL),
    Setting("critic.aggregate", "min", _DIFFUSION_QL),
    Setting("critic.network.activation", "mish", _DIFFUSION_QL),
    Setting("critic.network.layer_norm", "none", _DIFFUSION_QL),
    Setting("critic.network.width", 256, _DIFFUSION_QL),
    Setting("critic.network.depth", 3, _DIFFUSION_QL),
    Setting("critic.learning_rate", 3e-4, _DIFFUSION_QL),
    Setting("critic.batch_size", 256, _DIFFUSION_QL),
    Setting("critic.discount", 0.99, _DIFFUSION_QL),
    Setting("critic.tau", 0.005, _DIFFUSION_QL),
)


class _Row(NamedTuple):
    """A task of Diffusion-QL's code, whose rewards are left as they are but for adroit."""

    learning_rate: float
    eta: float
    grad_norm: float
    steps: int


_DIFFUSION_QL_TASKS = {
    "d4rl/halfcheetah-medium-v2": _Row(3e-4, 1.0, 9.0, 2_000_000),
    "d4rl/hopper-medium-v2": _Row(3e-4, 1.0, 9.0, 2_000_000),
    "d4rl/walker2d-medium-v2": _Row(3e-4, 1.0, 1.0, 2_000_000),
    "d4rl/halfcheetah-medium-replay-v2": _Row(3e-4, 1.0, 2.0, 2_000_000),
    "d4rl/hopper-medium-replay-v2": _Row(3e-4, 1.0, 4.0, 2_000_000),
    "d4rl/walker2d-medium-replay-v2": _Row(3e-4, 1.0, 4.0, 2_000_000),
    "d4rl/halfcheetah-medium-expert-v2": _Row(3e-4, 1.0, 7.0, 2_000_000),
    "d4rl/hopper-medium-expert-v2": _Row(3e-4, 1.0, 5.0, 2_000_000),
    "d4rl/walker2d-medium-expert-v2": _Row(3e-4, 1.0, 5.0, 2_000_000),
    "d4rl/pen-human-v1": _Row(3e-5, 0.15, 7.0, 1_000_000),
    "d4rl/pen-cloned-v1": _Row(3e-5, 0.1, 8.0, 1_000_000),
}
_OTHER_TASK = _Row(3e-4, 1.0, 5.0, 1_000_000)


def published_preset(algorithm: str, default: AgentConfig, task: str) -> tuple[Preset, tuple[Setting, ...]]:
    """The preset of an algorithm, whose defaults are given, on a task, and what it sets."""
    if algorithm == "diffusion-ql":
        settings, steps, found, source = _diffusion_ql(task)
    else:
        settings, steps, found, source = _qipo(algorithm, task)
    config = with_settings(default, {setting.key: setting.value for setting in settings})
    return Preset(algorithm, task, config, found, source, steps), settings


def _qipo(algorithm: str, task: str) -> tuple[tuple[Setting, ...], int, bool, str]:
    own = _ELSEWHERE
    if task.startswith(("d4rl/", "minari/")):  # OGBench has an antmaze of its own, with costs for rewards
        if "antmaze" in task:
            own = _ANTMAZE
        elif any(robot in task for robot in _ROBOTS):
            own = _LOCOMOTION
    found = own is not _ELSEWHERE and task.startswith(("d4rl/", "minari/D4RL/"))
    source = _QIPO_NAME if found else f"ours for this task, after {_QIPO_NAME}"
    return (_PATH[algorithm], *_OF_QIPO, *own), _QIPO_STEPS, found, source


def _diffusion_ql(task: str) -> tuple[tuple[Setting, ...], int, bool, str]:
    found = task in _DIFFUSION_QL_TASKS
    row = _DIFFUSION_QL_TASKS.get(task, _OTHER_TASK)
    source = _DIFFUSION_QL if found else "ours: the middle of what Diffusion-QL's code has in locomotion"
    own = (
        Setting("flow.learning_rate", row.learning_rate, source),
        Setting("eta", row.eta, source),
        Setting("grad_norm", row.grad_norm, f"{source}; the critic's gradients are not clipped here"),
    )
    after = _DIFFUSION_QL_NAME if found else f"ours for this task, after {_DIFFUSION_QL_NAME}"
    return (*_OF_DIFFUSION_QL, *own), row.steps, found, after


def with_settings(config: Any, settings: Mapping[str, Any]) -> Any:
    """The config with other values in those dotted fields, all at once: some suit each other alone."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        field, _, rest = key.partition(".")
        if rest:
            inner.setdefault(field, {})[rest] = value
        else:
            own[field] = value
    own |= {field: with_settings(getattr(config, field), part) for field, part in inner.items()}
    return replace(config, **own)

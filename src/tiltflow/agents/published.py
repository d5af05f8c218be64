"""The preset `published`: an algorithm's hyper-parameters as a source gives them, each value with its source.

Where a source begins with "found", the value has been read there; otherwise it is ours, and says why. What
these presets cannot set, because nothing here does it, stands in the docstrings of qipo.py and flow_ql.py.
"""

from typing import Any, NamedTuple

from tiltflow.agents.presets import Preset

_Rows = dict[str, Any]

ALGORITHMS_WITH_PRESET = ("qipo-ot", "qipo-diff", "diffusion-ql")

_QIPO_NAME = "a public repository that adapts code of the paper, provenance inferred"
_QIPO = f"found: {_QIPO_NAME}"
_NOT_SAID = "ours: the source does not say"
_DIFFUSION_QL_NAME = "Diffusion-QL's code (Zhendong-Wang/Diffusion-Policies-for-Offline-RL)"
_DIFFUSION_QL = f"found: {_DIFFUSION_QL_NAME}"

_OF_QIPO: _Rows = {
    # Stage 1: behaviour. 600,000 steps of 1,200,000 (`shares`).
    "shares": "6:5:1",
    "flow.prediction": "noise",
    "flow.learning_rate": 1e-4,
    "flow.batch_size": 4096,
    "flow.decay": "none",
    "flow.ema": 0.995,
    # Sampling.
    "flow.solver": "dpm-solver++",
    "flow.num_steps": 15,
    "flow.play": "draw",
    "flow.play_noise": 1.0,
    # Stage 2: critic, 500,000 steps.
    "critic.kind": "in-support-softmax",
    "critic.ensemble": 2,
    "critic.aggregate": "min",
    "critic.network.width": 256,
    "critic.network.depth": 3,
    "critic.network.activation": "relu",
    "critic.network.layer_norm": "none",
    "critic.learning_rate": 3e-4,
    "critic.batch_size": 256,
    "critic.discount": 0.99,
    "critic.tau": 0.005,
    "critic.num_support_actions": 64,
    # Stage 3: improvement, 100,000 steps.
    "beta": 3.0,
    "annealed": False,
    "energy_scale": "none",
    "num_support_actions": 64,
    "include_data_action": False,
    "data_share": None,
    "support": "dataset",
    "reference": "current",
    "baseline": "support",
    "support_noise": 1.0,
    "refresh_every": 10_000,
    "weights": "loss-weights",
    "improvement": "weighted",
    "improvement_batch_size": 256,
    "improvement_learning_rate": 1e-4,
    "improvement_ema": 0.995,
}
_ANTMAZE: _Rows = {"critic.beta": 20.0, "critic.rewards": "minus-one"}
_LOCOMOTION: _Rows = {"critic.beta": 1.0, "critic.rewards": "return-range"}
_ELSEWHERE: _Rows = {"critic.beta": 1.0, "critic.rewards": "recorded"}
_NOT_OF_QIPO = {
    "critic.beta": "ours: what the source has outside antmaze",
    "critic.rewards": "ours: the source has no such task",
}
_QIPO_STEPS = 1_200_000
# Ours: three after the last of the ten refreshes, each of which adds to β. The score is of policies at one β.
_QIPO_EVALUATIONS = 30
_ROBOTS = ("hopper", "halfcheetah", "walker2d")

_OF_DIFFUSION_QL: _Rows = {
    "num_candidates": 50,
    "flow.network.activation": "mish",
    "flow.network.width": 256,
    "flow.network.depth": 3,
    "flow.num_steps": 5,
    "flow.batch_size": 256,
    "flow.decay": "cosine",
    "flow.ema": 0.999,
    "critic.ensemble": 2,
    "critic.aggregate": "min",
    "critic.network.activation": "mish",
    "critic.network.layer_norm": "none",
    "critic.network.width": 256,
    "critic.network.depth": 3,
    "critic.learning_rate": 3e-4,
    "critic.batch_size": 256,
    "critic.discount": 0.99,
    "critic.tau": 0.005,
}


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


# Where a value is not of the source that its preset names.
_OTHER_SOURCES = {
    "qipo": {
        "flow.path": f"{_QIPO}; where its clipped path begins is ours (paths.py)",
        "flow.decay": f"{_NOT_SAID}; it speaks of Adam alone",
        "flow.ema": "ours: the found rate of the copy that support is drawn from",
        "improvement_learning_rate": f"{_NOT_SAID}; that of stage 1",
    },
    "diffusion-ql": {
        "num_candidates": f"{_DIFFUSION_QL}, which draws one by softmax of Q instead of the best",
        "flow.decay": f"{_DIFFUSION_QL}, by the option of its README",
        "flow.ema": f"{_DIFFUSION_QL}: 0.995 at every fifth step",
        "grad_norm": f"{_DIFFUSION_QL}; the critic's gradients are not clipped here",
    },
}


def published_preset(algorithm: str, default: Any, task: str) -> Preset:
    """The published preset of an algorithm, whose default settings are given, on a task."""
    return (_diffusion_ql if algorithm == "diffusion-ql" else _qipo)(algorithm, default, task)


def _qipo(algorithm: str, default: Any, task: str) -> Preset:
    own = _ELSEWHERE
    if task.startswith(("d4rl/", "minari/")):  # OGBench has an antmaze of its own, with costs for rewards
        if "antmaze" in task:
            own = _ANTMAZE
        elif any(robot in task for robot in _ROBOTS):
            own = _LOCOMOTION
    found = own is not _ELSEWHERE and task.startswith(("d4rl/", "minari/D4RL/"))
    rows = {"flow.path": "ot-clipped" if algorithm == "qipo-ot" else "vp", **_OF_QIPO, **own}
    sources = dict.fromkeys(rows, _QIPO) | _OTHER_SOURCES["qipo"]
    if own is _ELSEWHERE:
        sources |= _NOT_OF_QIPO
    source = _QIPO_NAME if found else f"ours for this task, after {_QIPO_NAME}"
    return Preset(algorithm, task, default, rows, source, _QIPO_STEPS, sources, _QIPO_EVALUATIONS)


def _diffusion_ql(algorithm: str, default: Any, task: str) -> Preset:
    found = task in _DIFFUSION_QL_TASKS
    row = _DIFFUSION_QL_TASKS.get(task, _OTHER_TASK)
    own = {"flow.learning_rate": row.learning_rate, "eta": row.eta, "grad_norm": row.grad_norm}
    sources = dict.fromkeys(_OF_DIFFUSION_QL | own, _DIFFUSION_QL) | _OTHER_SOURCES["diffusion-ql"]
    if not found:
        sources |= dict.fromkeys(own, "ours: the middle of what Diffusion-QL's code has in locomotion")
    source = _DIFFUSION_QL_NAME if found else f"ours for this task, after {_DIFFUSION_QL_NAME}"
    return Preset(algorithm, task, default, _OF_DIFFUSION_QL | own, source, row.steps, sources)

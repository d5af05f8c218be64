"""What values a hyper-parameter may have, whichever config it is a field of."""

from collections.abc import Callable
from dataclasses import fields
from math import inf
from typing import Any

from tiltflow.errors import UserError

_COUNTS = (
    "actor_critic_steps", "actor_every", "anneal", "batch_size", "behaviour_steps", "critic_steps", "depth",
    "distill_steps", "energy_batch_size", "energy_steps", "ensemble", "guidance_steps",
    "improvement_batch_size", "improvement_steps", "next_action_steps", "num_candidates", "num_steps",
    "num_support_actions", "play_candidates", "pool", "renew_every", "steps", "time_features", "width",
)  # fmt: skip
_FINITE = (
    "distill_alpha", "energy_learning_rate", "improvement_learning_rate", "learning_rate", "pessimism",
    "play_eta", "play_noise", "support_noise",
)  # fmt: skip
_POSITIVE = ("class_temperature", "grad_norm", "max_weight", "play_bandwidth")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_COUNTS, (lambda value: value >= 1, "be at least 1")),
    **dict.fromkeys(_FINITE, (lambda value: 0 <= value < inf, "be finite and not negative")),
    **dict.fromkeys(_POSITIVE, (lambda value: 0 < value < inf, "be positive")),
    **dict.fromkeys(("ema", "improvement_ema"), (lambda value: 0 <= value < 1, "lie in [0, 1)")),
    "discount": (lambda value: 0 <= value <= 1, "lie in [0, 1]"),
    "tau": (lambda value: 0 < value <= 1, "lie in (0, 1]"),
    "expectile": (lambda value: 0 < value < 1, "lie in (0, 1)"),
}


def check_numbers(config: Any) -> None:
    """Raise UserError for a number of the dataclass `config` that no training can use (None: none)."""
    for field in fields(config):
        allowed, text = _RULES.get(field.name, (lambda value: True, ""))
        value = getattr(config, field.name)
        if value is not None and not allowed(value):
            raise UserError(f"{field.name} = {value}: it must {text}.")


def check_sampler(path: str, prediction: str, solver: str) -> None:
    """Raise UserError where a sampler asks for a velocity (or data) that the prediction does not determine.

    At the noise end of ot and cosine a point is all noise, so that its noise and score say nothing of the
    data; at their data end its data says nothing of the noise (see `paths.convert`).
    """
    if path in ("vp", "ot-clipped"):
        return
    if prediction in ("noise", "score"):
        raise UserError(
            f"prediction = {prediction} leaves the velocity undetermined at the noise end of path = {path}: "
            "choose velocity or data, or path = vp or ot-clipped."
        )
    if prediction == "data" and solver in ("heun", "rk4"):
        raise UserError(
            f"solver = {solver} asks for the velocity at the data end of path = {path}, where prediction = "
            "data leaves it undetermined: choose euler, midpoint or dpm-solver++, or another prediction."
        )

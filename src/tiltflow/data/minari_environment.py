"""The environment that a Minari data set names, read with distrust.

Its metadata names an environment by an entry point, "module:callable", and wrappers likewise. Gymnasium
imports and calls whatever is named, and Minari asks it to while a data set without spaces is opened. Here an
environment is only built by its id, as the installed packages have registered it, with plain arguments and
the wrappers of _WRAPPERS; anything else needs the user's word (`--trust`).
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiltflow.environments import import_robotics
from tiltflow.errors import UserError, nearest

_WRAPPERS = (
    "DelayObservation", "DtypeObservation", "FilterObservation", "FlattenObservation",
    "FrameStackObservation", "RescaleAction", "RescaleObservation", "ReshapeObservation", "StickyAction",
    "TimeAwareObservation",
)  # fmt: skip
"""Of Gymnasium's own: those that only change numbers."""
_TAKEN = ("id", "max_episode_steps", "disable_env_checker")
ASK_FOR_TRUST = "If you trust where the data are from, repeat the command with --trust."


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment by its id, with the arguments that a data set gives it."""

    id: str
    max_episode_steps: int | None
    arguments: dict[str, Any]
    wrappers: tuple[tuple[str, dict[str, Any]], ...]
    dropped: tuple[str, ...] = field(default=())
    """Entry points of wrappers that are left out."""


def environment_spec(folder: Path, metadata: dict[str, Any]) -> EnvironmentSpec | None:
    """The environment that the data set names for evaluation, or else its own; None where it names none."""
    path = folder / "metadata.json"
    key = "eval_env_spec" if metadata.get("eval_env_spec") else "env_spec"
    if not metadata.get(key):
        return None
    spec = parse_object(path, key, metadata[key])
    name, arguments, limit = spec.get("id"), spec.get("kwargs") or {}, spec.get("max_episode_steps")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UserError(f"{path}: {key!r} has no 'id', or its 'kwargs' are no JSON object.")
    arguments = {option: value for option, value in arguments.items() if option != "render_mode"}
    known, dropped = [], []
    for wrapper in spec.get("additional_wrappers") or ():
        found = _own_wrapper(wrapper)
        if found is None:
            dropped.append(str(wrapper.get("entry_point") if isinstance(wrapper, dict) else wrapper))
        else:
            known.append(found)
    steps = limit if isinstance(limit, int) and limit > 0 else None
    return EnvironmentSpec(name, steps, arguments, tuple(known), tuple(dropped))


def environment_faults(spec: EnvironmentSpec) -> list[str]:
    """What keeps the environment from being built without the user's word, and what is left out of it."""
    fault = _fault(spec, import_robotics())
    dropped = [f"names the wrapper {name}, which is left out." for name in spec.dropped]
    return [fault, *dropped] if fault else dropped


def build_environment(folder: Path, spec: EnvironmentSpec) -> Any:
    """The environment of a spec, as it is registered here. Raises UserError where it cannot be built."""
    gymnasium: Any = import_robotics()
    if fault := _fault(spec, gymnasium):
        raise UserError(f"The Minari data set {folder} {fault}")
    limit = {} if spec.max_episode_steps is None else {"max_episode_steps": spec.max_episode_steps}
    try:
        environment = gymnasium.make(spec.id, disable_env_checker=True, **limit, **spec.arguments)
        for name, arguments in spec.wrappers:
            environment = getattr(gymnasium.wrappers, name)(environment, **arguments)
    except Exception as error:  # of arguments that the environment does not know, say
        raise UserError(
            f"The environment {spec.id!r} that the Minari data set {folder} names cannot be built "
            f"({type(error).__name__}: {error}). Name one with --env."
        ) from error
    return environment


def parse_object(path: Path, key: str, text: Any) -> dict[str, Any]:
    """The JSON object in the text of a key of metadata.json. Raises UserError for any other text."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {key!r} is no JSON text ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key!r} describes no JSON object.")
    return value


def _fault(spec: EnvironmentSpec, gymnasium: Any) -> str:
    if spec.id not in gymnasium.registry:
        return (
            f"names the environment {spec.id!r}, which no installed package has registered."
            f"{nearest(spec.id, gymnasium.registry)} Install its package, or name an environment with --env. "
            f"To build it from its entry point is to run the code that the data set names. {ASK_FOR_TRUST}"
        )
    for option, value in spec.arguments.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", option) or not _is_plain(value) or option in _TAKEN:
            return (
                f"gives the environment {spec.id!r} the argument {option} = {value!r}, which may name a "
                f"file or code. Name an environment with --env. {ASK_FOR_TRUST}"
            )
    return ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(part) for name, part in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return not re.search(r"[:/\\]", value)
    return value is None or isinstance(value, bool | int | float)


def _own_wrapper(wrapper: Any) -> tuple[str, dict[str, Any]] | None:
    if not isinstance(wrapper, dict):
        return None
    module, _, name = str(wrapper.get("entry_point")).partition(":")
    arguments = wrapper.get("kwargs") or {}
    ours = module == "gymnasium.wrappers" or module.startswith("gymnasium.wrappers.")
    if not ours or name not in _WRAPPERS or not isinstance(arguments, dict) or not _is_plain(arguments):
        return None
    return name, arguments

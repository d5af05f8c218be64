"""What a Minari data set says of itself, read with distrust: its spaces, its files and its environment.

Its metadata names an environment by an entry point, "module:callable", and wrappers likewise. Gymnasium
imports and calls whatever is named, and Minari asks it to while a data set without spaces is opened. Here an
environment is only built by its id, as the installed packages have registered it, with plain arguments and
wrappers that only change numbers; anything else needs the user's word (`--trust`).
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltflow.data.hdf5 import check_hdf5
from tiltflow.environments import import_robotics
from tiltflow.errors import UserError, nearest
from tiltflow.files import read_object
from tiltflow.packages import require
from tiltflow.trust import trusted

# Of Gymnasium's own: those that only change numbers.
_WRAPPERS = (
    "DelayObservation", "DtypeObservation", "FilterObservation", "FlattenObservation",
    "FrameStackObservation", "RescaleAction", "RescaleObservation", "ReshapeObservation", "StickyAction",
    "TimeAwareObservation",
)  # fmt: skip
_LARGEST_SPACE = 10**6
_TAKEN = ("id", "max_episode_steps", "disable_env_checker")
_ASK = "If you trust where the data are from, repeat the command with --trust."


@dataclass(frozen=True)
class _EnvironmentSpec:
    """An environment by its id, with the arguments that a data set gives it."""

    id: str
    max_episode_steps: int | None
    arguments: dict[str, Any]
    wrappers: tuple[tuple[str, dict[str, Any]], ...]
    dropped: tuple[str, ...]
    """Entry points of wrappers that are left out."""


def check_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a data set that Minari's library may open.

    Raises UserError where opening or reading it would run code, leave the folder or exhaust memory.
    """
    require("minari")
    path = folder / "metadata.json"
    metadata = read_object(path)
    for key in ("observation_space", "action_space"):
        if key in metadata:
            _check_space(path, key, _parsed(path, key, metadata[key]))
        elif not trusted():
            raise UserError(
                f"The Minari data set {folder} cannot be opened: its metadata.json has no {key!r}, so that "
                "Minari would build the environment that it names, which runs the code of its entry point. "
                f"{_ASK}"
            )
    if metadata.get("data_format") != "hdf5":
        raise UserError(
            f"{path} has the data_format {metadata.get('data_format')!r}; only hdf5 is read. Convert the "
            "data set with Minari."
        )
    check_hdf5(folder / "main_data.hdf5")
    return metadata


def environment_faults(folder: Path, metadata: dict[str, Any]) -> list[str]:
    """What keeps the environment from being built without the user's word, and what is left out of it."""
    spec = _spec(folder, metadata)
    if spec is None:
        return []
    fault = _fault(spec, import_robotics())
    dropped = [f"names the wrapper {name}, which is left out." for name in spec.dropped]
    return [fault, *dropped] if fault else dropped


def build_environment(folder: Path, metadata: dict[str, Any]) -> Any:
    """The environment that is named, as it is registered here. Raises UserError where it cannot be built."""
    spec = _spec(folder, metadata)
    if spec is None:
        raise UserError(
            f"The Minari data set {folder} names no environment. Name one with --env, or train without one: "
            "--env none."
        )
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


def _spec(folder: Path, metadata: dict[str, Any]) -> _EnvironmentSpec | None:
    """The environment that the data set names for evaluation, or else its own; None where it names none."""
    path = folder / "metadata.json"
    key = "eval_env_spec" if metadata.get("eval_env_spec") else "env_spec"
    if not metadata.get(key):
        return None
    spec = _parsed(path, key, metadata[key])
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
    return _EnvironmentSpec(name, steps, arguments, tuple(known), tuple(dropped))


def _fault(spec: _EnvironmentSpec, gymnasium: Any) -> str:
    """Why the environment cannot be built without the user's word; empty where it can."""
    if spec.id not in gymnasium.registry:
        return (
            f"names the environment {spec.id!r}, which no installed package has registered."
            f"{nearest(spec.id, gymnasium.registry)} Install its package, or name an environment with --env. "
            f"To build it from its entry point is to run the code that the data set names. {_ASK}"
        )
    for option, value in spec.arguments.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", option) or not _is_plain(value) or option in _TAKEN:
            return (
                f"gives the environment {spec.id!r} the argument {option} = {value!r}, which may name a "
                f"file or code. Name an environment with --env. {_ASK}"
            )
    return ""


def _parsed(path: Path, key: str, text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {key!r} is no JSON text ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key!r} describes no JSON object.")
    return value


def _check_space(path: Path, key: str, space: Any) -> None:
    if not isinstance(space, dict):
        raise UserError(f"{path}: {key!r} describes no space.")
    parts = space.get("subspaces")
    if isinstance(parts, dict | list):
        for part in parts.values() if isinstance(parts, dict) else parts:
            _check_space(path, key, part)
        return
    shape = space.get("shape") or []
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise UserError(f"{path}: {key!r} has the shape {shape}.")
    if math.prod(shape) > _LARGEST_SPACE:
        raise UserError(f"{path}: {key!r} has the shape {shape}, more than {_LARGEST_SPACE:,} entries.")
    if len(shape) == 3 and space.get("dtype") == "uint8":
        raise UserError(f"{path}: {key!r} holds images {shape}; only flat observations of numbers are read.")


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

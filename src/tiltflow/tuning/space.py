"""SPACE.toml: the settings that a sweep varies, each with its choices or its range. Standard library only.

critic.aggregate = ["min", "mean"]           one of these
beta = { log-uniform = [0.3, 30] }           log-uniform over the range; or uniform
critic.ensemble = { int = [2, 10] }          whole numbers, both ends among them; or log-int
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltflow.errors import UserError, nearest
from tiltflow.settings import RefusedSetting, flat, override

_KINDS = {
    "uniform": (False, False),
    "log-uniform": (False, True),
    "int": (True, False),
    "log-int": (True, True),
}
"""(whole, log) of each range."""


@dataclass(frozen=True)
class Choices:
    """One of these values, all alike likely."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, uniform or with a uniform logarithm."""

    low: float
    high: float
    whole: bool = False
    log: bool = False


Space = Mapping[str, Choices | Range]
"""By the key of `--set`, in the order of the file."""


def read_space(path: Path, config: Any) -> Space:
    """The space of a file, for an algorithm whose settings are like `config`.

    Raises UserError that names the file, the key and the value where it is no space, or none of its settings.
    """
    try:
        record = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"The space {path} cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The space {path} is no TOML: {error}.") from error
    space: dict[str, Choices | Range] = {}
    for written, value in _leaves(record):
        key, known = written.replace("-", "_"), flat(config)
        where = f"{path}, {written}"
        if key not in known:
            raise UserError(f"{where}: {type(config).__name__} has no such setting.{nearest(key, known)}")
        if key in space:
            raise UserError(f"{where}: it is given twice. Give it once.")
        space[key] = _axis(where, value)
        for end in _ends(space[key]):
            try:
                override(config, {key: end})
            except RefusedSetting as error:
                raise UserError(f"{where}: {error}") from error
            except UserError:
                continue  # it may suit other values of the space
    if not space:
        raise UserError(
            f"The space {path} is empty: write KEY = [CHOICE, …] or KEY = {{ uniform = [LOW, HIGH] }}."
        )
    return space


def _leaves(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        inner = isinstance(value, dict) and value and not set(value) & _KINDS.keys()
        if inner:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _axis(where: str, value: Any) -> Choices | Range:
    if isinstance(value, list):
        values = tuple(None if choice == "None" else choice for choice in value)
        if not values or any(isinstance(choice, dict | list) for choice in values):
            raise UserError(
                f"{where} = {value}: a list names its choices, one at least: words, numbers, true, false."
            )
        if len(set(map(repr, values))) < len(values):
            raise UserError(f"{where} = {value}: a choice is named twice. Name each once.")
        return Choices(values)
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= _KINDS.keys():
        raise UserError(
            f"{where} = {value}: write a list of choices, or one of "
            f"{', '.join(f'{{ {kind} = [LOW, HIGH] }}' for kind in _KINDS)}."
        )
    ((kind, ends),) = value.items()
    whole, log = _KINDS[kind]
    numbers = (int,) if whole else (int, float)
    fits = isinstance(ends, list) and len(ends) == 2
    if not fits or any(isinstance(end, bool) or not isinstance(end, numbers) for end in ends):
        word = "whole numbers" if whole else "numbers"
        raise UserError(f"{where}: {kind} = {ends}: give two {word}, [LOW, HIGH].")
    low, high = ends
    if not low < high:
        raise UserError(f"{where}: {kind} = {ends}: the first number must be below the second.")
    if log and low <= 0:
        raise UserError(f"{where}: {kind} = {ends}: a logarithm needs numbers above 0.")
    return Range(low, high, whole, log) if whole else Range(float(low), float(high), whole, log)


def _ends(axis: Choices | Range) -> tuple[Any, ...]:
    return axis.values if isinstance(axis, Choices) else (axis.low, axis.high)

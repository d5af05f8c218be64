"""Numbers of the settings that are arguments of compiled programs: one program serves all their values.

They are all settings of the type float, of which a step does nothing but calculate: β, τ, learning rates, …;
and what settings say of them in a `cached_property`, computed once in double precision (1 − ema).
"""

import copy
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cached_property
from typing import Any, TypeVar

from tiltflow.settings import alternatives, field_types

_C = TypeVar("_C")


def numbers_of(config: Any) -> dict[str, float]:
    """The numbers of the settings by dotted key: {"beta": 1.0, "critic.learning_rate": 3e-4}."""
    kind: type = type(config)
    found: dict[str, float] = {}
    for name, hint in field_types(kind).items():
        value = getattr(config, name)
        if is_dataclass(value):
            found |= {f"{name}.{key}": number for key, number in numbers_of(value).items()}
        elif _is_float(hint) and isinstance(value, float | int):  # neither None nor a word, such as auto
            found[name] = float(value)
    for name, own in vars(kind).items():
        if isinstance(own, cached_property) and isinstance(value := getattr(config, name), float):
            found[name] = value
    return found


def with_values(config: _C, values: Mapping[str, Any]) -> _C:
    """The settings with other values by dotted key, which are not checked: numbers of a compiled program."""
    changed, parts = copy.copy(config), dict[str, dict[str, Any]]()
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if rest:
            parts.setdefault(name, {})[rest] = value
        else:
            vars(changed)[name] = value
    for name, of_part in parts.items():
        vars(changed)[name] = with_values(getattr(config, name), of_part)
    return changed


def _is_float(hint: Any) -> bool:
    return any(getattr(member, "__origin__", member) is float for member in alternatives(hint))

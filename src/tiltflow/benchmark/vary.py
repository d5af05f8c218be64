"""The settings that a benchmark varies: `--vary KEY=VALUE,VALUE`. Standard library only.

A variant is a text such as "beta=0.5,critic.aggregate=min": what is set, in the spelling of `--set`.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from types import NoneType
from typing import Annotated, Any, get_origin

from tiltflow.errors import UserError, check_names, nearest
from tiltflow.settings import alternatives, field_types, flat, override

_READ: Mapping[Any, Any] = {
    int: int,
    float: float,
    bool: {"True": True, "False": False}.__getitem__,
    NoneType: {"None": None}.__getitem__,
}


def variants(agent: str, config: Any, vary: Sequence[str]) -> list[str]:
    """Every combination of the values that the options `vary` give, for this agent's config; [""] of none.

    Raises UserError for a key that the config lacks or that is given twice, and for a value given twice.
    """
    values: dict[str, list[str]] = {}
    for option in vary:
        key, _, texts = option.partition("=")
        key = key.replace("-", "_")
        known = flat(config)
        if not texts:
            raise UserError(f"--vary {option}: write KEY=VALUE,VALUE, as in beta=0.5,1,2.")
        if key not in known:
            raise UserError(
                f"--vary {option}: {agent} has no setting {key!r}.{nearest(key, known)} Name the agents that "
                f"have it with --agents; `tiltflow train {agent} --help` lists the settings of {agent}."
            )
        if key in values:
            raise UserError(f"--vary {option}: {key} is varied twice. Give all its values at once.")
        values[key] = [str(_value(config, key, text)) for text in texts.split(",")]
        check_names(f"value of --vary {key}", values[key])
    pairs = [
        [f"{key}={value}" for value in values[key]] for key in sorted(values, key=lambda k: (k.count("."), k))
    ]
    return [",".join(combination) for combination in product(*pairs)]


def with_variant(agent: str, config: Any, variant: str) -> Any:
    """The config with the settings of a variant. Raises UserError that names it for what cannot be."""
    if not variant:
        return config
    pairs = (pair.split("=", 1) for pair in variant.split(","))
    try:
        return override(config, {key: _value(config, key, text) for key, text in pairs})
    except UserError as error:
        raise UserError(f"--vary {variant.replace(',', ' --vary ')}, {agent}: {error}") from error


def _value(config: Any, key: str, text: str) -> Any:
    """The value that a text stands for in that field; the text where it stands for nothing else."""
    *groups, name = key.split(".")
    for group in groups:
        config = getattr(config, group)
    kind: type = type(config)
    for hint in alternatives(field_types(kind)[name]):
        try:
            return _READ[hint.__origin__ if get_origin(hint) is Annotated else hint](text)
        except (KeyError, ValueError):
            continue
    return text

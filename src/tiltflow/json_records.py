"""JSON records of ours: their types are `TypedDict`s beside who reads them; here is the one check of them.

Records may hold more than their type says: later versions add keys. Standard library only.
"""

import math
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from tiltflow.errors import UserError
from tiltflow.files import read_object

_Record = TypeVar("_Record")
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    bool: "true or false",
}


def checked_record(path: Path, kind: type[_Record]) -> _Record:
    """Read a JSON file that holds a `kind`, a TypedDict. Raises UserError naming the file and the key."""
    record = read_object(path)
    if fault := record_fault(record, kind):
        raise UserError(f"{path} is damaged: {fault}. Restore it from a copy, or train into a new folder.")
    return cast(_Record, record)


def record_fault(value: Any, kind: Any, at: str = "") -> str:
    """What in a JSON value is not of the type, by its dotted key; empty where nothing is."""
    if kind is Any:
        return ""
    if typing.is_typeddict(kind):
        if not isinstance(value, dict):
            return _no(at, value, "a JSON object")
        hints = _hints(kind)
        if missing := [key for key in hints if key in kind.__required_keys__ and key not in value]:
            return f"it has no {_key(at, missing[0])!r}"
        return _first(record_fault(value[key], hints[key], _key(at, key)) for key in hints if key in value)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        faults = [record_fault(value, member, at) for member in arguments]
        return "" if "" in faults else faults[0]
    if origin is list:
        if not isinstance(value, list):
            return _no(at, value, "a list")
        return _first(record_fault(entry, arguments[0], f"{at}[{i}]") for i, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            return _no(at, value, "a JSON object")
        return _first(record_fault(entry, arguments[1], _key(at, key)) for key, entry in value.items())
    if kind is types.NoneType:
        return "" if value is None else _no(at, value, "null")
    allowed = (int, float) if kind is float else kind
    fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    # 10**400 is a whole number of JSON, and no float.
    if fits and kind in (int, float) and not (-1e300 < value < 1e300 and math.isfinite(value)):
        fits = False
    return "" if fits else _no(at, value, _WORDS[kind])


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _first(faults: Any) -> str:
    return next(filter(None, faults), "")


def _key(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _no(at: str, value: Any, what: str) -> str:
    shown = repr(value)
    return (
        f"{at!r} is {shown if len(shown) < 60 else shown[:57] + '…'}, not {what}"
        if at
        else f"it is not {what}"
    )

"""Messages of the policy server: msgpack, with arrays as openpi's clients write them. Nothing is unpickled.

An array is the map {b"__ndarray__": true, b"data": bytes, b"dtype": "<f4", b"shape": [11]}, in C order;
a NumPy number is {b"__npgeneric__": true, b"data": number, b"dtype": "<f4"}.
"""

from typing import Any

import numpy as np

from tiltflow.errors import UserError
from tiltflow.packages import require

_KINDS = "biuf"
"""Truth values, integers and floating-point numbers, by NumPy's letters."""


def pack_message(message: dict[str, Any]) -> bytes:
    """The message as bytes."""
    return require("msgpack").packb(message, default=_pack)


def unpack_message(content: bytes | str) -> dict[str, Any]:
    """The message of bytes from a stranger. Raises UserError where they are none."""
    if isinstance(content, str):
        raise UserError("The message is text, but must be a binary one: a msgpack map.")
    try:
        message = require("msgpack").unpackb(content, object_hook=_unpack)
    except Exception as error:  # whatever a decoder throws, the bytes are what it cannot read
        raise UserError(f"The message is not msgpack with plain arrays: {error}") from error
    if not isinstance(message, dict):
        raise UserError(f"The message is a msgpack {type(message).__name__}, but must be a map.")
    return message


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _unpack(value: dict) -> Any:
    if b"__ndarray__" in value:
        return np.frombuffer(value[b"data"], _dtype(value)).reshape(value[b"shape"])
    if b"__npgeneric__" in value:
        return _dtype(value).type(value[b"data"])
    return value


def _dtype(value: dict) -> np.dtype:
    kind = np.dtype(value[b"dtype"])
    if kind.kind not in _KINDS:
        raise ValueError(f"an array of {kind}, which is no plain number")
    return kind

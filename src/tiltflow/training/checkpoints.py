"""Checkpoints: one file each, a JSON header line and the arrays of a state, checksummed and atomic.

The checksum covers the header and the arrays, so that a file that has changed anywhere is never taken for
another state: it is passed over for the one before.
"""

import hashlib
import io
import json
import zlib
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tiltflow.critics import Ensemble
from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.npy import read_like
from tiltflow.run_folder import RunFolder, checkpoint_name
from tiltflow.settings import diff, diff_text
from tiltflow.train_config import with_defaults

_FORMAT = 4
_KINDS: dict[str, type | tuple[type, ...]] = {
    "step": int,
    "seconds": (int, float),
    "stage_end": bool,
    "run": dict,
}


class Damaged(UserError):
    """A checkpoint that cannot be read; the text names the file."""


def save(group: RunFolder, state: Any, header: dict[str, Any], *, keep: int) -> Path:
    """Write `state` (a pytree of arrays) of a group of seeds as the checkpoint of step header["step"].

    Of the older ones the last `keep` − 1 stay, and those whose header says "stage_end" or "to_play".
    """
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, state)
    body = payload.getvalue()
    path = group.checkpoint(header["step"])
    head = {"format": _FORMAT, **header, "bytes": len(body)}
    head["sha256"] = _checksum(head, body)
    with atomic_file(path) as file:
        file.write(json.dumps(head).encode() + b"\n" + body)
    older = [other for other in group.checkpoints() if other.name < path.name]
    for old in older[: max(len(older) - keep + 1, 0)]:
        head = header_of(old)
        if not (head.get("stage_end") or head.get("to_play")):
            old.unlink(missing_ok=True)
    return path


def _checksum(head: dict[str, Any], body: bytes) -> str:
    """SHA-256 of the header's values in a fixed order, and of the arrays."""
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode() + b"\n")
    digest.update(body)
    return digest.hexdigest()


def header_of(path: Path) -> dict[str, Any]:
    """What the header says, without its body and so unchecked; empty where it is damaged."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) else {}


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and body of a checkpoint. Raises Damaged where either has changed since it was written."""
    try:
        head_line, body = path.read_bytes().split(b"\n", 1)
        head = json.loads(head_line)
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not a checkpoint of tiltflow ({error}).") from error
    if not isinstance(head, dict):
        raise Damaged(f"{path} is not a checkpoint of tiltflow (its header is no JSON object).")
    version = head.get("format")
    if version not in (2, 3, _FORMAT):
        raise Damaged(f"{path} has checkpoint format {version!r}; this version of tiltflow reads {_FORMAT}.")
    rest = {key: value for key, value in head.items() if key != "sha256"}
    if version != 2:
        sound = head.get("sha256") == _checksum(rest, body)
    else:  # format 2 had a checksum of the arrays alone
        sound = head.get("crc32") == zlib.crc32(body)
    if not sound or len(body) != head.get("bytes"):
        raise Damaged(
            f"{path} is damaged: {len(body)} bytes of {head.get('bytes')}, or a wrong checksum. It is passed "
            "over for the checkpoint before it."
        )
    wrong = [key for key, kind in _KINDS.items() if key in head and not isinstance(head[key], kind)]
    if wrong or checkpoint_name(head.get("step", -1)) != path.name:
        raise Damaged(
            f"{path} is damaged: its header is that of another file ({', '.join(wrong) or 'step'})."
        )
    return head, body


def restore(path: Path, like: Any, expected: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The state of a checkpoint, in the structure of `like`, and its header.

    Raises Damaged as `read` does or where its arrays are not those of `like`, UserError as `check_same_run`.
    """
    head, body = read(path)
    check_same_run(path, head, expected)
    return decode(path, head, body, like), head


def decode(path: Path, head: dict[str, Any], body: bytes, like: Any) -> Any:
    """The state in a checkpoint's body, in the structure of `like`. Raises Damaged where it is another."""
    file = io.BytesIO(body)
    layout = like if head["format"] == _FORMAT else _members_apart(like)
    try:
        state = eqx.tree_deserialise_leaves(file, layout, filter_spec=_read_leaf)
    except Exception as error:  # whatever the decoder throws: these are not the arrays of this state
        raise Damaged(f"{path} does not hold the arrays of this run ({error}).") from error
    if file.read(1):
        raise Damaged(f"{path} does not hold the arrays of this run: there are more of them.")
    return state if layout is like else _members_together(state, like)


def _is_ensemble(node: Any) -> bool:
    return isinstance(node, Ensemble)


def _axis(ensemble: Ensemble) -> int:
    """That of the members: the first, or the second of a group of seeds."""
    return ensemble.members.kernels[0].ndim - 3


def _members_apart(tree: Any) -> Any:
    """The layout of formats 2 and 3, in which an ensemble's members followed each other."""

    def apart(x: Any) -> Any:
        if not _is_ensemble(x):
            return x
        before = (slice(None),) * _axis(x)
        return [jax.tree.map(itemgetter((*before, i)), x.members) for i in range(x.count)]

    return jax.tree.map(apart, tree, is_leaf=_is_ensemble)


def _members_together(tree: Any, like: Any) -> Any:
    """The tree of formats 2 and 3 in the structure of `like`."""

    def together(ours: Any, stored: Any) -> Any:
        if not _is_ensemble(ours):
            return stored
        join = partial(jnp.stack, axis=_axis(ours))
        return Ensemble(jax.tree.map(lambda *arrays: join(arrays), *stored), ours.count)

    return jax.tree.map(together, like, tree, is_leaf=_is_ensemble)


def _read_leaf(file: IO[bytes], like: Any) -> Any:
    """The next array, which must have the shape and type of `like`: nothing else is allocated."""
    if isinstance(like, jax.Array):
        return jnp.asarray(read_like(file, like))
    if isinstance(like, np.ndarray):
        return read_like(file, like)
    return eqx.default_deserialise_filter_spec(file, like)


def check_same_run(path: Path, head: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise UserError where the header's "run" differs from `expected` (another config, data or seed).

    It names every key that differs.
    """
    changed = diff(with_defaults(head.get("run", {})), expected)
    if changed:
        raise UserError(
            f"{path} was written by a different run; it cannot be continued with this one. "
            f"Checkpoint ≠ run in {diff_text(changed)}. Restore the run's config.json and data, or train "
            "into a new folder."
        )

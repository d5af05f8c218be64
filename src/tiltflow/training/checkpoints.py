"""Checkpoints: one file each, a JSON header line and the arrays of a state, checksummed and atomic."""

import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import equinox as eqx

from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.training.config import differences

FORMAT = 2
_NAME = re.compile(r"step-(\d{10})\.ckpt")


def name(step: int) -> str:
    """The file name of the checkpoint after `step` gradient steps."""
    return f"step-{step:010d}.ckpt"


def save(folder: Path, state: Any, header: dict[str, Any], *, keep: int) -> Path:
    """Write `state` (a pytree of arrays) as folder/step-N.ckpt, N = header["step"].

    Of the older ones the last `keep` − 1 stay, and those whose header says "stage_end".
    """
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, state)
    body = payload.getvalue()
    path = folder / name(header["step"])
    head = {"format": FORMAT, **header, "bytes": len(body), "crc32": zlib.crc32(body)}
    with atomic_file(path) as file:
        file.write(json.dumps(head).encode() + b"\n" + body)
    older = [other for other in found(folder) if other.name < path.name]
    for old in older[: max(len(older) - keep + 1, 0)]:
        if not header_of(old).get("stage_end"):
            old.unlink(missing_ok=True)
    return path


def found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def header_of(path: Path) -> dict[str, Any]:
    """The header of a checkpoint, without its body; empty where the file is damaged."""
    try:
        with path.open("rb") as file:
            return json.loads(file.readline())
    except (OSError, ValueError):
        return {}


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and body of a checkpoint. Raises UserError where the file is damaged or of another format."""
    try:
        head_line, body = path.read_bytes().split(b"\n", 1)
        head = json.loads(head_line)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of tiltflow ({error}).") from error
    if head.get("format") != FORMAT:
        raise UserError(
            f"{path} has checkpoint format {head.get('format')!r}; this version of tiltflow reads {FORMAT}."
        )
    if len(body) != head["bytes"] or zlib.crc32(body) != head["crc32"]:
        raise UserError(
            f"{path} is damaged: {len(body)} bytes of {head['bytes']}, or a wrong checksum. Delete it to "
            "resume from the checkpoint before it."
        )
    return head, body


def restore(path: Path, like: Any, expected: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The state of a checkpoint, in the structure of `like`, and its header.

    Raises UserError as `check` does.
    """
    head, body = read(path)
    check(path, head, expected)
    return eqx.tree_deserialise_leaves(io.BytesIO(body), like), head


def check(path: Path, head: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise UserError where the header's "run" differs from `expected` (another config, data or seed).

    It names every key that differs.
    """
    changed = differences(head.get("run", {}), expected)
    if changed:
        raise UserError(
            f"{path} was written by a different run; it cannot be continued with this one. "
            f"Checkpoint ≠ run in {'; '.join(changed)}. Restore the run's config.json and data, or train "
            "into a new folder."
        )


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint of a folder (or None), and what was wrong with newer ones."""
    problems = []
    for path in reversed(found(folder)):
        try:
            read(path)
        except UserError as error:
            problems.append(str(error))
            continue
        return path, problems
    return None, problems

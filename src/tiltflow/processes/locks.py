"""Keeping other processes out of a folder. Standard library only."""

import fcntl
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from tiltflow.errors import UserError
from tiltflow.files import held, remove_abandoned, unwritable
from tiltflow.processes.lease import leased
from tiltflow.remote_folder import mirror_of

LOCK = ".lock"
PATIENCE = "TILTFLOW_PATIENCE"
"""The environment variable with the seconds that a process waits for a lock: one that takes the place of a
process that was lost, on another machine perhaps, and that may take a while to die."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second training out of the folder; the lock ends with this process, however it ends.

    A folder that holds nothing but the lock at the end is removed again. One that mirrors a URL is made what
    lies there, and what changes in it is sent (`leased`, whose errors are raised too). Raises UserError where
    another process holds it or the folder cannot be written.
    """
    patience, mirror = float(os.environ.get(PATIENCE, 0)), mirror_of(folder)
    late = time.monotonic() + patience
    while (handle := _taken(folder)) is None:
        if time.monotonic() > late:
            raise UserError(f"{_owner(folder)} is training {folder}. Wait for it, or stop it first.")
        time.sleep(0.2)
    try:
        with suppress(OSError):  # whom a second process is told of; a full disk keeps nobody from training
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()} on {platform.node()}".encode())
        remove_abandoned(folder)
        with leased(mirror, patience) if mirror else nullcontext(), held(folder, folder / LOCK):
            yield
    finally:
        with suppress(OSError):
            if mirror is None and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()
        os.close(handle)


def _owner(folder: Path) -> str:
    """Who holds the lock of a folder, as far as it says so, and for how long."""
    try:
        owner = re.fullmatch(r"\d+ on [\w.-]+", (folder / LOCK).read_text(encoding="utf-8"))
        minutes = (time.time() - (folder / LOCK).stat().st_mtime) / 60
    except (OSError, UnicodeDecodeError):
        return "Another process"
    return f"Another process ({owner[0]}, since {minutes:.0f} min)" if owner else "Another process"


def _taken(folder: Path) -> int | None:
    """The lock as an open file; None where another process has it, or has just removed it with the folder."""
    try:
        with suppress(FileExistsError):  # exist_ok=True looks again, and the folder may be gone by then
            folder.mkdir(parents=True)
        try:
            handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            return None
    except OSError as error:
        raise unwritable(folder, error) from error
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
            return handle
    os.close(handle)
    return None

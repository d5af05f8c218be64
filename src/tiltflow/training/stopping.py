"""Being asked to stop, and keeping others out of a folder meanwhile. Standard library only."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiltflow.errors import Interrupted, UserError


class StopFlag:
    """Whether somebody has asked to stop at the next edge."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self, *_: Any) -> None:
        """Ask; a second time (an impatient Ctrl-C) interrupts at once."""
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def check(self) -> None:
        """Raise Interrupted where stopping was asked for."""
        if self.stopped:
            raise Interrupted("Stopped")


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Ctrl-C and SIGTERM ask to stop at the next edge (only the main thread can listen)."""
    stop = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second training out of the folder; the lock ends with this process, however it ends.

    Raises UserError where another process holds it or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}. Choose another folder.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UserError(f"Another process is training {folder}. Wait for it, or stop it first.") from error
    try:
        yield
    finally:
        os.close(handle)

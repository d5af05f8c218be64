"""Being asked to stop. Standard library only."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from tiltflow.errors import Interrupted

REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what a scheduler or `kill` sends, and what a terminal sends that is closed."""


class StopFlag:
    """Whether somebody has asked to stop at the next edge."""

    def __init__(self) -> None:
        self.stopped = False
        self._keys_pressed = 0

    def stop(self, number: int = signal.SIGTERM, *_: Any) -> None:
        """Ask. A second Ctrl-C interrupts at once; everything else may be sent as often as one likes.

        Schedulers send their signals to every process of a job, and some send them again and again.
        """
        self._keys_pressed += number == signal.SIGINT
        self.stopped = True
        if self._keys_pressed > 1:
            raise KeyboardInterrupt

    def ask(self, *_: Any) -> None:
        """Ask, as often as one likes, whatever the signal: for processes that no keyboard reaches."""
        self.stopped = True

    def check(self) -> None:
        """Raise Interrupted where stopping was asked for."""
        if self.stopped:
            raise Interrupted("Stopped")


@contextmanager
def listening(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Call the handler for every request to stop (only the main thread can listen).

    A hang-up that is ignored stays so, as `nohup` wants it. After another one nobody reads what is printed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [number for number in (1, 2) if _is_terminal(number)]

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _silence(terminals)
        handler(number, frame)

    heard = [n for n in REQUESTS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Requests to stop are taken at the next edge."""
    stop = StopFlag()
    with listening(stop.stop):
        yield stop


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Requests to stop end what goes on as Ctrl-C does: every temporary file is removed on the way out.

    Only the first one does, and Ctrl-C: what is cleaned up meanwhile is left to finish.
    """
    asked = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        again, asked = asked, True
        if not again or number == signal.SIGINT:
            raise KeyboardInterrupt

    with listening(leave):
        yield


def _is_terminal(number: int) -> bool:
    with suppress(OSError):
        return os.isatty(number)
    return False


def _silence(numbers: list[int]) -> None:
    """Let nothing go to a terminal that is gone, where writing fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in numbers:
        os.dup2(nowhere, number)
    os.close(nowhere)

"""Keeping other machines from a URL while a folder that mirrors it is worked in, and sending what is new.

An object store has no locks. One object, `.lease.json`, names who writes there and when it was last heard
of; whoever finds that long ago takes over. Each sending looks at it first, so that a machine that was cut
off, and comes back after somebody has taken over, sends nothing any more.
"""

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiltflow.errors import NotSent, UserError
from tiltflow.remote_folder import LEASE, Mirror
from tiltflow.remote_store import reason_of

_STALE_SECONDS = 90.0
"""Without a word of its owner a lease ends; jobs of a cluster wait a little longer (processes/errand.py)."""
_SECONDS_BETWEEN = 20.0
"""Between two words of the owner, and two sendings where there is no new checkpoint; at most."""
_AT_ONCE = (".ckpt", "evaluations.jsonl")
"""Endings of the names of what is sent soon: the rest goes with it."""


@contextmanager
def leased(mirror: Mirror, patience: float) -> Iterator[None]:
    """Be the only one who writes at the URL, and send there what changes in the folder.

    The folder is first made what the URL has, where another copy was the last to write there. Where nobody
    answers meanwhile, the work goes on and is sent later. Raises UserError where somebody else writes there
    for `patience` seconds, and at the end NotSent where not everything could be sent.
    """
    _take(mirror, patience)
    stop = threading.Event()
    sender = threading.Thread(target=_send_now_and_then, args=(mirror, stop), daemon=True)
    sender.start()
    try:
        yield
    except BaseException:
        if fault := _finish(mirror, stop, sender):
            print(f"warning: {fault}", file=sys.stderr, flush=True)
        raise
    if fault := _finish(mirror, stop, sender):
        raise NotSent(fault)


def send_once(mirror: Mirror) -> None:
    """Send what has changed without a lease, of files that nobody else writes. Raises NotSent."""
    try:
        mirror.send()
    except Exception as error:
        raise NotSent(_not_sent(mirror, error)) from error


def _not_sent(mirror: Mirror, error: Exception) -> str:
    return (
        f"Not everything could be sent to {mirror.store.url} ({reason_of(error)}). What is done lies in "
        f"{mirror.folder}: keep it. A command that names the URL again, on this machine, sends it."
    )


def _take(mirror: Mirror, patience: float) -> None:
    late, told = time.monotonic() + patience, False
    while (left := _seconds_left(mirror, lease := mirror.lease())) > 0:
        if time.monotonic() <= late:
            if not told:
                text = f"waiting up to {left:.0f} s for who writes to {mirror.store.url}"
                print(text, file=sys.stderr, flush=True)
            told = True
        else:
            raise UserError(
                f"{lease and lease.get('who')} is training {mirror.store.url}. Wait for it, or stop it "
                f"first. If it is gone without a word, its place is free in {left:.0f} s."
            )
        time.sleep(1)
    ours = mirror.is_ours(lease)
    try:
        mirror.store.put(LEASE, _words(mirror))
    except Exception as error:
        raise UserError(f"{mirror.store.url} cannot be written to ({reason_of(error)}).") from error
    mirror.fetch(ours)


def _seconds_left(mirror: Mirror, lease: dict[str, Any] | None) -> float:
    """Until a lease ends; 0 where it has, or is ours: who had it here has left the lock of the folder."""
    if lease is None or mirror.is_ours(lease) or not lease.get("held"):
        return 0.0
    heard = lease.get("time")
    left = heard + _STALE_SECONDS - time.time() if isinstance(heard, float) else 0.0
    return min(max(0.0, left), _STALE_SECONDS)  # clocks differ


def _words(mirror: Mirror, held: bool = True) -> bytes:
    who = f"Process {os.getpid()} on {platform.node()}"
    return json.dumps({"owner": mirror.owner, "who": who, "time": time.time(), "held": held}).encode()


def _speak(mirror: Mirror) -> None:
    """Say that this process is there. Raises UserError where another one has taken over."""
    lease = mirror.lease()
    if not mirror.is_ours(lease):
        raise UserError(f"{(lease or {}).get('who')} has taken over, for this process was not heard of")
    mirror.store.put(LEASE, _words(mirror))


def _send(mirror: Mirror, held: bool = True) -> None:
    """Send what is new, saying meanwhile that the lease is held; give it back where it need not be `held`."""
    _speak(mirror)
    spoken = time.monotonic()

    def speak_again() -> None:
        nonlocal spoken
        if time.monotonic() - spoken > 1:
            _speak(mirror)
            spoken = time.monotonic()

    mirror.send(speak_again)
    if not held:
        mirror.store.put(LEASE, _words(mirror, held=False))


def _finish(mirror: Mirror, stop: threading.Event, sender: threading.Thread) -> str:
    """Send the rest and give the lease back; why that failed, if it did."""
    stop.set()
    sender.join()
    try:
        _send(mirror, held=False)
    except Exception as error:
        return _not_sent(mirror, error)
    return ""


def _send_now_and_then(mirror: Mirror, stop: threading.Event) -> None:
    """Until `stop`: what is new, soon after each checkpoint; for a twentieth of the time where it is much."""
    sent, wait, told = time.monotonic(), 1.0, False
    while not stop.wait(wait):
        began = time.monotonic()
        if began - sent >= _SECONDS_BETWEEN or any(name.endswith(_AT_ONCE) for name in mirror.changed()):
            try:
                _send(mirror)
                sent, told = time.monotonic(), False
            except Exception as error:
                if not told:
                    text = f"warning: {_not_sent(mirror, error)} The work goes on."
                    print(text, file=sys.stderr, flush=True)
                told = True
        wait = min(max(1.0, 20 * (time.monotonic() - began)), _SECONDS_BETWEEN)

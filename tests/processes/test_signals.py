"""Requests to stop, as they reach this process, and the lock of a folder."""

import signal
import threading
from contextlib import ExitStack

import pytest

from tiltflow.errors import UserError
from tiltflow.processes.locks import PATIENCE, locked
from tiltflow.processes.stopping import StopFlag, listening, stop_on_signals, stopping_at_once


def test_one_request_may_come_often_and_a_second_ctrl_c_interrupts():
    with stop_on_signals() as stop:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
            assert stop.stopped
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_stopped_at_once_is_left_to_clean_up():
    cleaned = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), stopping_at_once():
        work()
    assert cleaned


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopFlag()
    try:
        with listening(stop.stop):
            signal.raise_signal(signal.SIGHUP)
        assert not stop.stopped
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_takes_the_place_of_a_lost_one_waits_for_its_lock(tmp_path, monkeypatch):
    with (
        locked(tmp_path),
        pytest.raises(UserError, match=r"Another process .* is training"),
        locked(tmp_path),
    ):
        pass
    monkeypatch.setenv(PATIENCE, "60")
    with ExitStack() as lost:
        lost.enter_context(locked(tmp_path))
        threading.Timer(0.3, lost.close).start()
        with locked(tmp_path):
            (tmp_path / "config.json").touch()


def test_a_lock_does_not_outlive_a_training_that_came_to_nothing(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / "run"):
        raise RuntimeError
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run/config.json").write_text("{}")
    assert (tmp_path / "run/config.json").exists()

"""Where the time of a training goes: to load, compile, train, refresh, play or write checkpoints."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax.monitoring

PURPOSES = ("load", "compile", "train", "refresh", "play", "checkpoint")


class TimeSpent:
    """Wall seconds by purpose from now on, at first of loading, of which so many are `loaded` already."""

    def __init__(self, loaded: float = 0.0, clock: Callable[[], float] = time.perf_counter):
        self._seconds = {**dict.fromkeys(PURPOSES, 0.0), "load": loaded}
        self._clock, self._purpose, self._since = clock, "load", clock()
        self._compiled: list[tuple[float, float]] = []
        """Begin and seconds of what was compiled for the present purpose, each no part of another."""

    @contextmanager
    def on(self, purpose: str) -> Iterator[None]:
        """Meanwhile time is spent on that, and not on what it was spent on before."""
        before = self._turn(purpose)
        try:
            yield
        finally:
            self._turn(before)

    @contextmanager
    def apart_from_compiling(self) -> Iterator[None]:
        """Meanwhile what JAX takes to trace, compile and load programs counts as compiling."""
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        try:
            yield
        finally:
            jax.monitoring.unregister_event_duration_listener(self._hear)

    def seconds(self) -> dict[str, float]:
        """Those spent so far."""
        self._turn(self._purpose)
        return dict(self._seconds)

    def _turn(self, purpose: str) -> str:
        now, before = self._clock(), self._purpose
        compiled = sum(seconds for _, seconds in self._compiled)
        self._seconds["compile"] += compiled
        self._seconds[before] += now - self._since - compiled
        self._purpose, self._since, self._compiled = purpose, now, []
        return before

    def _hear(self, event: str, duration_secs: float, **_: Any) -> None:
        """Note what JAX has just done. Tracing a function traces those that it calls: they are part of it."""
        if event.startswith("/jax/core/compile/"):
            begin = self._clock() - duration_secs
            while self._compiled and self._compiled[-1][0] >= begin:
                self._compiled.pop()
            self._compiled.append((begin, duration_secs))


def mean_seconds(groups: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over groups of seeds of the seconds by purpose."""
    return {purpose: sum(group[purpose] for group in groups) / len(groups) for purpose in PURPOSES}

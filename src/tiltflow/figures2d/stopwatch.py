"""Seconds of gradient steps without those of compilation, from the progress of a training."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise


class Stopwatch:
    """Listens as the `progress` of fits, one after the other; a network trained again replaces its time.

    A network's seconds are its steps times the median over its chunks of the seconds per step: compiling,
    before the first chunk and before a last one that is shorter, does not count.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._start = clock()
        self._marks: dict[str, list[tuple[int, float]]] = {}

    def __call__(self, what: str, done: int, total: int, loss: float) -> None:
        marks = self._marks.setdefault(what, [])
        if marks and marks[-1][0] >= done:
            marks.clear()
        marks.append((done, self._clock()))

    @property
    def seconds(self) -> float:
        """Of all networks together; of a training in a single chunk, everything since the start."""
        return sum(self._network(marks) for marks in self._marks.values())

    def _network(self, marks: list[tuple[int, float]]) -> float:
        if len(marks) == 1:
            return marks[0][1] - self._start
        paces = [(t - before) / (n - last) for (last, before), (n, t) in pairwise(marks)]
        return marks[-1][0] * statistics.median(paces)

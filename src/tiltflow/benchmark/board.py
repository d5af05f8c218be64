"""What a benchmark looks like while it goes: events of its runs in, counts and the time left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tiltflow.benchmark.records import DONE, RUN_LOG, RunRecord, finished_with
from tiltflow.benchmark_file import PlannedRun
from tiltflow.errors import Interrupted
from tiltflow.processes.executor import Event, error_of, failure
from tiltflow.training.progress import View, advance, seconds_left


@dataclass
class Board:
    """Every run's record, and a view of those at work. Times are seconds of any monotonic clock."""

    records: dict[PlannedRun, RunRecord]
    steps: Mapping[PlannedRun, int]
    """Gradient steps of each run."""
    processes: int
    """Runs that go on at a time."""
    views: dict[PlannedRun, View] = field(default_factory=dict)
    began: dict[PlannedRun, float] = field(default_factory=dict)
    tried: set[PlannedRun] = field(default_factory=set)

    def of(self, *states: str) -> list[PlannedRun]:
        """The runs in any of these states."""
        return [run for run, record in self.records.items() if record.state in states]

    @property
    def waiting(self) -> list[PlannedRun]:
        """The runs to begin or to continue, those that failed in an earlier command among them."""
        unfinished = self.of("waiting", "interrupted", "failed")
        return [run for run in unfinished if run not in self.tried]

    def advance(self, run: PlannedRun, event: Event, now: float) -> None:
        """Fold in one event of a run's job."""
        match event["event"]:
            case "launched":
                self.records[run] = replace(self.records[run], state="running", reason=None)
                self.views[run], self.began[run] = View(), now
                self.tried.add(run)
            case "exited" | "lost":
                del self.views[run]
                seconds = self.records[run].seconds + now - self.began.pop(run)
                if event["event"] == "lost":
                    self.tried.discard(run)
                    event = {"failed": failure(Interrupted(event["text"]))}
                ended = _ended(self.records[run], event, run.folder / RUN_LOG)
                self.records[run] = replace(ended, seconds=seconds)
            case _:
                self.views[run] = advance(self.views[run], event, now)
                step = max((seed.step for seed in self.views[run].seeds.values()), default=0)
                self.records[run] = replace(self.records[run], step=max(step, self.records[run].step))

    def leave(self, now: float) -> None:
        """The runs still at work are killed by an impatient user: their checkpoints are what is kept."""
        for run in list(self.views):
            self.advance(run, {"event": "exited", "failed": failure(Interrupted("Stopped."))}, now)

    def seconds_left(self, now: float) -> float | None:
        """Estimate of the wall seconds until all is done; None before anything is known.

        A run takes what the finished runs of its agent took, on its task where there are some; before the
        first, what those at work say of themselves.
        """
        left = [self._left(run, now) for run in [*self.views, *self.waiting]]
        known = [seconds for seconds in left if seconds is not None]
        if not known:
            return None
        mean = sum(known) / len(known)
        total = sum(mean if seconds is None else seconds for seconds in left)
        return max(total / min(self.processes, len(left)), *known)

    def _left(self, run: PlannedRun, now: float) -> float | None:
        if run in self.views and (left := seconds_left(self.views[run])) is not None:
            return left
        whole = self._whole(run, now)
        if whole is None:
            return None
        if run in self.began:
            return max(0.0, whole - (now - self.began[run]))
        return whole * (1 - self.records[run].step / self.steps[run])

    def _whole(self, run: PlannedRun, now: float) -> float | None:
        """Seconds of a whole run like this one."""
        done = [other for other in self.of(*DONE) if self.records[other].seconds > 0]
        alike = [other for other in done if other.agent == run.agent]
        same = [other for other in alike if other.task == run.task]
        for others in (same, alike):
            if others:
                return _mean(self.records[other].seconds for other in others)
        going = [
            now - self.began[other] + left
            for other, view in self.views.items()
            if other.agent == run.agent and (left := seconds_left(view)) is not None
        ]
        if going:
            return _mean(going)
        return _mean(self.records[other].seconds for other in done) if done else None


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _ended(record: RunRecord, event: Event, log: Path) -> RunRecord:
    """The record of a run whose job has `exited`."""
    if event["failed"] is not None:
        error = error_of(event["failed"], log)
        if isinstance(error, Interrupted):
            return replace(record, state="interrupted" if record.step else "waiting")
        return replace(record, state="failed", reason=" ".join(str(error).split()))
    result = event["result"]
    if result is None:
        return replace(record, state="trained")
    return replace(record, **finished_with(result))

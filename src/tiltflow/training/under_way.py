"""A training that is under way, passed down as one value."""

from dataclasses import dataclass, field

from tiltflow.data.load import Dataset
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.training.prepare import Prepared
from tiltflow.training.progress import Event, Observe
from tiltflow.training.time_spent import TimeSpent


@dataclass(frozen=True)
class Training:
    """What is trained, on which rows, into which folder; and whom it tells and obeys meanwhile."""

    prepared: Prepared
    dataset: Dataset
    run: RunFolder
    observe: Observe
    spent: TimeSpent
    stop: StopFlag = field(default_factory=StopFlag)
    profile: bool = False
    """Whether a chunk of each stage is traced."""

    def tell(self, text: str, level: str = "info") -> None:
        """Tell whoever observes."""
        self.observe({"event": "message", "level": level, "text": text})


def started(prepared: Prepared, run: RunFolder) -> Event:
    """The event with which a run begins, goes on or is played."""
    task, schedule = prepared.task, prepared.schedule
    return {
        "event": "started",
        "algorithm": prepared.config.algorithm,
        "task": task.name,
        "metric": task.metric,
        "unit": task.unit,
        "seeds": prepared.config.seed_numbers,
        "stages": [{"name": stage.name, "steps": stage.steps} for stage in schedule.stages],
        "steps": schedule.steps,
        "out": str(run.path),
    }

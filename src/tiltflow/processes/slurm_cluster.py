"""A cluster of Slurm, by submitit: a call's errands are one array job, and events come through files.

submitit pickles its jobs into the folder and reads them there, on the other machine.
"""

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final
from uuid import uuid4

from tiltflow.errors import UserError
from tiltflow.files import append_line
from tiltflow.packages import require
from tiltflow.processes.errand import Errand, do_errand
from tiltflow.processes.executor import Event
from tiltflow.processes.remote import Cluster
from tiltflow.processes.stopping import StopFlag, listening

_FOLDER = ".slurm"


@final
class SlurmCluster(Cluster):
    """`at_most` so many jobs at a time, with the options of submitit; its files are in the folder `out`.

    The option `cluster` is submitit's own: local runs the jobs on this machine, all at once. Raises UserError
    where submitit or Slurm is missing, or an option is none.
    """

    def __init__(self, out: Path, options: Mapping[str, str], at_most: int | None = None):
        submitit: Any = require("submitit")
        self._folder = out.absolute() / _FOLDER / uuid4().hex  # nobody has put a pickle there before
        given: dict[str, Any] = {
            key: int(value) if value.isdigit() else value
            for key, value in {"name": "tiltflow", **options}.items()
        }
        self._at_most = at_most or int(given.get("slurm_array_parallelism", 256))
        given["slurm_array_parallelism"] = self._at_most
        try:
            self._executor = submitit.AutoExecutor(self._folder, cluster=given.pop("cluster", "slurm"))
            self._executor.update_parameters(**given)
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise UserError(f"--slurm: {' '.join(str(error).split())}") from error
        self._events = self._folder / "events"
        self._jobs: list[tuple[Errand, Any]] = []
        self._read: dict[Path, int] = {}
        self._stopped = False

    def width(self) -> int:
        """As `Cluster.width` says: nobody knows before the queue has come to them."""
        return self._at_most

    def begin(self, errands: Sequence[Errand]) -> None:
        """As `Cluster.begin` says."""
        if not errands:
            return
        self._events.mkdir(parents=True, exist_ok=True)
        self._executor.update_parameters(cpus_per_task=max(task.job.cores for task in errands))
        with self._executor.batch():
            jobs = [self._executor.submit(_do_in_array, task, self._file(task)) for task in errands]
        self._jobs += zip(errands, jobs, strict=True)
        self._read |= {self._file(task): 0 for task in errands}

    def _file(self, task: Errand) -> Path:
        return self._events / f"{task.index}-{task.attempt}.jsonl"

    def ended(self) -> list[tuple[Errand, str]]:
        """As `Cluster.ended` says."""
        over = [(task, job) for task, job in self._jobs if job.done()]
        self._jobs = [pair for pair in self._jobs if pair not in over]
        return [(task, f"Slurm's job {job.job_id} is {job.state}.") for task, job in over]

    def events(self) -> list[tuple[int, int, Event]]:
        """As `Cluster.events` says."""
        found = []
        for path, place in list(self._read.items()):
            if not path.exists():
                continue
            index, attempt = map(int, path.stem.split("-"))
            with path.open("rb") as file:
                file.seek(place)
                lines = [line for line in file if line.endswith(b"\n")]
            self._read[path] = place + sum(map(len, lines))
            found += [(index, attempt, json.loads(line)) for line in lines]
            if lines and found[-1][2]["event"] == "exited":
                del self._read[path]
                path.unlink()
        return found

    def stop(self) -> None:
        """As `Cluster.stop` says: `scancel` sends SIGTERM, and after Slurm's KillWait SIGKILL."""
        for _, job in self._jobs:
            job.cancel(check=False)
        self._stopped = True

    def kill(self) -> None:
        """As `Cluster.kill` says: those that have been asked to stop Slurm kills itself."""
        if not self._stopped:
            self.stop()


def _do_in_array(task: Errand, events: Path) -> None:
    """A task of the array. Before its time is over it gets SIGUSR2, and where it is to make room SIGTERM."""
    stop = StopFlag()
    with listening(stop.ask):
        signal.signal(signal.SIGUSR2, stop.ask)
        do_errand(task, lambda event: append_line(events, json.dumps(event)), stop)

"""A cluster of Ray: every errand is a task, and events come through a queue on the node of the command."""

import os
import signal
from collections.abc import Sequence
from typing import Any, final

from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.processes.errand import Errand, do_errand
from tiltflow.processes.executor import Event
from tiltflow.processes.local import available_cores
from tiltflow.processes.remote import Cluster
from tiltflow.processes.stopping import REQUESTS, StopFlag, listening

_MOST_WORDS = 300


@final
class RayCluster(Cluster):
    """The cluster at an address ("ray://HOST:10001"); without one that of this machine, or a new one on it.

    Each errand has `gpus` of a GPU. Raises UserError where Ray is missing or nobody answers.
    """

    def __init__(self, address: str = "", gpus: float = 0.0):
        self._ray: Any = require("ray")
        self._gpus = gpus
        self._connect(address)
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # With the command itself: where the node of the queue is lost, so is the command.
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._tasks: dict[Any, Errand] = {}
        # What is lost is begun again by the executor, which tells of it.
        self._remote = self._ray.remote(num_gpus=gpus, max_retries=0)(_do_in_task)

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "error"}
        handlers = {number: signal.getsignal(number) for number in REQUESTS}
        try:
            self._ray.init(address or "auto", **quiet)
        except ConnectionError as error:
            if address:
                raise UserError(
                    f"No cluster of Ray answers at {address} ({error}). Give the address of its head as "
                    "ray://HOST:10001, or call the command on a machine of the cluster with --executor ray."
                ) from error
            self._ray.init(num_cpus=len(available_cores()), include_dashboard=False, **quiet)
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)

    def width(self) -> int:
        """As `Cluster.width` says."""
        there = self._ray.cluster_resources()
        cores = int(there.get("CPU", 0))
        return min(cores, int(there.get("GPU", 0) / self._gpus)) if self._gpus else cores

    def begin(self, errands: Sequence[Errand]) -> None:
        """As `Cluster.begin` says."""
        for task in errands:
            remote = self._remote.options(num_cpus=task.job.cores)
            self._tasks[remote.remote(task, self._queue)] = task

    def ended(self) -> list[tuple[Errand, str]]:
        """As `Cluster.ended` says."""
        if not self._tasks:
            return []
        done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [(self._tasks.pop(task), self._last_words(task)) for task in done]

    def _last_words(self, task: Any) -> str:
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__} {' '.join(str(error).split())[:_MOST_WORDS]}"
        return "it ended without a word."

    def events(self) -> list[tuple[int, int, Event]]:
        """As `Cluster.events` says."""
        count = self._queue.qsize()
        return self._queue.get_nowait_batch(count) if count else []

    def stop(self) -> None:
        """As `Cluster.stop` says."""
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def kill(self) -> None:
        """As `Cluster.kill` says."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._tasks.clear()


def _do_in_task(task: Errand, queue: Any) -> None:
    """A task of Ray. Cancelled, it gets what Ctrl-C sends."""
    stop = StopFlag()
    with listening(stop.ask):
        do_errand(task, lambda event: queue.put((task.index, task.attempt, event)), stop)

"""A cluster of Ray: every errand is a task, and events come through a queue on the node of the command."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.processes.errand import Errand, do_errand
from tiltflow.processes.executor import Event
from tiltflow.processes.local import available_cores
from tiltflow.processes.remote import Cluster
from tiltflow.processes.stopping import REQUESTS, StopFlag, listening


@final
class RayCluster(Cluster):
    """The cluster at an address ("ray://HOST:10001"), or that of RAY_ADDRESS; else a new one on this machine.

    Each errand has `gpus` of a GPU; without any it sees none, which Ray itself does not see to. Raises
    UserError where Ray is missing or nobody answers.
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
        self._last: list[tuple[int, int, Event]] = []
        # What is lost is begun again by the executor, which tells of it.
        self._remote = self._ray.remote(num_gpus=gpus, max_retries=0)(_do_in_task)
        there = [node["Resources"].get("GPU", 0.0) for node in self._ray.nodes() if node["Alive"]]
        if gpus > max(there, default=0.0):
            text = f"no machine of the cluster has {gpus:g} of a GPU: the runs wait until one has."
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "error"}
        handlers = {number: signal.getsignal(number) for number in REQUESTS}
        address = address or os.environ.get("RAY_ADDRESS", "")
        try:
            if address:
                self._ray.init(address, **quiet)
            else:
                # Not "auto": the last cluster of this machine may be gone, which takes Ray minutes to see.
                cores = len(available_cores())
                self._ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        except (ConnectionError, ValueError, self._ray.exceptions.RayError) as error:
            raise UserError(
                f"No cluster of Ray answers at {address or 'this machine'} ({error}). Give that of its "
                "head: --executor ray://HOST:10001 or, on a machine of the cluster, RAY_ADDRESS=HOST:6379."
            ) from error
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
            if not self._gpus:
                task = replace(task, variables={**task.variables, "CUDA_VISIBLE_DEVICES": ""})
            remote = self._remote.options(num_cpus=task.job.cores)
            self._tasks[remote.remote(task, self._queue)] = task

    def ended(self) -> list[tuple[Errand, str]]:
        """As `Cluster.ended` says."""
        if not self._tasks:
            return []
        done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        over = [(self._tasks.pop(ended), ended) for ended in done]
        return [(task, self._last_words(task, ended)) for task, ended in over]

    def _last_words(self, task: Errand, ended: Any) -> str:
        try:
            self._last.append((task.index, task.attempt, self._ray.get(ended)))
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0]}."
        return ""

    def events(self) -> list[tuple[int, int, Event]]:
        """As `Cluster.events` says."""
        count = self._queue.qsize()
        told, self._last = (self._queue.get_nowait_batch(count) if count else []) + self._last, []
        return told

    def stop(self) -> None:
        """As `Cluster.stop` says."""
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def kill(self) -> None:
        """As `Cluster.kill` says."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._tasks.clear()


def _do_in_task(task: Errand, queue: Any) -> Event:
    """A task of Ray; gives the last event of the errand. Cancelled, it gets what Ctrl-C sends."""
    stop, last = StopFlag(), {}

    def send(event: Event) -> None:
        # Nobody waits for the queue: Ray gives the core of a task that waits to another one.
        if event["event"] == "exited":
            last.update(event)
        else:
            queue.actor.put_nowait.remote((task.index, task.attempt, event))

    with listening(stop.ask):
        do_errand(task, send, stop)
    return last

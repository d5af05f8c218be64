"""The options that say where runs go on, for the verbs that have many."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tiltflow.errors import UserError
from tiltflow.processes.executors import EXECUTORS, Wanted


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """Which machines, and how many runs at a time."""

    executor: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(EXECUTORS) + "}")] = "local"
    """Where the runs go on: in processes of this machine, or on a cluster whose machines share the folder of
    --out: ray (or ray://HOST:10001), slurm (docs/scaling.md)."""
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Runs that go on at a time, at most and without it one a core (ray: as many as the cluster has room
    for); fewer need less memory."""
    gpus: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.0
    """Share of a GPU that each run has, with --executor ray; 0 is none."""
    slurm: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[KEY=VALUE …]")] = None
    """The same as --executor slurm, with options of submitit, as in
    slurm_partition=gpu timeout_min=600 gpus_per_node=1."""

    def wanted(self) -> Wanted:
        """What the options say. Raises UserError for what cannot be."""
        if self.slurm is None:
            return Wanted(self.executor, self.processes, self.gpus)
        if self.executor not in ("local", "slurm"):
            raise UserError(f"--slurm and --executor {self.executor}: give one of them.")
        pairs = [pair.partition("=") for pair in self.slurm]
        if bad := [
            pair for pair, (key, _, value) in zip(self.slurm, pairs, strict=True) if not key or not value
        ]:
            raise UserError(f"--slurm {bad[0]}: write KEY=VALUE, as in slurm_partition=gpu.")
        return Wanted("slurm", self.processes, self.gpus, {key: value for key, _, value in pairs})

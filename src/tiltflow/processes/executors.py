"""What runs jobs, by name. Naming them imports nothing of theirs. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiltflow.errors import UserError, nearest
from tiltflow.processes.executor import Executor

EXECUTORS = {
    "local": "processes of this machine",
    "ray": "tasks of a cluster of Ray: at ray://HOST:10001, that of RAY_ADDRESS, or a new one here",
    "slurm": "an array job of Slurm",
}


@dataclass(frozen=True)
class Wanted:
    """Where and how a command wants its jobs to be run."""

    name: str = "local"
    """One of EXECUTORS; behind ray perhaps an address."""
    at_most: int | None = None
    """Jobs at a time."""
    gpus: float = 0.0
    """Share of a GPU that each has on a cluster of Ray."""
    slurm: Mapping[str, str] = field(default_factory=dict)
    """Options of submitit."""

    def __post_init__(self) -> None:
        kind = self.name.partition("://")[0]
        if kind not in EXECUTORS or (kind != "ray" and kind != self.name):
            raise UserError(
                f"There is no executor {self.name!r}.{nearest(kind, EXECUTORS)} Known: local, ray, "
                "ray://HOST:PORT, slurm."
            )
        if self.at_most is not None and self.at_most < 1:
            raise UserError(f"processes = {self.at_most}: it must be at least 1.")
        if self.gpus < 0:
            raise UserError(
                f"gpus = {self.gpus}: it must be a share of a GPU or a number of them, 0 or more."
            )
        if self.gpus and kind != "ray":
            raise UserError("--gpus: for --executor ray alone. Slurm has --slurm gpus_per_node=1.")

    def open(self, folder: Path) -> Executor:
        """The executor; `folder` is for files of its own. Raises UserError where it cannot be reached."""
        if self.name == "local":
            from tiltflow.processes.local import LocalExecutor

            return LocalExecutor(self.at_most)
        from tiltflow.processes.remote import RemoteExecutor

        if self.name == "slurm":
            from tiltflow.processes.slurm_cluster import SlurmCluster

            return RemoteExecutor(SlurmCluster(folder, self.slurm, self.at_most))
        from tiltflow.processes.ray_cluster import RayCluster

        address = self.name if "://" in self.name else ""
        return RemoteExecutor(RayCluster(address, self.gpus), self.at_most)

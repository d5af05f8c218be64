"""benchmark.json, which names the runs of a benchmark's folder. Standard library only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.json_records import record_fault

BENCHMARK_FILE = "benchmark.json"


class PlannedRun(NamedTuple):
    """One training of one seed."""

    task: str
    agent: str
    seed: int
    variant: str = ""
    """The settings that it varies (vary.py)."""

    @property
    def folder(self) -> Path:
        """Its run folder, within that of the benchmark."""
        return Path(self.task.replace("/", "-")) / self.agent / self.variant / f"seed-{self.seed}"

    @property
    def label(self) -> str:
        """The agent with what is varied, as `tiltflow compare` calls them."""
        return f"{self.agent} ({self.variant.replace(',', ', ')})" if self.variant else self.agent

    def __str__(self) -> str:
        return f"{self.label} on {self.task}, seed {self.seed}"


class _Entry(TypedDict):
    task: str
    agent: str
    seed: int
    folder: str
    variant: NotRequired[str]
    state: NotRequired[str]
    seconds: NotRequired[float]
    reason: NotRequired[str | None]


class _Benchmark(TypedDict):
    runs: list[_Entry]


def stored_runs(out: Path) -> list[dict[str, Any]]:
    """The runs that benchmark.json knows; none without it. Raises UserError where it is damaged."""
    file = out / BENCHMARK_FILE
    if not file.exists():
        return []
    record = read_object(file)
    if fault := record_fault(record, _Benchmark):
        raise UserError(
            f"{file} is damaged: {fault}. Delete the file: the runs are found again in their folders, "
            "only the seconds that they took are lost."
        )
    return record["runs"]


def stored_label(entry: Mapping[str, Any]) -> str:
    """The agent of a run that benchmark.json knows, with what it varies."""
    return PlannedRun(entry["task"], entry["agent"], entry["seed"], entry.get("variant", "")).label

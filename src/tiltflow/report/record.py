"""What a run folder holds, as pages take it: finished, still training, or broken off."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tiltflow.data.interface import PolicyInterface, stored_interface
from tiltflow.data.transitions import Spec
from tiltflow.evaluation.rollouts import Episodes
from tiltflow.evaluation.statistics import (
    episodes_of_seeds,
    last_evaluations,
    score_interval,
    seed_scores,
)
from tiltflow.report.pictures import FilmStrip, MazePaths
from tiltflow.tasks import Task

CURVE_RESAMPLES = 2000


class Curve(NamedTuple):
    """A quantity over training: gradient steps, one column per seed, and a band around their mean."""

    steps: Int[np.ndarray, " n"]
    seeds: Float[np.ndarray, "n seeds"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]

    @property
    def mean(self) -> Float[np.ndarray, " n"]:
        return self.seeds.mean(axis=1)


class StageRecord(NamedTuple):
    """A stage that has begun: its gradient steps so far, the wall time they took, what was logged."""

    name: str
    steps: int
    seconds: float
    metrics: tuple[str, ...]


class Actions(NamedTuple):
    """Actions at the same states: those of the data, and those of the policy of each seed."""

    data: Float[np.ndarray, "n a"]
    policy: Float[np.ndarray, "seeds n a"]


@dataclass(frozen=True)
class RunContent:
    """The content of a run folder. `result` is of the evaluations so far where the run is not finished."""

    name: str
    config: dict[str, Any]
    environment: dict[str, Any]
    chunks: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    task: Task
    finished: bool
    result: dict[str, Any] | None
    actions: Actions | None
    paths: MazePaths | None
    film: FilmStrip | None
    spent: dict[str, float]
    """Seconds of the training by what they were spent on, where that is known."""

    @property
    def algorithm(self) -> str:
        return self.config["algorithm"]

    @property
    def seed_numbers(self) -> list[int]:
        return [self.config["seed"] + index for index in range(self.config["seeds"])]

    @property
    def steps(self) -> int:
        """Gradient steps of the whole run."""
        return max([self.config["steps"], *self.config.get("ends", [])])

    @property
    def last_step(self) -> int:
        return self.chunks[-1]["step"] if self.chunks else 0

    @cached_property
    def interface(self) -> PolicyInterface | None:
        """What the data call the entries of observations and actions, and the bounds of these; if recorded.

        Raises UserError where environment.json is damaged.
        """
        data = self.environment.get("data", {})
        if "interface" not in data:
            return None
        spec = Spec(data["observation_size"], data["action_size"])
        return stored_interface(data, spec, f"environment.json of {self.name}")

    @cached_property
    def stages(self) -> list[StageRecord]:
        """The stages that have begun, in order."""
        found = []
        for name in dict.fromkeys(chunk["stage"] for chunk in self.chunks):
            chunks = [chunk for chunk in self.chunks if chunk["stage"] == name]
            metrics = tuple(dict.fromkeys(key for chunk in chunks for key in chunk["metrics"]))
            seconds = sum(chunk["seconds"] for chunk in chunks)
            found.append(StageRecord(name, chunks[-1]["stage_step"], seconds, metrics))
        return found

    def stage_start(self, stage: str) -> int:
        """The gradient step at which a stage began."""
        first = next(record for record in [*self.chunks, *self.evaluations] if record["stage"] == stage)
        return first["step"] - first.get("stage_step", 0)

    @cached_property
    def refreshes(self) -> list[int]:
        """Gradient steps at which the support actions were refreshed, after the stage's first drawing."""
        logged = [chunk for chunk in self.chunks if "refreshes" in chunk["metrics"]]
        return [
            before["step"]
            for before, after in pairwise(logged)
            if max(after["metrics"]["refreshes"]) > max(before["metrics"]["refreshes"])
        ]

    def metric(self, stage: str, name: str) -> Curve:
        """A logged metric in one stage; the band spans the seeds."""
        chunks = [c for c in self.chunks if c["stage"] == stage and name in c["metrics"]]
        values = np.array([chunk["metrics"][name] for chunk in chunks], np.float64)
        steps = np.array([chunk["step"] for chunk in chunks])
        return Curve(steps, values, values.min(axis=1), values.max(axis=1))

    @cached_property
    def scores(self) -> dict[str, Curve]:
        """The score at every evaluation of each stage; the band is its 95 % interval."""
        stages = dict.fromkeys(record["stage"] for record in self.evaluations)
        return {stage: self._scores([r for r in self.evaluations if r["stage"] == stage]) for stage in stages}

    def _scores(self, records: list[dict[str, Any]]) -> Curve:
        intervals = [score_interval(self.task, [record], CURVE_RESAMPLES) for record in records]
        low, high = np.array(intervals).T
        seeds = np.array([seed_scores(self.task, record) for record in records])
        return Curve(np.array([r["step"] for r in records]), seeds, low, high)

    def beta_at(self, step: int) -> float | None:
        """β of the policy at that gradient step, mean over seeds, where it is logged."""
        logged = (chunk["metrics"].get("beta") for chunk in self.chunks if chunk["step"] == step)
        found = next(logged, None)
        return None if found is None else float(np.mean(found))

    @cached_property
    def scored_betas(self) -> list[float]:
        """The different β of the evaluations behind the result, in order."""
        steps = [] if self.result is None else self.result["evaluated_steps"]
        betas = [round(beta, 6) for step in steps if (beta := self.beta_at(step)) is not None]
        return list(dict.fromkeys(betas))

    @cached_property
    def last_episodes(self) -> list[Episodes]:
        """Of each seed, the episodes behind the result, where they were played."""
        if not (self.evaluations and self.task.played):
            return []
        return episodes_of_seeds(last_evaluations(self.evaluations))

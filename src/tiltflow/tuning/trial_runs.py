"""The runs of a sweep, one for each seed of each trial, as jobs; what they come to is on the disk at once."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.agents.setting_numbers import numbers_of
from tiltflow.benchmark.records import RUN_LOG
from tiltflow.errors import Interrupted, TrainingDiverged, UserError
from tiltflow.processes.executor import Event, Executor, Job, error_of
from tiltflow.processes.stopping import StopFlag
from tiltflow.settings import flat
from tiltflow.train_config import TrainConfig, to_dict
from tiltflow.tuning.sweep import Sweep, Trial, write_sweep
from tiltflow.tuning.trial_job import train_trials

AdvanceRuns = Callable[[str, int, int, str], None]
"""(what goes on, runs done, runs in all, a note)"""


@dataclass
class TrialRuns:
    """The runs of a sweep in the folder `out`; `runs` is what they have come to, by their folders there."""

    sweep: Sweep
    out: Path
    runs: dict[str, Any]
    executor: Executor
    stop: StopFlag
    advance: AdvanceRuns
    trials: list[Trial]
    """All so far, the first of which that has the same settings as another one trains for both."""

    def keep(self, trials: list[Trial]) -> None:
        """Write down where all trials stand."""
        self.trials = list(trials)
        write_sweep(self.sweep, self.trials, self.runs, self.out)

    def train(self, trials: list[Trial], until: int | None) -> dict[int, list[dict[str, Any]]]:
        """Bring every seed of these trials to so many evaluations, or to the end; gives what they came to.

        Raises Interrupted when asked to stop, and ProcessFailed where a process broke; what is done is kept.
        """
        self.trials += [trial for trial in trials if trial not in self.trials]
        wanted = {folder: place for trial in trials for folder, place in self._folders(trial).items()}
        left = [folder for folder in wanted if not _reached(self.runs.get(folder), until)]
        if left:
            self._run({folder: wanted[folder] for folder in left}, until)
        return {trial.number: [self.runs[folder] for folder in self._folders(trial)] for trial in trials}

    def _folders(self, trial: Trial) -> dict[str, tuple[Trial, int]]:
        first = next(other for other in self.trials if other.settings == trial.settings)
        seeds = self.sweep.config.seed_numbers
        return {f"trial-{first.number:03d}/seed-{seed}": (trial, seed) for seed in seeds}

    def _run(self, wanted: dict[str, tuple[Trial, int]], until: int | None) -> None:
        numbers = sorted({trial.number for trial, _ in wanted.values()})
        goal = "the end" if until is None else f"evaluation {until}"
        what = (
            f"trials {numbers[0]} to {numbers[-1]}, to {goal}"
            if len(numbers) > 1
            else f"trial {numbers[0]}, to {goal}"
        )
        configs = {
            folder: self.sweep.trial_config(trial.settings, seed) for folder, (trial, seed) in wanted.items()
        }
        parts, done = _side_by_side(configs), 0
        jobs = [self._job({folder: configs[folder] for folder in part}, until) for part in parts]
        self.advance(what, 0, len(wanted), "")
        with closing(self.executor.submit(jobs, self.stop)) as told:
            for index, event in filter(None, told):
                part = parts[index]
                if event["event"] == "exited":
                    outcomes = _outcomes(event, jobs[index].log, len(part))
                    for folder, outcome in zip(part, outcomes, strict=True):
                        # Of what failed, the evaluations before: the same command decides by them again.
                        before = self.runs.get(folder, {}) if "failed" in outcome else {}
                        self.runs[folder] = before | outcome
                    self.keep(self.trials)
                    done += len(part)
                if note := _note(part, event):
                    self.advance(what, done, len(wanted), note)
        self.stop.check()

    def _job(self, configs: dict[str, TrainConfig], until: int | None) -> Job:
        folders = [self.out / folder for folder in configs]
        arguments = {
            "configs": [to_dict(config) for config in configs.values()],
            "folders": [str(folder) for folder in folders],
            "objective": self.sweep.objective,
            "until": until,
        }
        work = f"{train_trials.__module__}:{train_trials.__name__}"
        return Job(work, arguments, folders[0] / RUN_LOG)


def _side_by_side(configs: dict[str, TrainConfig]) -> list[list[str]]:
    """The folders of the runs that train as one program: each alone, but where runs are vmapped."""
    # This process asks JAX for the kind of device alone: its runs need the memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from tiltflow.training.prepare import vmapped

    parts: dict[str, list[str]] = {}
    for folder, config in configs.items():
        together = vmapped(config) and config.parallel != "shard"
        parts.setdefault(_without_numbers(config) if together else folder, []).append(folder)
    return list(parts.values())


def _without_numbers(config: TrainConfig) -> str:
    """What two runs must have in common to be one program; their seeds may differ."""
    declared = ALGORITHMS.find(config.algorithm).declared
    free = {f"agent.{key}" for key in numbers_of(config.agent)} if declared.numbers else set()
    record = flat(to_dict(config))
    return json.dumps({key: value for key, value in record.items() if key not in free | {"seed"}})


def _reached(run: dict[str, Any] | None, until: int | None) -> bool:
    if run is None:
        return False
    return "failed" in run or run["finished"] or (until is not None and len(run["values"]) >= until)


def _outcomes(event: Event, log: Path, count: int) -> list[dict[str, Any]]:
    """What a job's runs have come to. That one diverged is for good, what a user can mend for this time."""
    if event["failed"] is None:
        return event["result"]
    error = error_of(event["failed"], log)
    if isinstance(error, TrainingDiverged | UserError):
        return [{"failed": str(error), "mendable": isinstance(error, UserError)}] * count
    raise Interrupted(str(error)) if isinstance(error, Interrupted) else error


def _note(folders: list[str], event: Event) -> str:
    folder = folders[0] + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")
    match event["event"]:
        case "chunk":
            return f"{folder}: step {event['step']:,}"
        case "lost":
            return f"{folder} was lost and is continued: {event['text']}"
        case "exited":
            return f"{folder}: {'failed' if event['failed'] else 'done'}"
    return ""

"""What a sweep is, and its file tune.json: the trials, and what their runs have come to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from tiltflow.agents.presets import Preset
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.errors import UserError
from tiltflow.files import read_object, write_json
from tiltflow.settings import Count, Objective, Sampler, check, diff, diff_text, override
from tiltflow.tasks import NO_ENVIRONMENT, find_task
from tiltflow.train_config import TrainConfig, to_dict
from tiltflow.tuning.space import Space
from tiltflow.words import plural

TUNE_FILE = "tune.json"
BEST_FILE = "best.json"
_FREE = {"budget": None, "config.data": None, "config.data_on": None}


@dataclass(frozen=True)
class SearchConfig:
    """How the space is searched."""

    budget: Count = 20
    """Configurations that are tried."""
    batch: Count = 4
    """Configurations that are proposed at a time, knowing the batches before; a batch goes on at a time."""
    sampler: Sampler = "tpe"
    """tpe: the first ten at random, then by a tree of Parzen estimators; random: all at random."""
    prune: bool = True
    """Stop what is behind after 1, 3, 9, … evaluations (successive halving by three)."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Sweep:
    """The training that trials depart from, of all seeds; the space; the criterion; how it is searched."""

    config: TrainConfig
    space: Space
    objective: Objective
    search: SearchConfig

    @property
    def maximise(self) -> bool:
        """Whether more of the criterion is better."""
        return self.objective != "loss"

    def trial_config(self, settings: Mapping[str, Any], seed: int) -> TrainConfig:
        """The training of a trial's seed. Raises UserError for settings that do not suit each other."""
        agent = override(self.config.agent, settings)
        return replace(self.config, agent=agent, seeds=1, seed=seed)

    def record(self) -> dict[str, Any]:
        """What the trials are a function of, as JSON has it."""
        space = {key: asdict(axis) for key, axis in self.space.items()}
        for axis in space.values():
            axis |= {"values": list(axis["values"])} if "values" in axis else {}
        return {
            "format": 1,
            "objective": self.objective,
            **asdict(self.search),
            "space": space,
            "config": to_dict(self.config),
        }


@dataclass
class Trial:
    """A configuration and what became of it. `values` are of `steps`, the mean over seeds."""

    number: int
    settings: dict[str, Any]
    state: Literal["running", "finished", "pruned", "failed"] = "running"
    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    criterion: float | None = None
    """The mean of the last three values."""
    reason: str | None = None
    """Why it failed."""


def objective_of(algorithm: str, given: str | None) -> Objective:
    """The criterion, by default one without a simulator: of what clones the loss, otherwise the estimate."""
    default = ALGORITHMS.find(algorithm).config
    name: Any = given or ("estimate" if hasattr(default, "critic") else "loss")
    if name not in get_args(Objective):
        raise UserError(f"--objective {name}: it must be one of {', '.join(get_args(Objective))}.")
    return name


def held_out_config(config: TrainConfig, objective: Objective) -> TrainConfig:
    """The training without its simulator, where the criterion is not the return."""
    played = find_task(config.task, config.env).played
    if objective == "return" and not played:
        raise UserError("--objective return needs a simulator: give --env, or another objective.")
    if objective == "return" or not played:
        return config
    return replace(config, env=NO_ENVIRONMENT)


def read_runs(sweep: Sweep, out: Path) -> dict[str, Any]:
    """What the runs of the sweep in this folder have come to, by their folders; nothing where none is.

    What failed for a reason that can be mended is not among them: it is tried again.
    Raises UserError where the folder holds a sweep of other settings, or of more trials than the budget.
    """
    file = out / TUNE_FILE
    if not file.exists():
        return {}
    record = read_object(file, "runs", "space", "config")
    before = {key: record.get(key) for key in sweep.record()}
    if found := {key: pair for key, pair in diff(before, sweep.record()).items() if key not in _FREE}:
        raise UserError(
            f"{out} holds a sweep of other settings: {diff_text(found)} (begun ≠ wanted). Give the same "
            "options as then, of which --budget alone may grow, or another folder with --out."
        )
    if (tried := len(record.get("trials", []))) > sweep.search.budget:
        raise UserError(
            f"{out} has tried {tried} configurations already, more than --budget {sweep.search.budget}: the "
            f"best of them might be lost. Give --budget {tried} or more, or another folder with --out."
        )
    return {folder: run for folder, run in record["runs"].items() if not run.get("mendable")}


def write_sweep(sweep: Sweep, trials: list[Trial], runs: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write tune.json; returns its content."""
    listed = [asdict(trial) for trial in trials]
    record = {**sweep.record(), "trials": listed, "runs": dict(runs)}
    write_json(out / TUNE_FILE, record)
    return record


def ranked(trials: list[Trial], maximise: bool) -> list[Trial]:
    """The trials, the best first: finished ones, then those that were stopped early, then what failed."""
    order = {"finished": 0, "running": 1, "pruned": 1, "failed": 2}

    def place(trial: Trial) -> tuple[float, float, int]:
        value = (
            trial.criterion if trial.criterion is not None else float("-inf") if maximise else float("inf")
        )
        return order[trial.state], -value if maximise else value, trial.number

    return sorted(trials, key=place)


def best_preset(sweep: Sweep, trial: Trial) -> Preset:
    """The preset of a trial: every setting that differs from the algorithm's defaults."""
    config = sweep.config
    default = ALGORITHMS.find(config.algorithm).config
    rows = {key: after for key, (_, after) in diff(default, override(config.agent, trial.settings)).items()}
    many = plural(sweep.search.budget, "configuration")
    source = (
        f"tuned {tuned_on(sweep.objective)} of {config.task}: the best of {many}, "
        f"{plural(config.seeds, 'seed')}, {plural(config.steps, 'step')}"
    )
    return Preset(config.algorithm, config.task, default, rows, source, config.steps)


def tuned_on(objective: Objective) -> str:
    """What a sweep has gone by, in words."""
    return {
        "estimate": "on the estimated return from recorded episodes",
        "loss": "on the matching loss on held-out episodes",
        "return": "on the test return",
    }[objective]

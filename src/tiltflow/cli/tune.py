"""`tiltflow tune`: many configurations of an algorithm on a task, and the best of them as a preset."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import tyro

from tiltflow import words
from tiltflow.cli import train as train_verb
from tiltflow.cli.executor_options import ExecutorOptions
from tiltflow.cli.tables import print_table
from tiltflow.errors import Interrupted, UserError
from tiltflow.processes.executor import Executor
from tiltflow.settings import Objective
from tiltflow.train_config import TrainConfig, default_out
from tiltflow.tuning.space import read_space
from tiltflow.tuning.sweep import (
    BEST_FILE,
    SearchConfig,
    Sweep,
    Trial,
    best_preset,
    held_out_config,
    objective_of,
    ranked,
    read_runs,
    tuned_on,
    write_sweep,
)

_PROGRAM = "tiltflow tune"
_SHOWN = 10
_DESCRIPTION = """Try many configurations of an algorithm on a task; the best one becomes a preset.

tiltflow tune ALGORITHM --task TASK --space SPACE.toml --budget N [--set.KEY VALUE …]

ALGORITHM and every option that is not listed here are those of `tiltflow train`: what all configurations
have in common, with --seeds so many seeds of each. The folder of --out gets tune.html, the page of the sweep,
best.json for `--preset`, tune.json, and a run folder trial-N/seed-S for every run. Called again, the command
goes on; a greater --budget adds configurations."""


@dataclass(frozen=True)
class Tuning(ExecutorOptions):
    """The options of a sweep that are no options of a training."""

    space: Annotated[Path, tyro.conf.arg(metavar="SPACE.toml")]
    """The settings that vary, as --set has them (docs/tune.md): beta = {log-uniform = [0.3, 30]},
    critic.aggregate = ["min", "mean"], critic.ensemble = {int = [2, 10]}."""
    objective: Annotated[str | None, tyro.conf.arg(metavar="{estimate,loss,return}")] = None
    """What they are judged by: the estimate of the return from recorded episodes; the matching loss on
    held-out ones; or the return that is played, which then is no test any more. Without it the estimate, for
    cloning the loss."""
    search: tyro.conf.OmitArgPrefixes[SearchConfig] = field(default_factory=SearchConfig)


@dataclass(frozen=True)
class Tune:
    """A sweep: the training that all its configurations depart from, and what is tried."""

    config: TrainConfig
    objective: Objective
    out: Path
    options: Tuning

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep. Raises UserError where its space is none."""
        space = read_space(self.options.space, self.config.agent)
        return Sweep(held_out_config(self.config, self.objective), space, self.objective, self.options.search)

    def run(self) -> None:
        """Try what is left, showing the progress; write the preset and the page, print the best ones.

        Raises UserError for bad input before any training, and where no trial has a criterion; Interrupted
        when asked to stop, after a checkpoint of every run.
        """
        wanted, runs = self.options.wanted(), read_runs(self.sweep, self.out)
        from tiltflow.packages import require

        require("optuna")
        executor = wanted.open(self.out)  # before JAX has threads: Ray forks
        from tiltflow.training.prepare import check_environment, prepare

        prepared, _ = prepare(self.sweep.config)
        check_environment(prepared)
        try:
            trials = self._work(executor, runs)
        except (KeyboardInterrupt, Interrupted) as stop:
            raise Interrupted(
                f"Stopped. What is done is kept in {self.out}: the same command continues."
            ) from stop
        self._conclude(trials, write_sweep(self.sweep, trials, runs, self.out))

    def _work(self, executor: Executor, runs: dict[str, Any]) -> list[Trial]:
        from tiltflow.cli.bars import progress_bar
        from tiltflow.processes.locks import locked
        from tiltflow.processes.stopping import stop_on_signals
        from tiltflow.tuning.search import search
        from tiltflow.tuning.trial_runs import TrialRuns

        with locked(self.out), stop_on_signals() as stop, progress_bar("runs") as advance:
            at_work = TrialRuns(self.sweep, self.out, runs, executor, stop, advance, [])
            return search(self.sweep, at_work.train, at_work.keep)

    def _conclude(self, trials: list[Trial], record: dict[str, Any]) -> None:
        from tiltflow.agents.preset_file import write_preset_file

        order = ranked(trials, self.sweep.maximise)
        best = order[0]
        if best.criterion is None:
            raise UserError(f"No trial of {self.out} has a criterion. The first one: {trials[0].reason}")
        _print_trials(order)
        print(f"\nTuned {tuned_on(self.sweep.objective)}.", end=" ")
        if self.sweep.objective == "return":
            print("The best one's return is biased upwards: test it with other seeds.", end="")
        print()
        preset = self.out / BEST_FILE
        write_preset_file(preset, best_preset(self.sweep, best))
        print(f"{preset}: {_train_text(self.config, preset)}")
        try:
            from tiltflow.report.tune_page import write_tune_page

            print(write_tune_page(record, [trial.number for trial in order], self.out))
        except ModuleNotFoundError as error:
            print(f"No page was written: {error}", file=sys.stderr)


def _train_text(config: TrainConfig, preset: Path) -> str:
    """The command that trains the preset on what it was tuned on."""
    names = ("task", "data", "env", "columns", "reward", "action_bounds")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    options = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items()]
    words = ["tiltflow", "train", config.algorithm, *chain(*options), "--preset", str(preset)]
    return shlex.join(words)


def _print_trials(order: list[Trial]) -> None:
    keys = list(order[0].settings)
    rows = [
        (
            str(trial.number),
            *map(words.setting_text, trial.settings.values()),
            "" if trial.criterion is None else f"{trial.criterion:.4g}",
            trial.state if trial.state != "pruned" else f"stopped at step {trial.steps[-1]:,}",
        )
        for trial in order[:_SHOWN]
    ]
    print_table(("trial", *keys, "criterion", "state"), rows)
    if len(order) > _SHOWN:
        print(f"and {len(order) - _SHOWN} more, on the page")


def parse(arguments: Sequence[str]) -> Tune:
    """Read the arguments behind `tiltflow tune`: its own, and those of `tiltflow train`."""
    options, rest = tyro.cli(
        Tuning, prog=_PROGRAM, description=_DESCRIPTION, args=list(arguments), return_unknown_args=True
    )
    training = train_verb.parse(rest)
    if not isinstance(training, train_verb.Train) or training.log is not None or training.profile:
        raise UserError("--resume, --log and --profile: not for tune. The same command continues a sweep.")
    if not training.config.play:
        raise UserError("--no-play: leave it out. Without --objective return nothing is played anyway.")
    config = training.config
    objective = objective_of(config.algorithm, options.objective)
    out = training.out or Path("runs") / f"tune-{default_out(config, training.preset).name}"
    return Tune(config, objective, out, options)

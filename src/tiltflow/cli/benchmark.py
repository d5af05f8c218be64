"""`tiltflow benchmark`: every task of a suite with every agent and seed, resumable at every point."""

import inspect
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from tiltflow import words
from tiltflow.agents.registry import ALGORITHMS, PRESET_WORDS, PRESETS
from tiltflow.benchmark.plan import Plan, parse_network
from tiltflow.benchmark.records import DONE, RUN_LOG, RunRecord, check_unchanged, read_records, write_records
from tiltflow.benchmark.suites import SUITES, Suite, find_suite
from tiltflow.benchmark_file import PlannedRun
from tiltflow.cli.bars import progress_bar
from tiltflow.cli.column_options import ColumnOptions, join_action_bounds
from tiltflow.cli.executor_options import ExecutorOptions
from tiltflow.cli.tables import print_table
from tiltflow.errors import Interrupted, UserError
from tiltflow.processes.executors import Wanted
from tiltflow.tasks import Task, find_task
from tiltflow.train_config import TrainConfig

_NAMES = tyro.conf.arg(metavar="NAME [NAME …]")


@dataclass(frozen=True)
class Benchmark(ExecutorOptions, ColumnOptions):
    """Train and evaluate every task of a suite with every agent and seed, one process a core.

    Each is a run folder DIR/TASK/AGENT/[VARIANT/]seed-S of its own; DIR/benchmark.json says where all of
    them are, DIR/summary.csv has the scores, DIR/compare what `tiltflow compare` makes of them. Called
    again, the command continues what was interrupted, tries again what failed and keeps what is done.
    """

    suite: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SUITE")]
    """Which tasks."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the run folders."""
    agents: Annotated[tuple[str, ...], _NAMES] = ()
    """Algorithms; without it every one that `tiltflow train` knows."""
    tasks: Annotated[tuple[str, ...], _NAMES] = ()
    """Tasks of the suite; without it all of them."""
    preset: Annotated[str, tyro.conf.arg(metavar=PRESET_WORDS)] = PRESETS[0]
    """Hyper-parameters of every agent: ours; published, the settings that a source gives (qipo-ot, qipo-diff
    and diffusion-ql alone have them); or of one agent a file of `tiltflow tune`; in a folder of its own."""
    vary: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=VALUE[,VALUE …]")
    ] = ()
    """A setting of the agents that takes several values, as in beta=0.5,1,2; given again for another
    setting, every combination is trained. KEY is what `tiltflow train AGENT` has as --set.KEY."""
    seeds: int = 2
    """Seeds of each task and agent: the first one of everything is run before the second of anything."""
    seed: int = TrainConfig.seed
    """First seed."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Gradient steps of each run, in all stages together; without it 200,000, or those of the preset."""
    evaluations: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Evaluations of each run's policy; the score is the mean of the last three. Without it 10, or those of
    the preset, with whose steps the last three are at the final β."""
    episodes: int = TrainConfig.episodes
    """Episodes of each evaluation."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder with a NAME.npz or NAME.hdf5 for each data set; without it the default folders are searched
    (suite toy: collected into this folder where missing, without it into DIR/data)."""
    network: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxDEPTH")] = None
    """Units of each hidden layer and number of hidden layers, as in 256x3, in every network of every
    agent; without it those of the presets."""
    env: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Gymnasium id of the environment of the suite own; without it policies are scored on recorded
    episodes."""
    normalize_observations: Annotated[bool, tyro.conf.FlagConversionOff] = TrainConfig.normalize_observations
    """Shift and scale observations to mean 0 and standard deviation 1 over each data set."""
    play: Annotated[bool, tyro.conf.FlagCreatePairsOff] = TrainConfig.play
    """Train without playing, which needs no simulator: checkpoints are kept to be played later, here or
    elsewhere, by the same command without --no-play or by `tiltflow evaluate RUN`."""
    plan_only: Annotated[bool, tyro.conf.arg(name="plan"), tyro.conf.FlagCreatePairsOff] = False
    """Print what would be run and how much of it is left, then stop; exit code 2 where data are missing."""

    def run(self) -> None:
        """Do what is left, showing the progress; print the scores and what failed.

        Raises UserError for bad input and missing data, before any training; Interrupted when asked to stop,
        after a checkpoint of every run; SystemExit(1) where a run failed.
        """
        wanted = self.wanted()
        suite = find_suite(self.suite)
        plan = self.plan(suite)
        check_unchanged(plan, self.out)
        if self.plan_only:
            _print_plan(plan, read_records(plan, self.out))
        self._check(suite, plan)
        if self.plan_only:
            return
        try:
            records = self._work(suite, plan, wanted)
        except (KeyboardInterrupt, Interrupted) as stop:
            raise Interrupted(
                f"Stopped. What is done is kept in {self.out}: the same command continues."
            ) from stop
        self._conclude(records)

    def plan(self, suite: Suite) -> Plan:
        """What is to be run. Raises UserError for values that cannot be."""
        if suite.own and self.data is None:
            raise UserError("The suite own needs --data with the file, the files or the folder of your logs.")
        named = {"--env": self.env, "--columns": self.columns, "--reward": self.reward}
        named |= {"--action-bounds": self.action_bounds}
        if not suite.own and (given := [name for name, value in named.items() if value is not None]):
            raise UserError(f"{words.listing(given)}: for the suite own alone, not for {suite.name}.")
        for task in self.tasks:
            if task not in suite.tasks:
                raise UserError(
                    f"The task {task} is not in the suite {suite.name}: {', '.join(suite.tasks)}."
                )
        data = self.out / "data" if suite.collects and self.data is None else self.data
        values = {field.name: getattr(self, field.name) for field in fields(Plan)}
        values |= {
            "tasks": self.tasks or suite.tasks,
            "agents": self.agents or tuple(ALGORITHMS.known()),
            "data": None if data is None else str(data),
            "network": None if self.network is None else parse_network(self.network),
        }
        return Plan(**values)

    def _check(self, suite: Suite, plan: Plan) -> list[Task]:
        """The tasks whose data are to be collected. Raises for what is missing and cannot be made."""
        from tiltflow.benchmark.missing_data import missing_data, need_packages, refuse_missing

        tasks = [find_task(name, plan.env) for name in plan.tasks]
        if self.play:
            need_packages(tasks)
        data = None if plan.data is None else Path(plan.data)
        missing = missing_data(tasks, data)
        if not (suite.collects and self.play):  # collecting takes the simulator
            refuse_missing(missing, data)
        return missing

    def _work(self, suite: Suite, plan: Plan, wanted: Wanted) -> dict[PlannedRun, RunRecord]:
        """Collect and train what is missing; returns what became of every run."""
        from tiltflow.benchmark.board import Board
        from tiltflow.benchmark.board_display import show_board
        from tiltflow.benchmark.missing_data import collect_missing
        from tiltflow.benchmark.queue import work_off
        from tiltflow.processes.locks import locked
        from tiltflow.processes.stopping import stop_on_signals
        from tiltflow.remote_folder import mirror_of

        mirror = mirror_of(self.out)
        executor = wanted.open(self.out if mirror is None else Path())
        with locked(self.out), stop_on_signals() as stop:
            records = read_records(plan, self.out)
            write_records(suite.name, records, self.out)
            steps = {run: plan.config(run).steps for run in records}
            board = Board(records, steps, executor.width)
            missing = self._check(suite, plan)
            if missing and plan.data is not None:
                with progress_bar("episodes") as advance:
                    collect_missing(missing, Path(plan.data), stop, advance)
            with show_board(board, self.out) as show:
                work_off(suite.name, plan, self.out, board, show, executor, stop)
            if mirror is not None:
                mirror.fetch(ours=True)
            stop.check()
            if board.of("interrupted"):
                raise Interrupted("A run was asked to stop.")
        return board.records

    def _compare(self, results: Sequence[dict[str, Any]]) -> None:
        """Print the scores and write the page that compares the runs, or say why there is none."""
        try:
            from tiltflow.cli.compare import Compare

            Compare((self.out,), self.out / "compare").run()
        except (ModuleNotFoundError, UserError) as error:
            _print_scores(results)
            print(f"\nNo page was written that compares the runs: {error}", file=sys.stderr)

    def _conclude(self, records: dict[PlannedRun, RunRecord]) -> None:
        """Write and print the scores; name what failed."""
        from tiltflow.benchmark.scores import suite_scores, write_summary

        scores = suite_scores(self.out)
        if scores.results:
            print()
            self._compare(scores.results)
        if scores.results or scores.no_estimate or scores.failed.total():
            print(write_summary(scores, self.out))
        if any(record.state == "trained" for record in records.values()):
            print(f"\nWhat was trained in {self.out} is to be played: the same command without --no-play.")
        if scores.no_estimate:
            print(
                "\nThese runs have no estimate, as their reports say, and are in no score: "
                f"{'; '.join(map(str, scores.no_estimate))}.",
                file=sys.stderr,
            )
        for problem in scores.problems:
            print(f"\nLeft out of the scores: {problem}", file=sys.stderr)
        failed = {run: record for run, record in records.items() if record.state == "failed"}
        if failed:
            print(f"\n{len(failed)} of {len(records)} runs failed:", file=sys.stderr)
            for run, record in failed.items():
                print(f"{run}: {record.reason}\n  {self.out / run.folder / RUN_LOG}", file=sys.stderr)
        if failed or scores.problems:
            raise SystemExit(1)


def _print_plan(plan: Plan, records: dict[PlannedRun, RunRecord]) -> None:
    """A line for each task, agent and variant: its seeds' states, and the gradient steps that are left."""
    steps = {run: plan.config(run).steps for run in records}
    lines: dict[tuple[str, str], list[tuple[PlannedRun, RunRecord]]] = {}
    for run, record in records.items():
        lines.setdefault((run.task, run.label), []).append((run, record))
    rows = []
    for place, mine in lines.items():
        states = Counter(record.state for _, record in mine)
        left = sum(steps[run] - record.step for run, record in mine if record.state not in DONE)
        rows.append((*place, ", ".join(f"{n} {state}" for state, n in states.items()), f"{left:,}"))
    print_table(("task", "agent", "seeds", "steps left"), rows)
    done = sum(record.state in DONE for record in records.values())
    each = words.listing([f"{count:,}" for count in sorted(set(steps.values()))])
    print(
        f"\n{words.plural(len(records), 'run')} of {each} steps: {done} finished, {len(records) - done} left"
    )


def _print_scores(results: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            result["task"],
            PlannedRun(result["task"], result["algorithm"], 0, result["variant"]).label,
            result["metric"],
            words.score_text(result["mean"], result["unit"]),
            words.interval_text(result["ci95"], result["unit"]),
            f"{result['seeds']} × {result['episodes']}",
            result["data_checksum"][:8],
        )
        for result in results
    ]
    print_table(("task", "agent", "metric", "mean", "95 % interval", "seeds × episodes", "data"), rows)


def parse(arguments: Sequence[str]) -> Benchmark:
    """Read the arguments behind `tiltflow benchmark`."""
    width = max(map(len, SUITES))
    suites = "\n".join(f"  {name:<{width}}  {suite.description}" for name, suite in SUITES.items())
    return tyro.cli(
        Benchmark,
        prog="tiltflow benchmark",
        description=f"{inspect.getdoc(Benchmark)}\n\nsuites:\n{suites}",
        args=join_action_bounds(arguments),
    )

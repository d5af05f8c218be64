"""`tiltflow demo`: the whole way from nothing to a comparison of two policies, on data made on the spot."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiltflow.agents.registry import preset
from tiltflow.cli.results import interval_text, mean_text
from tiltflow.cli.tables import print_table
from tiltflow.errors import UserError
from tiltflow.files import read_json
from tiltflow.tasks import find_task
from tiltflow.training.config import TrainConfig, differences, to_dict

if TYPE_CHECKING:
    from tiltflow.training.display import Display


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does, sized for six minutes on two cores."""

    task: str = "pointmaze/medium-v0"
    data_episodes: int = 200
    steps: tuple[tuple[str, int], ...] = (("bc-flow", 10_000), ("qipo-ot", 30_000))
    """Gradient steps of each algorithm, in the order of training."""
    evaluations: int = 3
    episodes: int = 30
    chunk: int = 1000


PLAN = DemoPlan()


@dataclass(frozen=True)
class Demo:
    """Collect data in a point maze, train behaviour cloning and QIPO-OT on them, compare both on one page.

    Called again, it continues what was interrupted and keeps what is done.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Folder for the data, the two runs and the page."""
    seeds: int = 2
    """Seeds of each training."""

    def run(self) -> None:
        """Do what is not done yet, then print the scores and the path of the page."""
        _need("gymnasium_robotics", "mujoco", "matplotlib", "jinja2")
        data = self.out / "data"
        configs = [demo_config(PLAN, name, steps, data, self.seeds) for name, steps in PLAN.steps]
        runs = [self.out / config.algorithm for config in configs]
        for config, run in zip(configs, runs, strict=True):
            _check_same(config, run)
        from tiltflow.training.display import show_progress

        with show_progress() as observe:
            _collect(data, observe)
            for config, run in zip(configs, runs, strict=True):
                _train(config, run, observe)
        from tiltflow.report.page import write_demo_report

        page = write_demo_report(runs, self.out / "report.html")
        print()
        _print_scores(runs)
        print(f"\n{page}")


def parse(arguments: Sequence[str]) -> Demo:
    """Read the arguments behind `tiltflow demo`."""
    return tyro.cli(Demo, prog="tiltflow demo", args=arguments)


def demo_config(plan: DemoPlan, algorithm: str, steps: int, data: Path, seeds: int) -> TrainConfig:
    """The training of one algorithm of the plan."""
    return TrainConfig(
        algorithm=algorithm,
        task=plan.task,
        agent=preset(algorithm, plan.task),
        data=str(data),
        seeds=seeds,
        steps=steps,
        evaluations=plan.evaluations,
        episodes=plan.episodes,
        chunk=plan.chunk,
    )


def _need(*packages: str) -> None:
    """Raise ModuleNotFoundError now for what would be missed only after minutes of work."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def _check_same(config: TrainConfig, run: Path) -> None:
    """Raise UserError where `run` was begun with other settings."""
    if (run / "config.json").exists():
        changed = differences(read_json(run / "config.json"), to_dict(config))
        if changed:
            raise UserError(
                f"{run} was trained with other settings ({'; '.join(changed)}). Give the same options as "
                "then, or another folder with --out."
            )


def _collect(folder: Path, observe: "Display") -> None:
    task = find_task(PLAN.task)
    file = folder / f"{task.dataset}.npz"
    if file.exists():
        observe(_message(f"{file} is there already"))
        return
    from tiltflow.data.collect import collect

    def progress(done: int, total: int) -> None:
        text = f"collecting {total} episodes of {task.dataset}"
        observe({"event": "activity", "seeds": [], "text": text, "fraction": done / total})

    collect(task.dataset, PLAN.data_episodes, folder, progress=progress)


def _train(config: TrainConfig, run: Path, observe: "Display") -> None:
    if (run / "result.json").exists():
        observe(_message(f"{run} is trained already"))
        return
    from tiltflow.training.run import resume, train

    if (run / "config.json").exists():
        observe(_message(f"{run} is continued from its last checkpoint"))
        resume(run, observe)
    else:
        train(config, run, observe)


def _message(text: str) -> dict[str, Any]:
    return {"event": "message", "level": "info", "text": text}


def _print_scores(runs: list[Path]) -> None:
    results = [read_json(run / "result.json") for run in runs]
    rows = [
        (
            result["algorithm"],
            mean_text(result),
            interval_text(result),
            f"{result['seeds']} × {result['episodes']}",
            f"{result['train_seconds']:.0f} s",
        )
        for result in results
    ]
    print_table(("algorithm", results[0]["metric"], "95 % interval", "seeds × episodes", "training"), rows)

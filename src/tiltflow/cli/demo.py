"""`tiltflow demo`: the whole way from nothing to a comparison of two policies, on data made on the spot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiltflow.agents.registry import preset
from tiltflow.cli.compare import compare_runs
from tiltflow.errors import UserError
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.packages import need
from tiltflow.run_folder import RunFolder
from tiltflow.settings import diff, diff_text, override
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig, to_dict

if TYPE_CHECKING:
    from tiltflow.training.display import Display


TASK = "pointmaze/medium-v0"
DATA_EPISODES = 100
# Sized for two minutes on two cores. The critic is small and fast: reward has to travel back through hundreds
# of steps of the maze in half a minute. It is good enough for a sharp tilt: the default β of 1 is for
# unknown critics.
QIPO = {
    "flow.network": NetworkConfig(width=128, depth=3),
    "behaviour_steps": 8_000,
    "critic_steps": 12_000,
    "critic": CriticConfig(
        network=NetworkConfig(width=128, depth=2, activation="relu", layer_norm="before"),
        learning_rate=1e-3,
        tau=0.02,
    ),
    "beta": 10.0,
    "improvement_steps": 6_000,
    "refresh_every": 2_000,
    "num_support_actions": 8,
}


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
        """Do what is not done yet, then print the comparison and the paths of its files."""
        need("gymnasium_robotics", "mujoco", "matplotlib", "jinja2")
        configs = demo_configs(self.out, self.seeds)
        runs = [self.out / config.algorithm for config in configs]
        for config, run in zip(configs, runs, strict=True):
            _check_same(config, run)
        from tiltflow.training.display import show_progress

        with show_progress() as observe:
            _collect(self.out / "data", observe)
            for config, run in zip(configs, runs, strict=True):
                _train(config, run, observe)
        print()
        compare_runs(runs, self.out / "compare")


def parse(arguments: Sequence[str]) -> Demo:
    """Read the arguments behind `tiltflow demo`."""
    return tyro.cli(Demo, prog="tiltflow demo", args=arguments)


def demo_configs(out: Path, seeds: int) -> list[TrainConfig]:
    """The trainings of a demo into the folder `out`: behaviour cloning, and QIPO-OT on top of it."""
    qipo = override(preset("qipo-ot", TASK), QIPO)
    cloning = TrainConfig(
        algorithm="bc-flow",
        task=TASK,
        agent=replace(preset("bc-flow", TASK), flow=replace(qipo.flow, play_noise=1.0)),
        data=str(out / "data"),
        seeds=seeds,
        steps=qipo.behaviour_steps,
        evaluations=3,
        episodes=30,
    )
    steps = qipo.behaviour_steps + qipo.critic_steps + qipo.improvement_steps
    # With seven evaluations at edges of 500 steps the last three, whose mean is the score, are after the last
    # rise of β.
    improved = replace(
        cloning,
        algorithm="qipo-ot",
        agent=qipo,
        steps=steps,
        chunk=500,
        evaluations=7,
        reuse=str(out / "bc-flow"),
    )
    return [cloning, improved]


def _check_same(config: TrainConfig, run: Path) -> None:
    """Raise UserError where `run` was begun with other settings."""
    if RunFolder(run).holds_run:
        changed = diff(to_dict(RunFolder(run).read_config()), to_dict(config))
        if changed:
            raise UserError(
                f"{run} was trained with other settings ({diff_text(changed)}). Give the same options as "
                "then, or another folder with --out."
            )


def _collect(folder: Path, observe: "Display") -> None:
    task = find_task(TASK)
    file = folder / f"{task.dataset}.npz"
    if file.exists():
        observe(_message(f"{file} is there already"))
        return
    from tiltflow.data.collect import collect

    def progress(done: int, total: int) -> None:
        text = f"collecting {total} episodes of {task.dataset}"
        observe({"event": "activity", "seeds": [], "text": text, "fraction": done / total})

    collect(task.dataset, DATA_EPISODES, folder, progress=progress)


def _train(config: TrainConfig, run: Path, observe: "Display") -> None:
    if RunFolder(run).finished:
        observe(_message(f"{run} is trained already"))
        return
    from tiltflow.training.run import resume, train

    if RunFolder(run).holds_run:
        observe(_message(f"{run} is continued from its last checkpoint"))
        resume(run, observe)
    else:
        train(config, run, observe)


def _message(text: str) -> dict[str, Any]:
    return {"event": "message", "level": "info", "text": text}

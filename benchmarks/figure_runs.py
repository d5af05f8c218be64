"""The runs that benchmarks/figures.py draws: their configs, and training each once."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tiltflow.agents.bc import BCConfig
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import preset
from tiltflow.benchmark.missing_data import collect_missing, missing_data, refuse_missing
from tiltflow.benchmark.plan import with_networks
from tiltflow.cli.bars import progress_bar
from tiltflow.errors import UserError
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.run_folder import RunFolder
from tiltflow.settings import diff, diff_text
from tiltflow.tasks import collectable, find_task
from tiltflow.train_config import TrainConfig, to_dict
from tiltflow.training.display import show_progress
from tiltflow.training.run import resume, train

EVALUATIONS = 3
POINTS = 50
"""Of a loss curve, at least."""


def collect_data(tasks: Sequence[str], folder: Path) -> None:
    """Collect the point mazes that are missing. Raises UserError for other data that are."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = missing_data([find_task(name) for name in tasks], folder)
    made = [task for task in missing if collectable(task) and task.name.startswith("pointmaze/")]
    refuse_missing([task for task in missing if task not in made], folder)
    if made:
        with stop_on_signals() as stop, progress_bar("episodes") as advance:
            collect_missing(made, folder, stop, advance)


def _config(name: str, task: str, agent, arguments: argparse.Namespace, **more) -> TrainConfig:
    return TrainConfig(
        algorithm=name,
        task=task,
        agent=with_networks(agent, *arguments.network),
        data=str(arguments.data),
        seeds=arguments.seeds,
        steps=arguments.steps,
        evaluations=EVALUATIONS,
        episodes=arguments.episodes,
        **more,
    )


def qipo_config(task: str, arguments: argparse.Namespace, **changes) -> TrainConfig:
    """QIPO with its preset of the task but for these changes."""
    agent = preset(arguments.agent, task)
    assert isinstance(agent, QIPOConfig)
    return _config(arguments.agent, task, replace(agent, **changes), arguments)


def behaviour_config(name: str, task: str, arguments: argparse.Namespace) -> TrainConfig:
    """The behaviour stage of that algorithm alone, as long as the whole run, and not played."""
    agent = preset(name, task)
    assert isinstance(agent, QIPOConfig)
    algorithm = "bc-flow" if name == "qipo-ot" else "bc-diffusion"
    chunk = max(1, min(TrainConfig.chunk, arguments.steps // POINTS))
    return _config(algorithm, task, BCConfig(flow=agent.flow), arguments, chunk=chunk, play=False)


def trained(config: TrainConfig, out: Path, name: str) -> Path:
    """The run folder of the config, trained or trained on where it is not finished.

    Raises UserError where the folder holds a run of other settings.
    """
    run = out / config.task.replace("/", "-") / f"{config.algorithm}-{name}"
    folder = RunFolder(run)
    begun = folder.holds_run
    if begun:
        free = {"data": None, "play": None, "reuse": None}
        changed = diff({**to_dict(folder.read_config()), **free}, {**to_dict(config), **free})
        if changed:
            raise UserError(
                f"{run} was begun with other settings: {diff_text(changed)} (begun ≠ wanted). Give those "
                "options again, or another --out."
            )
    if folder.finished or (begun and folder.trained):
        return run
    with show_progress() as observe:
        if begun:
            return resume(run, observe, in_this_process=True)
        return train(config, run, observe, in_this_process=True)

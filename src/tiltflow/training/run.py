"""Runs: a folder that a training fills, that can be resumed, evaluated and shown."""

import importlib
import importlib.metadata
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.data.load import Dataset
from tiltflow.errors import ExplainedError, UserError
from tiltflow.evaluation.statistics import result_record
from tiltflow.files import atomic_file, read_json_lines, read_object, write_json
from tiltflow.npz import load_npz
from tiltflow.packages import how_to_install
from tiltflow.tasks import find_task
from tiltflow.training import logs
from tiltflow.training.config import TrainConfig, to_dict
from tiltflow.training.group import (
    check_environment,
    check_environment_named,
    load_data,
    make_agent,
    read_config,
    seed_groups,
    train_group,
)
from tiltflow.training.loop import Event, Observe
from tiltflow.training.pool import available_cores
from tiltflow.training.processes import train_in_processes
from tiltflow.training.restore import find_checkpoint
from tiltflow.training.schedule import Schedule
from tiltflow.training.stopping import locked, stop_on_signals

PACKAGES = ("jax", "jaxlib", "numpy", "optax", "equinox", "gymnasium", "mujoco", "ogbench", "minari", "h5py")


def silent(event: Event) -> None:
    """Observe nothing."""


def train(
    config: TrainConfig, out: Path, observe: Observe = silent, *, in_this_process: bool = False
) -> Path:
    """Train all seeds of `config` into the new folder `out`; returns it, with result.json and report.html.

    Where the config says not to play, both are missing until `training.unplayed.play_kept` has played.
    On a CPU each seed has a process of its own, except where there is one seed and `in_this_process`. Raises
    UserError (bad config or data, `out` exists already), TrainingDiverged, Interrupted (after a checkpoint;
    `resume` continues).
    """
    _refuse_run(out)
    find_task(config.task, config.env)
    dataset = load_data(config)
    make_agent(config, dataset.train.spec)
    if config.play:
        check_environment(config, dataset.train.spec)
    with locked(out):
        _refuse_run(out)
        write_json(out / "config.json", to_dict(config))
        return _train(config, out, dataset, observe, in_this_process)


def resume(
    run: Path,
    observe: Observe = silent,
    *,
    config: TrainConfig | None = None,
    data: Path | None = None,
    in_this_process: bool = False,
) -> Path:
    """Continue the run in folder `run` from its checkpoints to the bits of an uninterrupted one.

    `data` is where the data lie by now; `config` takes the place of the run's own. Raises what `train` does,
    and UserError where the data are others, no checkpoint can be read, or the folder names code to be run
    that nobody has vouched for; the folder then stays as it was.
    """
    stored = read_config(run)
    if config is None:
        check_environment_named(stored, run)
    config = config or stored
    if data is not None:
        config = replace(config, data=str(data))
    dataset = load_data(config)
    with locked(run):
        _refuse_other_data(run, dataset)
        _, schedule = make_agent(config, dataset.train.spec)
        for seeds in seed_groups(config, run):
            find_checkpoint(config, run, seeds, dataset.checksum, schedule)
        if config != stored:
            write_json(run / "config.json", to_dict(config))
        return _train(config, run, dataset, observe, in_this_process)


def _refuse_run(folder: Path) -> None:
    if (folder / "config.json").exists():
        raise UserError(
            f"{folder} already holds a run. Continue it with: tiltflow train --resume {folder}\n"
            "or choose another folder with --out."
        )


def _refuse_other_data(run: Path, dataset: Dataset) -> None:
    path = run / "environment.json"
    if not path.exists():  # the run was stopped before it began
        return
    trained_on = read_object(path, "data")["data"]
    if isinstance(trained_on, dict) and trained_on.get("checksum") != dataset.checksum:
        raise UserError(
            f"{dataset.source} is not what {run} was trained on: its checksum is {dataset.checksum}, and "
            f"{path} has {trained_on.get('checksum')}. Restore the data, or train into a new folder with "
            "--out. Nothing was changed."
        )


def _train(config: TrainConfig, run: Path, dataset: Dataset, observe: Observe, in_this_process: bool) -> Path:
    for finding in dataset.findings:
        observe({"event": "message", "level": "warning", "text": str(finding)})
    _, schedule = make_agent(config, dataset.train.spec)
    groups = seed_groups(config, run)
    with stop_on_signals() as stop:
        if not all((run / name).exists() for name in ("result.json", "environment.json")):
            write_json(run / "environment.json", _environment(dataset))
        observe(started(config, schedule, run))

        def watch(event: Event) -> None:
            if event["event"] in ("evaluation", "checkpoint"):
                logs.merge(run, groups)
            observe(event)

        together = config.parallel != "process" and len(groups[0]) > 1
        if len(groups) == 1 and (in_this_process or together):
            done = [train_group(config, run, groups[0], watch, stop, dataset)]
        else:
            done = train_in_processes(run, groups, watch, stop)
        # Still locked, and deaf to a late Ctrl-C: what is left takes a moment.
        logs.merge(run, groups)
        _merge_actions(run, groups)
        if config.play:
            conclude(config, run, schedule.steps, max(record["train_seconds"] for record in done), observe)
    observe({"event": "finished"})
    return run


def started(config: TrainConfig, schedule: Schedule, run: Path) -> Event:
    """The event with which a run begins, goes on or is played."""
    task = find_task(config.task, config.env)
    return {
        "event": "started",
        "algorithm": config.algorithm,
        "task": config.task,
        "metric": task.metric,
        "unit": task.unit,
        "seeds": config.seed_numbers,
        "stages": [{"name": stage.name, "steps": stage.steps} for stage in schedule.stages],
        "steps": schedule.steps,
        "out": str(run),
    }


def conclude(config: TrainConfig, run: Path, steps: int, seconds: float, observe: Observe) -> None:
    """Write result.json and, where it can be, report.html of a run whose evaluations are all logged."""
    task = find_task(config.task, config.env)
    evaluations = read_json_lines(run / "evaluations.jsonl")
    write_json(run / "result.json", result_record(task, config.algorithm, evaluations, steps, seconds))
    _write_report(run, observe)


def _write_report(run: Path, observe: Observe) -> None:
    try:
        from tiltflow.report.run_page import write_report
    except ImportError as error:
        text = f"No report was written: {error}. {how_to_install('matplotlib')}"
        observe({"event": "message", "level": "warning", "text": text})
        return
    try:
        write_report(run)
    except Exception as error:
        reason = str(error) if isinstance(error, ExplainedError) else f"{type(error).__name__}: {error}"
        text = (
            f"The training is finished, and its score is in {run / 'result.json'}, but its page could not be "
            f"written: {reason} Write it with: tiltflow report {run}"
        )
        observe({"event": "message", "level": "warning", "text": text})


def _merge_actions(run: Path, groups: list[list[int]]) -> None:
    parts = []
    for seeds in groups:
        parts.append(load_npz(logs.group_folder(run, seeds) / "actions.npz", "data", "policy"))
    with atomic_file(run / "actions.npz") as file:
        policy = np.concatenate([part["policy"] for part in parts])
        np.savez(file, data=parts[0]["data"], policy=policy)


def _environment(dataset: Dataset) -> dict[str, Any]:
    """What the run ran on and from, for environment.json."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    spec = dataset.train.spec
    return {
        "tiltflow": importlib.import_module("tiltflow").__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "device": jax.devices()[0].device_kind,
        "cores": len(available_cores()),
        "data": {
            "source": dataset.source,
            "checksum": dataset.checksum,
            "transitions": len(dataset.train),
            "observation_size": spec.observation_size,
            "action_size": spec.action_size,
        },
    }

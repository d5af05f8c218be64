"""Reading a run folder for a page, with distrust."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from tiltflow.errors import UserError
from tiltflow.evaluation.statistics import result_record
from tiltflow.json_records import checked_record
from tiltflow.report.pictures import read_film, read_paths
from tiltflow.report.record import Actions, RunContent
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import FORMAT


class ConfigRecord(TypedDict):
    """What a page reads of config.json."""

    format: int
    algorithm: str
    task: str
    agent: dict[str, Any]
    seed: int
    seeds: int
    steps: int
    ends: NotRequired[list[int]]


class ResultRecord(TypedDict):
    """result.json; see `evaluation.statistics.result_record`."""

    metric: str
    unit: str
    seeds: int
    episodes: int
    per_seed: list[float]
    mean: float
    std: float | None
    iqm: float
    ci95: list[float]
    mean_return: float
    steps: int
    evaluated_steps: list[int]
    train_seconds: float
    undetermined: NotRequired[float]


def _in_new_words(chunk: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics; runs of earlier versions called the refreshes renewals."""
    metrics = {("refreshes" if name == "renewals" else name): v for name, v in chunk["metrics"].items()}
    return {**chunk, "metrics": metrics}


def read_run(folder: Path) -> RunContent:
    """Read a run folder. Raises UserError where it is none, or where one of its files is damaged."""
    run = RunFolder(folder)
    run.refuse_no_run()
    config: dict[str, Any] = {**checked_record(run.config_file, ConfigRecord)}
    if config["format"] != FORMAT:
        raise UserError(
            f"{run.config_file} has format {config['format']!r}; this version of tiltflow reads {FORMAT}."
        )
    chunks = [_in_new_words(chunk) for chunk in run.metrics()]
    evaluations = run.evaluations(config["seeds"])
    environment = run.read_environment() if run.environment_file.exists() else {}
    task = run.read_task()
    if any(("replicates" in line) == task.played for line in evaluations):
        raise UserError(
            f"{run.evaluations_file} is not of the environment {task.environment or 'none'}, which "
            f"{run.config_file} names: one of them was changed. Restore it from a copy."
        )
    if run.finished and not evaluations:
        raise UserError(
            f"{run.evaluations_file} has no evaluation, though {run.result_file.name} says that the run is "
            "finished. Restore it from a copy, or leave the run out."
        )
    if run.finished:
        found = checked_record(run.result_file, ResultRecord)
        result: dict[str, Any] | None = {**found}
        if len(found["per_seed"]) != config["seeds"] or len(found["ci95"]) != 2:
            raise UserError(f"{run.result_file} is damaged: it is of other seeds than config.json.")
    elif evaluations:
        seconds = sum(chunk["seconds"] for chunk in chunks)
        steps = max(record["step"] for record in [*chunks, *evaluations])
        result = result_record(task, config["algorithm"], evaluations, steps, seconds)
    else:
        result = None
    return RunContent(
        name=folder.resolve().name,
        config=config,
        environment=environment,
        chunks=chunks,
        evaluations=evaluations,
        task=task,
        finished=run.finished,
        result=result,
        actions=_read_actions(run),
        paths=read_paths(run),
        film=read_film(run),
        spent=run.read_time(),
    )


def _read_actions(run: RunFolder) -> Actions | None:
    if not run.actions_file.exists():
        return None
    try:
        arrays = run.read_actions()
        return Actions(arrays["data"].astype(np.float64), arrays["policy"].astype(np.float64))
    except (UserError, ValueError) as error:
        raise UserError(
            f"{run.actions_file} cannot be read as the arrays 'data' and 'policy': {error} "
            "Delete it to write the report without the distribution of actions."
        ) from error

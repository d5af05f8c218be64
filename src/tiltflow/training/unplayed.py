"""Playing what a training with `--no-play` has left to be played: the checkpoints that it kept for it."""

from dataclasses import replace
from pathlib import Path

from tiltflow.errors import UserError
from tiltflow.merged_seeds import merge_logs
from tiltflow.processes.locks import locked
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.conclusion import conclude
from tiltflow.training.evaluator import Evaluator
from tiltflow.training.prepare import check_environment, prepare_folder, seed_groups
from tiltflow.training.progress import Observe
from tiltflow.training.under_way import started


def unplayed(run: Path) -> bool:
    """Whether a run was trained without playing, and its evaluations are still to be played."""
    return not RunFolder(run).read_config().play


def play_kept(folder: Path, observe: Observe) -> bool:
    """Play every kept checkpoint of a run whose evaluations are not logged; True when the run is finished.

    The episodes, the logs and, where the training is at its end, result.json and report.html are those of a
    run that had played while training; its config.json then says so. No data are needed. Stopped, it goes
    on with the next checkpoint when called again. Raises UserError where a checkpoint is missing or
    damaged, or the environment is not that of the data; Interrupted between two episodes.
    """
    run = RunFolder(folder)
    prepared = prepare_folder(run, to_play=True)
    check_environment(prepared)
    with locked(folder), stop_on_signals() as stop:
        groups = seed_groups(prepared.config, run)
        newest = [_newest(run, seeds) for seeds in groups]
        observe(started(prepared, run))
        evaluator = Evaluator(prepared, [], observe, stop)
        for seeds, head in zip(groups, newest, strict=True):
            evaluator.seeds = seeds
            _play_group(evaluator, run.group(seeds), head["step"])
            merge_logs(run, groups)
        if min(head["step"] for head in newest) < prepared.schedule.steps:
            return False
        conclude(prepared, run, max(head["seconds"] for head in newest), observe)
        run.write_config(replace(prepared.config, play=True))
    return True


def _newest(run: RunFolder, seeds: list[int]) -> dict:
    """The header of a group's newest checkpoint."""
    found = run.group(seeds).checkpoints()
    if not found:
        raise UserError(f"{run.path} has no checkpoint of seed {seeds[0]} yet, and so nothing to play.")
    return checkpoints.read(found[-1])[0]


def _play_group(evaluator: Evaluator, group: RunFolder, step: int) -> None:
    """Play and log the evaluations that were due up to that step of the group and are not logged."""
    prepared, seeds = evaluator.prepared, evaluator.seeds
    lines, like, expected = group.evaluations(len(seeds)), prepared.init(seeds), prepared.fingerprint(seeds)
    there = {line["step"] for line in lines}
    for due in prepared.schedule.evaluated_to(step):
        if due in there:
            continue
        path = group.checkpoint(due)
        if not path.exists():
            raise UserError(
                f"{path} is missing: it was kept to be played. Restore it from a copy, or train again."
            )
        state, _ = checkpoints.restore(path, like, expected)
        line = evaluator.scheduled(state, due) | prepared.schedule.lengthened_before(due)
        if evaluator.paths is not None:
            group.write_episodes(evaluator.paths)
        lines = sorted([*lines, line], key=lambda line: line["step"])
        group.write_evaluations(lines)
        evaluator.observe({"event": "evaluation", "seeds": seeds, "step": due, "score": line["score"]})

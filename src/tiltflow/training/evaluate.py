"""Playing the policies of a run once more, as they are or improved at test time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.errors import UserError
from tiltflow.evaluation.rollouts import Episodes
from tiltflow.evaluation.statistics import result_record
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.rendering import choose_renderer
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.training.evaluator import Evaluator, episode_columns, episode_seed
from tiltflow.training.film import FilmedEpisode, check_pictures, write_films
from tiltflow.training.load_run import LoadedRun, load_run
from tiltflow.training.prepare import check_environment
from tiltflow.training.progress import Observe, ignore_event
from tiltflow.training.test_time_guidance import Guidance, guide
from tiltflow.training.tracks import Tracks

FRESH_EPISODES = 500_000_000


def evaluate(
    run: Path,
    episodes: int | None = None,
    observe: Observe = ignore_event,
    guidance: Guidance | None = None,
    noise: float | None = None,
    environment: str | None = None,
    video: bool = False,
) -> dict[str, Any]:
    """Play fresh episodes with the newest policies of a run; returns the record of its score.

    The episodes' seeds are none of those of the training's evaluations. The record's `file` is
    evaluation.json, or with `guidance` evaluation-KIND-SETTING.json, with how the setting was chosen; every
    episode is in it. `noise` takes the place of the run's `flow.play_noise`, and stands in the file's name.
    `environment` is the one to play in, of a run of own data. With `video` the best, the median and the worst
    episode are drawn into the record's `films`, and frames of the median of the run as it is into its report.
    Raises UserError where there is no checkpoint, or where the policy cannot be guided or played so, or
    with `video` nothing can be drawn here.
    """
    if video:
        choose_renderer()
    loaded = load_run(run, observe, to_play=True)
    if environment is not None:
        loaded = _in_environment(loaded, environment)
    if not loaded.prepared.task.played:
        raise UserError(
            f"{run} was trained without an environment, so that its policies cannot be played: its estimates "
            "stand in its report. To play them, give --env with the id of a Gymnasium environment."
        )
    name, chosen = "evaluation", dict[str, Any]()
    if noise is not None:
        loaded = with_noise(loaded, noise, flow_plays=guidance is not None)
    if guidance is not None:
        loaded, chosen = guide(loaded, guidance, observe)
        name += f"-{guidance.kind}-{chosen['setting']:g}"
    if noise is not None:
        name += f"-noise-{noise:g}"
        chosen |= {"noise": noise}
    prepared = loaded.prepared
    task, config = prepared.task, prepared.config
    played, tracks = list[Episodes](), Tracks(lambda observations, actions: actions) if video else None
    with stop_on_signals() as stop:
        evaluator = Evaluator(prepared, [], observe, stop)
        if video:
            evaluator.environments.append(prepared.make_environment())
            check_pictures(evaluator.environments[0])
        for seed, state in zip(config.seed_numbers, loaded.states, strict=True):
            evaluator.seeds = [seed]
            played += evaluator.play(state, episodes or config.episodes, FRESH_EPISODES, tracks)
    head = {"stage": "final", "metric": task.metric, "unit": task.unit, "step": loaded.step}
    record = head | episode_columns(task, played) | chosen
    result = result_record(task, config.algorithm, [record], loaded.step, 0.0) | chosen
    file = RunFolder(run).write_evaluation(name, {**record, "result": result})
    films = [] if tracks is None else _film(run, name, evaluator, tracks, played, loaded.step)
    return {**result, "file": str(file), "films": list(map(str, films))}


def _film(
    folder: Path, name: str, evaluator: Evaluator, tracks: Tracks, played: list[Episodes], step: int
) -> list[Path]:
    """Write the films of what was played and, where it is the run as it is, the report with their frames."""
    prepared, observe = evaluator.prepared, evaluator.observe
    seeds = prepared.config.seed_numbers
    episodes = [
        FilmedEpisode(
            step, seed, episode_seed(seed, FRESH_EPISODES + number), np.array(track),
            of_seed.returns[number], of_seed.successes[number],
        )
        for seed, of_seed, of_tracks in zip(seeds, played, tracks.of_seeds, strict=True)
        for number, track in enumerate(of_tracks)
    ]  # fmt: skip

    def progress(fraction: float) -> None:
        observe({"event": "activity", "seeds": seeds, "text": "drawing", "fraction": fraction})

    as_it_is = name == "evaluation"
    run, environment = RunFolder(folder), evaluator.environments[0]
    paths = write_films(environment, run, name, episodes, progress, strip=as_it_is)
    environment.close()
    if as_it_is:
        from tiltflow.report.run_page import write_report

        paths.append(write_report(folder))
    return paths


def _in_environment(loaded: LoadedRun, environment: str) -> LoadedRun:
    """What was learned, to be played in an environment that the run does not name."""
    config = replace(loaded.prepared.config, env=environment)
    prepared = replace(loaded.prepared, config=config, task=find_task(config.task, environment))
    check_environment(prepared)
    return loaded._replace(prepared=prepared)


def with_noise(loaded: LoadedRun, noise: float, *, flow_plays: bool) -> LoadedRun:
    """What was learned, played with actions that start from noise of this standard deviation.

    `flow_plays`: whether its flow plays even where one step was distilled from it. Raises UserError where
    the policy draws none, or draws what its one step has learned.
    """
    config = loaded.prepared.config
    if not hasattr(config.agent, "flow"):
        raise UserError(f"The policy of {config.algorithm} draws no noise: --noise has no effect on it.")
    agent: Any = config.agent
    if getattr(agent, "distill", False) and not flow_plays:
        raise UserError(
            "noise has no effect on a distilled policy, whose one step has learned the run's own. Leave it "
            "out, or ask for the best of several actions too, which plays the flow."
        )
    agent = replace(agent, flow=replace(agent.flow, play_noise=noise))
    return loaded._replace(prepared=loaded.prepared.with_config(replace(config, agent=agent)))

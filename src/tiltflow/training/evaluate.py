"""Playing the policies of a run once more, as they are or improved at test time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.evaluation.rollouts import Episodes
from tiltflow.evaluation.statistics import result_record
from tiltflow.files import write_json
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.tasks import find_task
from tiltflow.training.evaluator import Evaluator, episode_columns
from tiltflow.training.group import check_environment_named, data_path, make_agent, read_config
from tiltflow.training.load_run import LoadedRun, load_run
from tiltflow.training.loop import Observe
from tiltflow.training.run import silent
from tiltflow.training.test_time_guidance import Guidance, guide

FRESH_EPISODES = 500_000_000


def evaluate(
    run: Path,
    episodes: int | None = None,
    observe: Observe = silent,
    guidance: Guidance | None = None,
    noise: float | None = None,
) -> dict[str, Any]:
    """Play fresh episodes with the newest policies of a run; returns the record of its score.

    The episodes' seeds are none of those of the training's evaluations. The record's `file` is
    evaluation.json, or with `guidance` evaluation-KIND-SETTING.json, with how the setting was chosen; every
    episode is in it. `noise` takes the place of the run's `flow.play_noise`, and stands in the file's name.
    Raises UserError where there is no checkpoint, or where the policy cannot be guided or played so.
    """
    check_environment_named(read_config(run), run)
    learned = load_run(run, observe)
    task = find_task(learned.config.task, learned.config.env)
    name, chosen = "evaluation", dict[str, Any]()
    if noise is not None:
        learned = _with_noise(learned, noise)
    if guidance is not None:
        learned, chosen = guide(learned, guidance, observe)
        name += f"-{guidance.kind}-{chosen['setting']:g}"
    if noise is not None:
        name += f"-noise-{noise:g}"
        chosen |= {"noise": noise}
    record: dict[str, Any] = {
        "stage": "final",
        "metric": task.metric,
        "unit": task.unit,
        "step": learned.step,
    }
    played = list[Episodes]()
    with stop_on_signals() as stop:
        evaluator = Evaluator(task, data_path(learned.config), learned.agent, [], observe, stop)
        for seed, state in zip(learned.config.seed_numbers, learned.states, strict=True):
            evaluator.seeds = [seed]
            played += evaluator.play(state, episodes or learned.config.episodes, FRESH_EPISODES)
    record |= episode_columns(task, played) | chosen
    result = result_record(task, learned.config.algorithm, [record], learned.step, 0.0) | chosen
    write_json(run / f"{name}.json", {**record, "result": result})
    return {**result, "file": str(run / f"{name}.json")}


def _with_noise(learned: LoadedRun, noise: float) -> LoadedRun:
    """What was learned, played with actions that start from noise of this standard deviation."""
    config = learned.config
    if not hasattr(config.agent, "flow"):
        raise UserError(f"The policy of {config.algorithm} draws no noise: --noise has no effect on it.")
    agent: Any = config.agent
    agent = replace(agent, flow=replace(agent.flow, play_noise=noise))
    config = replace(config, agent=agent)
    agent_of_noise, schedule = make_agent(config, learned.spec)
    return learned._replace(config=config, agent=agent_of_noise, schedule=schedule)

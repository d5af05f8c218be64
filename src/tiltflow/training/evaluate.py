"""Playing the policies of a run once more, as they are or improved at test time."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tiltflow.agents.base import Agent
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError
from tiltflow.evaluation.scores import score
from tiltflow.evaluation.statistics import result_record
from tiltflow.files import read_json, write_json
from tiltflow.tasks import find_task
from tiltflow.training.config import TrainConfig
from tiltflow.training.evaluator import Evaluator, of_one_seed
from tiltflow.training.group import data_path, make_agent, read_config, restore_group, seed_groups
from tiltflow.training.loop import INIT, Observe, seed_keys
from tiltflow.training.policy import RunState, identity_units, init_state
from tiltflow.training.run import silent
from tiltflow.training.stopping import stop_on_signals

FRESH_EPISODES = 500_000_000


class Learned(NamedTuple):
    """What a run has learned: its agent, and the state of each seed, after `step` gradient steps."""

    config: TrainConfig
    agent: Agent
    spec: Spec
    checksum: str
    states: list[RunState]
    step: int


def read_learned(run: Path) -> Learned:
    """The newest checkpoints of a run. Raises UserError where it has none."""
    config = read_config(run)
    provenance = read_json(run / "environment.json")["data"]
    checksum, spec = provenance["checksum"], Spec(provenance["observation_size"], provenance["action_size"])
    agent, _ = make_agent(config, spec)
    states, step = [], 0
    for seeds in seed_groups(config):
        fresh = init_state(agent, identity_units(spec), seed_keys(seeds, INIT))
        state, step, _, _ = restore_group(config, run, seeds, checksum, fresh)
        if step == 0:
            raise UserError(f"{run} has no checkpoint of seed {seeds[0]} yet: nothing to evaluate.")
        states += [of_one_seed(state, seeds, index) for index in range(len(seeds))]
    return Learned(config, agent, spec, checksum, states, step)


def evaluate(
    run: Path,
    episodes: int | None = None,
    observe: Observe = silent,
    guidance: Any | None = None,
) -> dict[str, Any]:
    """Play fresh episodes with the newest policies of a run; returns the record of its score.

    The episodes' seeds are none of those of the training's evaluations. Writes evaluation.json, or with
    `guidance` (a Guidance of training/guided.py) evaluation-KIND.json, with how the setting was chosen.
    Raises UserError where there is no checkpoint, or where the policy cannot be guided so.
    """
    learned = read_learned(run)
    task = find_task(learned.config.task, learned.config.env)
    name, chosen = "evaluation.json", dict[str, Any]()
    if guidance is not None:
        from tiltflow.training.guided import guide

        learned, chosen = guide(learned, guidance)
        name = f"evaluation-{guidance.kind}.json"
    record: dict[str, Any] = {
        "stage": "final",
        "metric": task.metric,
        "unit": task.unit,
        "step": learned.step,
    }
    columns: dict[str, list] = {name: [] for name in ("score", "returns", "successes", "lengths")}
    with stop_on_signals() as stop:
        evaluator = Evaluator(task, data_path(learned.config), learned.agent, [], observe, stop)
        for seed, state in zip(learned.config.seed_numbers, learned.states, strict=True):
            evaluator.seeds = [seed]
            (of_seed,) = evaluator.play(state, episodes or learned.config.episodes, FRESH_EPISODES)
            columns["score"].append(float(np.mean(score(task, of_seed))))
            columns["returns"].append(of_seed.returns)
            columns["successes"].append(of_seed.successes)
            columns["lengths"].append(of_seed.lengths)
    record |= columns | chosen
    result = result_record(task, learned.config.algorithm, [record], learned.step, 0.0) | chosen
    write_json(run / name, {**record, "result": result})
    return result

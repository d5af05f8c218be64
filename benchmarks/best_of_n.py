"""The yardstick of QIPO: its own behaviour policy and critic, with the best of N actions by Q at test time.

    python benchmarks/best_of_n.py RUN [--n 16] [--episodes 150]

RUN is a run of qipo-ot or qipo-diff; the checkpoint at the end of its critic stage is played, with episode
seeds that no evaluation of the training uses. N is fixed, not chosen by the score.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from tiltflow.agents.actor_critic import best_of
from tiltflow.agents.base import Agent
from tiltflow.data.transitions import Spec
from tiltflow.evaluation.statistics import bootstrap_interval
from tiltflow.evaluation.task_score import score
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.evaluate import FRESH_EPISODES
from tiltflow.training.evaluator import Evaluator
from tiltflow.training.prepare import prepare_folder
from tiltflow.training.progress import ignore_event


def with_best_of(agent: Agent, config, spec: Spec, n: int) -> Agent:
    """The agent whose policy draws n actions of the behaviour and takes the one of highest Q."""

    def act(state, observations, key):
        policy = state.policy.ema
        return best_of(policy, state.critic, observations, key, n, spec, config.flow, config.critic)

    return replace(agent, act=act)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=16, help="actions drawn at each state")
    parser.add_argument("--episodes", type=int, default=150, help="episodes of each seed")
    arguments = parser.parse_args()
    run = RunFolder(arguments.run)
    prepared = prepare_folder(run)
    config, task, agent = prepared.config, prepared.task, prepared.agent
    player = with_best_of(agent, config.agent, prepared.spec, arguments.n)
    end = prepared.schedule.begin(2)
    per_seed = []
    for seed in config.seed_numbers:
        path = run.group([seed]).checkpoint(end)
        state, _ = checkpoints.restore(path, prepared.init([seed]), checkpoints.header_of(path)["run"])
        evaluator = Evaluator(replace(prepared, agent=player), [seed], ignore_event, StopFlag())
        episodes = evaluator.play(state, arguments.episodes, FRESH_EPISODES)[0]
        per_seed.append(score(task, episodes))
        jax.clear_caches()
    record = {
        "run": arguments.run.name,
        "policy": f"best of {arguments.n} by Q",
        "metric": task.metric,
        "unit": task.unit,
        "episodes": arguments.episodes,
        "per_seed": [float(np.mean(values)) for values in per_seed],
        "mean": float(np.mean([np.mean(values) for values in per_seed])),
        "ci95": bootstrap_interval([values[None] for values in per_seed]),
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()

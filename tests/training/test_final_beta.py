"""A default score is that of policies at their final β: the last three evaluations follow its last rise."""

from pathlib import Path

import pytest

from tiltflow.agents.registry import build_agent, named_preset
from tiltflow.benchmark.suites import find_suite
from tiltflow.cli import benchmark
from tiltflow.cli.demo import demo_configs
from tiltflow.cli.train import parse
from tiltflow.data.transitions import Spec
from tiltflow.evaluation.statistics import LAST_EVALUATIONS
from tiltflow.training.schedule import Schedule

TASK = "d4rl/hopper-medium-v2"


def configs():
    yield "demo", demo_configs(Path("runs"), 2)[1]
    for algorithm in ("qipo-ot", "qipo-diff"):
        for preset in ("ours", "published"):
            words = [algorithm, "--task", TASK, "--preset", preset]
            yield f"{algorithm}, {preset}", parse(words).config
            words = ["d4rl-locomotion", "--out", "bench", "--agents", algorithm, "--preset", preset]
            plan = benchmark.parse(words).plan(find_suite("d4rl-locomotion"))
            yield f"benchmark of {algorithm}, {preset}", plan.config(plan.runs()[0])


@pytest.mark.parametrize(("name", "config"), list(configs()), ids=lambda value: str(value)[:40])
def test_the_last_three_evaluations_follow_the_last_refresh(name, config):
    agent = build_agent(config.algorithm, config.agent, Spec(4, 2), config.steps)
    schedule = Schedule(agent.stages, config)
    last = agent.stages[-1]
    rises = range(schedule.begin(len(agent.stages) - 1), schedule.steps, last.refresh_every)
    assert len(rises) > 2
    assert len(schedule.evaluated) > LAST_EVALUATIONS
    assert all(step > rises[-1] for step in schedule.evaluated[-LAST_EVALUATIONS:])


def test_the_number_of_evaluations_that_is_given_is_taken():
    words = ["qipo-ot", "--task", TASK, "--preset", "published", "--evaluations", "10"]
    assert parse(words).config.evaluations == 10
    assert named_preset("qipo-ot", TASK, "published").evaluations == 30

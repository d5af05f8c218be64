"""Which runs a benchmark is, in which order, with which networks."""

from dataclasses import asdict, replace

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.benchmark.plan import Plan, parse_network, with_networks
from tiltflow.benchmark.suites import SUITES, find_suite
from tiltflow.errors import UserError
from tiltflow.tasks import collectable, find_task

PLAN = Plan(SUITES["toy"].tasks, tuple(ALGORITHMS), 2, 3, 1000, 2, 5)


def leaves(record, path=()):
    """Every value of nested dicts with the names on the way to it."""
    if not isinstance(record, dict):
        return {path: record}
    found = {}
    for key, value in record.items():
        found |= leaves(value, (*path, key))
    return found


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_suite_has_tasks_that_exist_and_can_be_collected_where_it_says_so(suite):
    tasks = [find_task(name) for name in suite.tasks]
    assert len(set(suite.tasks)) == len(tasks)
    assert not suite.collects or all(collectable(task) for task in tasks)


def test_a_suite_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'ogbench-small'"):
        find_suite("ogbench-smal")


def test_every_task_has_its_first_seed_before_any_has_its_second():
    runs = PLAN.runs()
    assert len(set(runs)) == len(runs) == 2 * len(PLAN.tasks) * len(ALGORITHMS)
    assert [run.seed for run in runs] == [3] * (len(runs) // 2) + [4] * (len(runs) // 2)
    assert len({run.folder for run in runs}) == len(runs)


def test_a_run_is_one_seed_of_what_the_plan_says():
    for run in PLAN.runs():
        config = PLAN.config(run)
        assert config.seed_numbers == [run.seed]
        assert (config.algorithm, config.task) == (run.agent, run.task)
        assert (config.steps, config.evaluations, config.episodes) == (1000, 2, 5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_networks_are_resized_wherever_they_are_and_nothing_else_changes(name):
    before = leaves(asdict(ALGORITHMS[name].config))
    after = leaves(asdict(with_networks(ALGORITHMS[name].config, 24, 7)))
    sizes = {path for path in before if path[-1] in ("width", "depth")}
    assert sizes
    assert {path: after[path] for path in sizes} == {p: 24 if p[-1] == "width" else 7 for p in sizes}
    assert {p: v for p, v in after.items() if p not in sizes} == {
        p: v for p, v in before.items() if p not in sizes
    }


def test_a_size_of_networks_is_width_by_depth():
    assert parse_network("256x3") == (256, 3)


@pytest.mark.parametrize("text", ["256", "256x", "x3", "0x3", "256x3x2", "-1x3", "axb"])
def test_a_size_of_networks_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="WIDTHxDEPTH"):
        parse_network(text)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"agents": ("qipo-to",)}, "Did you mean 'qipo-ot'"),
        ({"agents": ("bc-flow", "bc-flow")}, "twice"),
        ({"tasks": ("pointmaze/umase-v0",)}, "Did you mean 'pointmaze/umaze-v0'"),
        ({"tasks": ()}, "No task"),
        ({"seeds": 0}, "seeds = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"episodes": 0}, "episodes = 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(wrong, text):
    with pytest.raises(UserError, match=text):
        replace(PLAN, **wrong)

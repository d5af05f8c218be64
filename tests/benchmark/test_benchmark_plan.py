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


def test_every_run_on_own_logs_gets_what_is_said_of_their_columns():
    told = {"columns": "rewards=r", "reward": None, "action_bounds": "-2 2", "data": "logs.csv"}
    plan = Plan(find_suite("own").tasks, ("bc-flow", "iql"), 2, 0, 1000, 2, 5, **told)
    configs = [plan.config(run) for run in plan.runs()]
    assert len(configs) == 4
    assert all({name: getattr(config, name) for name in told} == told for config in configs)
    assert all(not find_task(config.task, config.env).played for config in configs)


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


def test_every_combination_is_a_run_of_its_own_with_what_it_sets():
    vary = ("critic.aggregate=min,mean", "beta=0.50,1")
    runs = replace(PLAN, agents=("qipo-ot",), vary=vary).runs()
    first = [run for run in runs if (run.task, run.seed) == (PLAN.tasks[0], 3)]
    assert [run.variant for run in first] == [
        "beta=0.5,critic.aggregate=min",
        "beta=0.5,critic.aggregate=mean",
        "beta=1.0,critic.aggregate=min",
        "beta=1.0,critic.aggregate=mean",
    ]
    assert len(runs) == len({run.folder for run in runs}) == len(PLAN.tasks) * 2 * len(first)
    for run in runs:
        agent, usual = PLAN.config(run).agent, PLAN.config(run._replace(variant="")).agent
        assert run.variant == f"beta={agent.beta},critic.aggregate={agent.critic.aggregate}"
        assert replace(agent, beta=usual.beta, critic=usual.critic) == usual
    assert str(first[0]).startswith("qipo-ot (beta=0.5, critic.aggregate=min) on ")


def test_the_same_values_are_the_same_runs_however_they_are_written():
    def folders(*vary):
        return {run.folder for run in replace(PLAN, agents=("qipo-ot",), vary=vary).runs()}

    assert folders("beta=1,2", "refresh-every=7") == folders("refresh_every=7", "beta=2.0,1e0")


def test_nothing_varied_is_the_run_of_the_preset():
    assert {run.variant for run in PLAN.runs()} == {""}
    assert PLAN.runs()[0].folder.parts == ("pointmaze-umaze-v0", next(iter(ALGORITHMS)), "seed-3")


def test_networks_that_are_varied_are_not_those_of_the_plan():
    plan = replace(PLAN, agents=("iql",), network=(8, 1), vary=("critic.network.width=16",))
    critic = plan.config(plan.runs()[0]).agent.critic
    assert (critic.network.width, critic.network.depth) == (16, 1)


@pytest.mark.parametrize(
    ("vary", "text"),
    [
        (("beta",), "write KEY=VALUE,VALUE"),
        (("beta=",), "write KEY=VALUE,VALUE"),
        (("bta=1",), "qipo-ot has no setting 'bta'. Did you mean 'beta'"),
        (("critic=1",), "no setting 'critic'"),
        (("critic.tau=0.1,0.2", "critic.tau=0.3"), "varied twice"),
        (("beta=1,1.0",), "beta 1.0 is given twice"),
        (("beta=-1",), r"--vary beta=-1.0, qipo-ot: beta = -1.0: it must be"),
        (("beta=0.5=1",), "beta = '0.5=1': it must be"),
        (("beta=1,",), "beta = '': it must be"),
        (("critic.aggregate=median",), "aggregate = 'median': it must be one of"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_its_name(vary, text):
    with pytest.raises(UserError, match=text):
        replace(PLAN, agents=("qipo-ot",), vary=vary)


def test_a_setting_that_an_agent_lacks_is_refused_with_the_agent():
    with pytest.raises(UserError, match=r"bc-flow has no setting 'beta'.*--agents"):
        replace(PLAN, agents=("qipo-ot", "bc-flow"), vary=("beta=1,2",))

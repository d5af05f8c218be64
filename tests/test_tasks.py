"""Names of tasks, and that nothing heavy is imported to know them."""

import subprocess
import sys

import pytest

from tiltflow.errors import UserError
from tiltflow.tasks import collectable, find_task, list_tasks


def test_names_are_unique_and_find_their_task():
    tasks = list_tasks()
    assert len({task.name for task in tasks}) == len(tasks)
    assert all(find_task(task.name) is task for task in tasks)


def test_every_task_is_scored_in_a_unit_that_fits_its_metric():
    for task in list_tasks():
        units = {"success": "%", "normalized return": "points", "return": "return"}
        assert units[task.metric] == task.unit
        assert (task.reference is not None) == (task.metric == "normalized return")
        assert task.horizon > 0


def test_a_task_is_of_the_source_that_its_name_begins_with():
    for task in [*list_tasks(), find_task("file/arm"), find_task("minari/own/swing-v0")]:
        assert task.name.startswith(f"{task.source.name}/")
        assert task in task.source.tasks() or task.source.open_task
        assert (task.environment not in ("", "none")) != bool(task.source.open_task)


def test_without_a_simulator_a_task_is_estimated():
    own, hopper = find_task("file/arm"), find_task("d4rl/hopper-medium-v2", "none")
    assert own == find_task("file/arm", "none")
    assert find_task("file/arm", "Hopper-v5").played
    for task in (own, hopper, find_task("minari/own/swing-v0", "none")):
        assert not task.played
        assert "not played" in task.metric
    assert hopper.dataset == "hopper-medium-v2"


def test_ogbench_tasks_name_the_environment_without_the_kind_of_data():
    task = find_task("ogbench/cube-single-play-singletask-task2-v0")
    assert task.dataset == "cube-single-play-v0"
    assert task.environment == "cube-single-singletask-task2-v0"
    assert (task.metric, task.unit, task.horizon) == ("success", "%", 200)
    assert find_task("ogbench/humanoidmaze-giant-navigate-singletask-v0").horizon == 4000


def test_d4rl_reference_returns():
    assert find_task("d4rl/hopper-medium-replay-v2").reference == (-20.272305, 3234.3)
    assert find_task("d4rl/pen-human-v1").horizon == 100
    assert find_task("d4rl/walker2d-medium-expert-v2").environment == "Walker2d-v4"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("d4rl/hoper-medium-v2", "d4rl/hopper-medium-v2"),
        ("d4rl/hopper-medium-v0", "d4rl/hopper-medium-v2"),
        ("cube-single-play-singletask-task2-v0", "ogbench/cube-single-play-singletask-task2-v0"),
        ("pointmaze/umaze-v1", "pointmaze/umaze-v0"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(wrong, right):
    with pytest.raises(UserError, match=f"no task '{wrong}'. Did you mean '{right}'"):
        find_task(wrong)


def test_open_names():
    minari = find_task("minari/D4RL/door/human-v2")
    assert (minari.dataset, minari.metric) == ("D4RL/door/human-v2", "normalized return")
    assert find_task("minari/D4RL/antmaze/umaze-v1").metric == "success"
    own = find_task("file/arm", "Pendulum-v1")
    assert (own.dataset, own.environment, own.metric) == ("arm", "Pendulum-v1", "return")


def test_an_environment_is_refused_where_the_task_has_one():
    with pytest.raises(UserError, match="--env Ant-v5 cannot be given with the task d4rl/hopper-medium-v2"):
        find_task("d4rl/hopper-medium-v2", "Ant-v5")


def test_what_can_be_collected():
    assert collectable(find_task("pointmaze/large-v0"))
    assert collectable(find_task("ogbench/scene-noisy-singletask-v0"))
    assert not collectable(find_task("ogbench/antmaze-large-navigate-singletask-v0"))
    assert not collectable(find_task("d4rl/hopper-medium-v2"))


@pytest.mark.parametrize("module", ["tiltflow.tasks", "tiltflow.cli.data", "tiltflow.cli.tasks"])
def test_names_and_verbs_import_nothing_heavy(module):
    heavy = "{'jax', 'numpy', 'gymnasium', 'rich', 'h5py'} & set(sys.modules)"
    known = "from tiltflow.tasks import collectable, list_tasks; list(map(collectable, list_tasks()))"
    script = f"import sys, {module}; {known}; loaded = {heavy}; assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", script], check=True)

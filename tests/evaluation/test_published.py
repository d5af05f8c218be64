import subprocess
import sys
from collections import Counter

import pytest

from tiltflow.evaluation.published_scores import published, published_scores
from tiltflow.tasks import find_task

# The averages that the sources print below their tables: a slip of the pen in a number would show.
LOCOMOTION = [
    f"d4rl/{robot}-{data}-v2"
    for robot in ("halfcheetah", "hopper", "walker2d")
    for data in ("medium-expert", "medium", "medium-replay")
]
MAZES = ("umaze", "umaze-diverse", "medium-play", "medium-diverse", "large-play", "large-diverse")
AVERAGES = {
    "locomotion": (
        LOCOMOTION,
        {"sfbc": 75.6, "diffusion-ql": 88.0, "qgpo": 86.6, "idql": 82.1, "srpo": 87.1}
        | {"td3-bc": 76.45, "iql": 81.63},
    ),
    "antmaze-v0": (
        [f"d4rl/antmaze-{maze}-v0" for maze in MAZES],
        {"diffusion-ql": 69.6, "qgpo": 78.3, "idql": 79.1, "srpo": 73.6},
    ),
    "antmaze-v2": ([f"d4rl/antmaze-{maze}-v2" for maze in MAZES], {"td3-bc": 19.33, "iql": 57.17}),
    "adroit": (
        [
            f"d4rl/{hand}-{data}-v1"
            for hand in ("pen", "door", "hammer", "relocate")
            for data in ("human", "cloned", "expert")
        ],
        {"td3-bc": 10.40, "iql": 53.43, "rebrac": 59.39},
    ),
}


@pytest.mark.parametrize(
    ("suite", "algorithm"), [(s, a) for s, (_, means) in AVERAGES.items() for a in means]
)
def test_the_numbers_have_the_average_that_their_source_prints(suite, algorithm):
    tasks, means = AVERAGES[suite]
    scores = [entry.score for task in tasks for entry in published(task) if entry.algorithm == algorithm]
    assert len(scores) == len(tasks)
    assert sum(scores) / len(scores) == pytest.approx(means[algorithm], abs=0.2)


def test_a_number_that_contradicts_its_source_is_left_out():
    assert "sfbc" not in {entry.algorithm for entry in published("d4rl/antmaze-large-diverse-v0")}
    assert "sfbc" in {entry.algorithm for entry in published("d4rl/antmaze-large-play-v0")}


def test_each_number_says_what_it_is_and_where_it_is_from():
    for entry in published_scores():
        assert entry.source
        assert entry.protocol
        assert (entry.metric, entry.unit) == ("normalized return", "points")
    assert max(Counter((e.task, e.algorithm, e.source) for e in published_scores()).values()) == 1


def test_names_are_those_of_our_tasks_but_for_antmaze():
    for entry in published_scores():
        if "antmaze" not in entry.task:
            task = find_task(entry.task)
            assert (task.metric, task.unit) == (entry.metric, entry.unit)


def test_doubts_about_a_source_are_noted():
    notes = {entry.algorithm: entry.note for entry in published("d4rl/halfcheetah-medium-replay-v2")}
    assert "labels this row halfcheetah-medium-v2" in notes["qgpo"]
    assert notes["iql"] == ""
    assert "does not name the version" in published("d4rl/walker2d-medium-v2")[-1].note


@pytest.mark.parametrize("task", ["ogbench/cube-single-play-singletask-task2-v0", "file/mine", ""])
def test_where_nothing_was_read_there_is_nothing(task):
    assert published(task) == []


def test_only_the_standard_library_is_needed():
    code = "import sys, tiltflow.evaluation.published_scores; assert not {'numpy', 'jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

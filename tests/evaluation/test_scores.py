from dataclasses import replace

import numpy as np
import pytest

from tiltflow.evaluation.rollouts import Episodes
from tiltflow.evaluation.task_score import score
from tiltflow.tasks import find_task

EPISODES = Episodes(
    returns=[-20.272305, 3234.3, 1607.013847], successes=[False, True, True], lengths=[3, 4, 5]
)


def test_success_is_zero_or_a_hundred_percent():
    task = find_task("ogbench/cube-single-play-singletask-task2-v0")
    assert task.unit == "%"
    np.testing.assert_array_equal(score(task, EPISODES), [0.0, 100.0, 100.0])


def test_normalized_return_puts_the_published_references_at_zero_and_a_hundred():
    """−20.272305 and 3234.3 are the reference returns that D4RL publishes for hopper."""
    task = find_task("d4rl/hopper-medium-v2")
    np.testing.assert_allclose(score(task, EPISODES), [0.0, 100.0, 50.0], atol=1e-6)


def test_return_is_left_as_it_is():
    task = find_task("file/mine", environment="Hopper-v5")
    np.testing.assert_array_equal(score(task, EPISODES), EPISODES.returns)


def test_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="no score for metric 'speed'"):
        score(replace(find_task("file/mine", environment="Hopper-v5"), metric="speed"), EPISODES)

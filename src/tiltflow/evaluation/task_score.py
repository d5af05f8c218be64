"""From returns and successes to the score that a task is measured by."""

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation.rollouts import Episodes
from tiltflow.tasks import Task


def score(task: Task, episodes: Episodes) -> Float[np.ndarray, " n"]:
    """The score of each episode, in the unit of the task.

    success: 0 or 100 %; normalized return: 100·(return − min)/(max − min), with the task's reference
    returns (Fu et al. 2020, section 4); return: the undiscounted sum of rewards.
    """
    returns = np.asarray(episodes.returns, np.float64)
    match task.metric:
        case "success":
            return 100.0 * np.asarray(episodes.successes, np.float64)
        case "normalized return" if task.reference is not None:
            low, high = task.reference
            return 100.0 * (returns - low) / (high - low)
        case "return":
            return returns
    raise ValueError(f"task {task.name!r}: no score for metric {task.metric!r}, reference {task.reference}")

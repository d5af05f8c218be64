"""Rewards as a critic is to learn from them. What is played is scored in the environment's own.

recorded      r, as the data have it.
minus-one     r − 1: a reward of 0 or 1 becomes the cost of a step, as in QGPO's antmaze.
return-range  1000·r/(R_max − R_min), R the returns of the data's finished episodes, as in QGPO's locomotion:
              returns then differ by 1000, so that one β serves all of these tasks.
"""

from dataclasses import replace

import numpy as np

from tiltflow.data.describe import episodes
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError

_RETURN_RANGE = 1000.0


def rescale_rewards(data: Transitions, rewards: str) -> Transitions:
    """The same transitions with those rewards, named as above (`CriticConfig.rewards`).

    Raises UserError where returns have no range to scale by.
    """
    match rewards:
        case "recorded":
            return data
        case "minus-one":
            return replace(data, rewards=data.rewards - np.float32(1))
    _, returns = episodes(data)
    finished = returns if data.ends[-1] or len(returns) == 1 else returns[:-1]
    low, high = float(finished.min()), float(finished.max())
    if low == high:
        raise UserError(
            f"critic.rewards = return-range needs episodes of different returns: the data's {len(finished)} "
            f"all have {low:g}. Choose --set.critic.rewards recorded."
        )
    return replace(data, rewards=(data.rewards * (_RETURN_RANGE / (high - low))).astype(np.float32))

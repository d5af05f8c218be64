"""Playing episodes in several environments at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int32, UInt32

from tiltflow.environments import Environment
from tiltflow.errors import TrainingDiverged


class Policy(Protocol):
    """Actions in [−1, 1] for a batch of observations.

    Row i may depend on row i of the arguments only: the observation, the seed of its episode and the
    number of steps taken in it. Then an episode does not depend on those it shares the batch with.
    """

    def __call__(
        self,
        observations: Float[np.ndarray, "n o"],
        episode_seeds: UInt32[np.ndarray, " n"],
        times: Int32[np.ndarray, " n"],
    ) -> Float[np.ndarray, "n a"]: ...


@dataclass(frozen=True)
class Episodes:
    """What became of each episode: undiscounted sum of rewards, success at any step, environment steps."""

    returns: list[float]
    successes: list[bool]
    lengths: list[int]


def rollout(
    environments: Sequence[Environment],
    policy: Policy,
    seeds: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Episodes:
    """Play one episode per seed, as many at a time as there are environments; results follow `seeds`.

    The policy always sees one row per environment (rows without an episode are stale), so it compiles
    once. `progress` is called with the number of finished episodes whenever one ends. Raises
    TrainingDiverged at an action that is not finite, ValueError without environments.
    """
    if not environments:
        raise ValueError("a rollout needs at least one environment")
    returns, successes, lengths = [0.0] * len(seeds), [False] * len(seeds), [0] * len(seeds)
    waiting = iter(range(len(seeds)))
    playing = dict(zip(range(len(environments)), waiting, strict=False))  # environment -> episode
    first = [environments[slot].reset(seeds[episode]) for slot, episode in playing.items()]
    observations = np.zeros((len(environments), first[0].size if first else 0), np.float32)
    observations[: len(first)] = first
    episode_seeds, times = np.zeros(len(environments), np.uint32), np.zeros(len(environments), np.int32)
    finished = 0
    while playing:
        for slot, episode in playing.items():
            episode_seeds[slot], times[slot] = seeds[episode] % 2**32, lengths[episode]
        actions = np.asarray(policy(observations, episode_seeds, times))
        for slot, episode in list(playing.items()):
            if not np.isfinite(actions[slot]).all():
                raise TrainingDiverged(
                    f"The policy chose an action that is not finite ({actions[slot]}) at step {times[slot]} "
                    f"of the episode with seed {seeds[episode]}."
                )
            observations[slot], reward, terminated, truncated, success = environments[slot].step(
                actions[slot]
            )
            returns[episode] += reward
            successes[episode] |= success
            lengths[episode] += 1
            if not (terminated or truncated):
                continue
            finished += 1
            del playing[slot]
            if (following := next(waiting, None)) is not None:
                playing[slot] = following
                observations[slot] = environments[slot].reset(seeds[following])
            if progress is not None:
                progress(finished)
    return Episodes(returns, successes, lengths)

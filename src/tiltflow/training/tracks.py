"""What was seen or done at each step of some episodes, kept beside playing them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation.rollouts import Episodes, Policy
from tiltflow.maze_map import MazeMap

SHOWN_EPISODES = 10
"""Episodes of each seed whose paths are kept."""
_POINTS = 200

Track = list[Float[np.ndarray, " k"]]
"""A row for each step of an episode."""


@dataclass
class Tracks:
    """What `take` makes of observations and actions at every step of the first `most` episodes of a seed."""

    take: Callable[[np.ndarray, np.ndarray], Float[np.ndarray, "n k"]]
    most: int | None = None
    of_seeds: list[list[Track]] = field(default_factory=list)
    """The tracks of each seed that was played, in the order of its episodes."""

    def beside(self, policy: Policy, episode_seeds: list[int]) -> Policy:
        """The same policy, watched; its episodes are the next in `of_seeds`."""
        tracks: dict[int, Track] = {seed % 2**32: [] for seed in episode_seeds[: self.most]}
        self.of_seeds.append(list(tracks.values()))

        def watched(observations: np.ndarray, episode_seeds: np.ndarray, times: np.ndarray) -> np.ndarray:
            actions = policy(observations, episode_seeds, times)
            rows = self.take(observations, actions)
            for row, seed, time in zip(rows, episode_seeds.tolist(), times.tolist(), strict=True):
                # A row without an episode repeats the last time of the one before.
                if seed in tracks and len(tracks[seed]) == time:
                    tracks[seed].append(row.copy())
            return actions

        return watched


def path_tracks() -> Tracks:
    """Keeps what the paths through a maze need."""
    return Tracks(lambda observations, actions: observations[:, :4], SHOWN_EPISODES)


def maze_paths(
    maze: MazeMap, tracks: Tracks, seeds: list[int], episodes: list[Episodes], step: int
) -> dict[str, np.ndarray]:
    """The content of episodes.npz, for the policies after `step` gradient steps.

    Of the maze the `walls` [rows, columns] and the `extent` (left, right, low, high); of each episode the
    `positions` [n, 200, 2], thinned out and NaN behind the last, the `goals` [n, 2], `seeds` and `successes`
    [n]. All lengths are in metres.
    """
    flat = [np.array(track) for of_seed in tracks.of_seeds for track in of_seed]
    positions = np.full((len(flat), _POINTS, 2), np.nan, np.float32)
    for place, track in enumerate(flat):
        rows = np.unique(np.linspace(0, len(track) - 1, _POINTS).astype(int))
        positions[place, : len(rows)] = maze.place(track[rows])
    counts = [len(of_seed) for of_seed in tracks.of_seeds]
    shown = zip(episodes, counts, strict=True)
    return {
        "walls": maze.walls,
        "extent": np.array(maze.extent),
        "step": np.array(step),
        "positions": positions,
        "goals": np.array([maze.goal(track[0]) for track in flat], np.float32),
        "seeds": np.repeat(seeds, counts),
        "successes": np.concatenate([of_seed.successes[:count] for of_seed, count in shown]),
    }

"""Films of episodes that were played: the best, the median and the worst; and frames of the median.

An episode is played again by its seed and its actions, which the policy is not asked for a second time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from tiltflow.environments import Environment
from tiltflow.files import atomic_file
from tiltflow.packages import require
from tiltflow.run_folder import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image

_PIXELS = 320
"""Height and width of a frame at most."""
_FRAMES, _MILLISECONDS, _COLOURS = 200, 40, 64
"""Of a film: frames at most, the time of each, and the colours of each."""
_QUARTERS = 4


class FilmedEpisode(NamedTuple):
    """An episode that was played: what it is a function of, and what it brought."""

    policy_step: int
    """Gradient steps of the policy."""
    policy_seed: int
    environment_seed: int
    actions: Float[np.ndarray, "steps a"]
    total: float
    """Sum of rewards."""
    success: bool


def choose_episodes(episodes: list[FilmedEpisode]) -> dict[str, FilmedEpisode]:
    """The best, the median and the worst by return; of equal ones the first."""
    ranked = sorted(episodes, key=lambda episode: -episode.total)
    return {"best": ranked[0], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[-1]}


def check_pictures(environment: Environment) -> None:
    """Raise UserError now where the environment cannot be drawn, or what writes films is missing."""
    for package in ("PIL", "matplotlib", "jinja2"):
        require(package)
    environment.reset(0)
    environment.picture()


def write_films(
    environment: Environment, run: RunFolder, name: str, episodes: list[FilmedEpisode],
    progress: Callable[[float], None], strip: bool,
) -> list[Path]:  # fmt: skip
    """Write NAME-best.gif, NAME-median.gif and NAME-worst.gif into the run folder; returns their paths.

    With `strip` film.npz too: `frames` [5, height, width, 3] of the median episode at `steps` [5], the
    gradient steps and the seed of its policy, its `return` and `success`. `progress` is told the share that
    is done. Raises UserError where the environment cannot be drawn.
    """
    chosen, paths = choose_episodes(episodes), []
    for place, (which, episode) in enumerate(chosen.items()):
        length = len(episode.actions)
        quarters = [length * quarter // _QUARTERS for quarter in range(_QUARTERS + 1)]
        every = -(-(length + 1) // _FRAMES)
        images, frames = [], []
        for step, picture in _replay(environment, episode):
            if step % every and step not in quarters:
                continue
            image = _small(picture)
            if step % every == 0 or step == length:
                images.append(image.quantize(_COLOURS))
            frames += [np.asarray(image)] * quarters.count(step)
            progress((place + step / length) / len(chosen))
        path = run.path / f"{name}-{which}.gif"
        with atomic_file(path) as file:
            images[0].save(
                file, format="GIF", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0
            )
        paths.append(path)
        if strip and which == "median":
            run.write_film(_strip(frames, quarters, episode))
    return paths


def _replay(environment: Environment, episode: FilmedEpisode) -> Iterator[tuple[int, Any]]:
    """Each step of an episode with a function that draws it."""
    environment.reset(episode.environment_seed)
    yield 0, environment.picture
    for step, action in enumerate(episode.actions, start=1):
        environment.step(action)
        yield step, environment.picture


def _small(picture: Callable[[], UInt8[np.ndarray, "h w 3"]]) -> "Image":
    image = require("PIL.Image").fromarray(picture())
    image.thumbnail((_PIXELS, _PIXELS))
    return image


def _strip(frames: list[np.ndarray], steps: list[int], episode: FilmedEpisode) -> dict[str, np.ndarray]:
    return {
        "frames": np.stack(frames),
        "steps": np.array(steps),
        "policy_step": np.array(episode.policy_step),
        "seed": np.array(episode.policy_seed),
        "return": np.array(episode.total),
        "success": np.array(episode.success),
    }

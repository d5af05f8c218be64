"""Films of episodes: which are chosen, and that pictures need no display, or say what they need."""

import os
import subprocess
import sys
from ctypes.util import find_library

import numpy as np
import pytest
from PIL import Image

from tiltflow.environments import make_environment
from tiltflow.errors import UserError
from tiltflow.evaluation.rollouts import rollout
from tiltflow.npz import load_npz
from tiltflow.rendering import choose_renderer
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.training.film import FilmedEpisode, check_pictures, choose_episodes, write_films
from tiltflow.training.tracks import Tracks

SEEDS = [4, 7, 9]
draws = pytest.mark.skipif(
    not any(map(find_library, ("EGL", "OSMesa"))),
    reason="needs EGL or OSMesa (apt-get install libegl1)",
)


def leaning(observations, episode_seeds, times):
    return np.sin(0.3 * times + episode_seeds)[:, None].astype(np.float32)


def episode(total: float, seed: int = 0) -> FilmedEpisode:
    return FilmedEpisode(100, seed, seed, np.zeros((1, 2)), total, False)


def test_best_median_and_worst_are_by_return_and_of_one_episode_the_same():
    chosen = choose_episodes([episode(total) for total in (3.0, -1.0, 2.0, 8.0, 2.5)])
    assert {name: chosen[name].total for name in chosen} == {"best": 8.0, "median": 2.5, "worst": -1.0}
    assert {one.total for one in choose_episodes([episode(3.0)]).values()} == {3.0}


@draws
def test_films_show_whole_episodes_and_the_strip_their_quarters(tmp_path, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    choose_renderer()
    environment = make_environment(find_task("file/own", "InvertedPendulum-v5"))  # falls soon
    check_pictures(environment)
    tracks = Tracks(lambda observations, actions: actions)
    played = rollout([environment], tracks.beside(leaning, SEEDS), SEEDS)
    episodes = [
        FilmedEpisode(100, 0, seed, np.array(track), total, success)
        for seed, track, total, success in zip(
            SEEDS, tracks.of_seeds[0], played.returns, played.successes, strict=True
        )
    ]
    run, told = RunFolder(tmp_path), []
    paths = write_films(environment, run, "evaluation", episodes, told.append, strip=True)
    environment.close()
    assert [path.name for path in paths] == [
        f"evaluation-{which}.gif" for which in ("best", "median", "worst")
    ]
    chosen = choose_episodes(episodes)
    for path, which in zip(paths, chosen, strict=True):
        with Image.open(path) as film:
            assert film.format == "GIF"
            assert 1 < film.n_frames <= len(chosen[which].actions) + 1
    strip, length = load_npz(run.film_file), len(chosen["median"].actions)
    assert strip["steps"].tolist() == [length * quarter // 4 for quarter in range(5)]
    assert strip["frames"].shape[3] == 3
    assert len({frame.tobytes() for frame in strip["frames"]}) == len({*strip["steps"].tolist()}) > 3
    assert strip["return"] == sorted(played.returns)[1]
    assert told[-1] == 1.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what was never made
def test_where_nothing_can_be_drawn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    environment = make_environment(find_task("file/own", "Hopper-v5"))
    environment.reset(0)
    with pytest.raises(UserError, match=r"libegl1 .*` and MUJOCO_GL=egl or .*libosmesa6.* is now 'nothing'"):
        environment.picture()
    environment.close()


def test_a_renderer_that_mujoco_does_not_have_is_refused_before_anything_is_played():
    code = "from tiltflow.rendering import choose_renderer; choose_renderer()"
    environment = {**os.environ, "MUJOCO_GL": "nothing"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "UserError: MuJoCo cannot draw" in done.stderr
    assert "`apt-get install libosmesa6` and MUJOCO_GL=osmesa" in done.stderr

"""Three short episodes, and how the official packages wrote the files of `official/` from them.

They need torch, and so an environment of their own:

    python -m venv official && official/bin/pip install 'lerobot[dataset]' robomimic h5py
    official/bin/python tests/data/official_episodes.py tests/data/official

writes lerobot-v3 (lerobot 0.6.1) and robomimic.hdf5 (by the converter of D4RL's data of robomimic 0.3.0), and
reads the latter with robomimic's own `SequenceDataset`. With lerobot 0.3.3 instead of it the first is
lerobot-v2.
"""

import inspect
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (4,), "names": ["x", "y", "vx", "vy"]},
    "observation.environment_state": {"dtype": "float32", "shape": (2,), "names": ["gx", "gy"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["fx", "fy"]},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
}
CAMERA = "observation.images.top"
IMAGE = {CAMERA: {"dtype": "image", "shape": (8, 8, 3), "names": ["height", "width", "channels"]}}


def episodes() -> list[dict[str, np.ndarray]]:
    """Their columns by LeRobot's names. Actions are in [−2, 2]; all but the second succeed at their end."""
    random, made = np.random.default_rng(0), []
    for number, length in enumerate((5, 6, 7)):
        last = np.arange(length) == length - 1
        made.append(
            {
                "observation.state": random.normal(size=(length, 4)).astype(np.float32),
                "observation.environment_state": np.full((length, 2), number, np.float32),
                "action": random.uniform(-2, 2, (length, 2)).astype(np.float32),
                "next.reward": last.astype(np.float32),
                "next.done": last,
                "next.success": last & (number != 1),
            }
        )
    return made


def write_lerobot(folder: Path) -> None:
    """Write the episodes, with a picture at each row, by the lerobot that is installed."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    shutil.rmtree(folder, ignore_errors=True)
    data = LeRobotDataset.create("own/point", 10, FEATURES | IMAGE, root=folder, use_videos=False)
    takes_task = "task" in inspect.signature(data.add_frame).parameters
    for episode in episodes():
        for row in range(len(episode["action"])):
            frame = {name: np.atleast_1d(column[row]) for name, column in episode.items()}
            frame[CAMERA] = np.full((8, 8, 3), row, np.uint8)
            if takes_task:
                data.add_frame(frame, task="reach")
            else:
                data.add_frame({**frame, "task": "reach"})
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()
    for path in folder.rglob("*"):  # what is not read here
        if path.is_file() and path.name != "info.json" and path.parts[-3] != "data":
            path.unlink()


def write_robomimic(folder: Path) -> None:
    """Write the episodes by robomimic's converter, which is told that they are what D4RL has."""
    columns = [
        {
            "observations": np.concatenate(
                [e["observation.state"], e["observation.environment_state"]], axis=1
            ),
            "actions": e["action"],
            "rewards": e["next.reward"],
            "terminals": e["next.success"],
            "timeouts": e["next.done"],
        }
        for e in [*episodes(), episodes()[0]]  # it leaves out the last row of all
    ]
    joined = {key: np.concatenate([one[key] for one in columns]) for key in columns[0]}
    inner = SimpleNamespace(get_dataset=lambda: joined)
    gym, d4rl = ModuleType("gym"), ModuleType("d4rl")
    gym.make = lambda *_, **__: SimpleNamespace(env=inner, close=lambda: None)
    d4rl.set_dataset_path = lambda path: None
    sys.modules |= {"gym": gym, "d4rl": d4rl}
    arguments, sys.argv = sys.argv, ["convert", "--env", "point", "--folder", str(folder)]
    runpy.run_module("robomimic.scripts.conversion.convert_d4rl", run_name="__main__")
    sys.argv = arguments
    (folder / "d4rl" / "converted" / "point.hdf5").rename(folder / "robomimic.hdf5")
    shutil.rmtree(folder / "d4rl")


def check_robomimic(file: Path) -> None:
    """Whether robomimic itself reads the file, and what it reads."""
    from robomimic.utils.dataset import SequenceDataset

    keys = ("actions", "rewards", "dones")
    data = SequenceDataset(str(file), ("flat",), keys, hdf5_use_swmr=False)
    expected = np.concatenate([episode["action"] for episode in episodes()])
    np.testing.assert_array_equal([data[row]["actions"][0] for row in range(len(expected))], expected)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    import lerobot

    write_lerobot(out / ("lerobot-v2" if lerobot.__version__.startswith("0.3") else "lerobot-v3"))
    write_robomimic(out)
    check_robomimic(out / "robomimic.hdf5")

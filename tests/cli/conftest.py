"""A small real data set made by the command line, and a run of seconds on it."""

from pathlib import Path

import pytest

from tiltflow.cli.main import main
from tiltflow.cli.train import parse
from tiltflow.training.run import train

TASK = "pointmaze/umaze-v0"
SMALL = (
    *("--steps", "60", "--chunk", "10", "--checkpoint-every", "20", "--evaluations", "2", "--episodes", "2"),
    *("--set.flow.network.width", "16", "--set.flow.network.depth", "2", "--set.flow.num-steps", "2"),
)


@pytest.fixture(scope="session")
def maze_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert main(["data", "collect", "pointmaze-umaze-v0", "--episodes", "2", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def small_training(maze_data) -> tuple[str, ...]:
    """What makes a training of any algorithm with a flow one of seconds."""
    return ("--task", TASK, "--data", str(maze_data), *SMALL)


@pytest.fixture(scope="session")
def trained_here(small_training):
    """What `tiltflow train` with these words comes to, trained in this process."""

    def run(out: Path, algorithm: str, *more: str) -> Path:
        return train(parse([algorithm, *small_training, *more]).config, out, in_this_process=True)

    return run


@pytest.fixture(scope="session")
def cloned(trained_here, tmp_path_factory) -> Path:
    """The finished run of a cloned policy: not to be changed."""
    return trained_here(tmp_path_factory.mktemp("cloned") / "run", "bc-flow")


@pytest.fixture
def train_words(small_training):
    """The words of a training of seconds."""

    def words(out: Path, *more: str) -> list[str]:
        return [
            "train",
            "bc-flow",
            *small_training,
            "--out",
            str(out),
            *more,
        ]

    return words

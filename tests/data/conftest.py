"""Fixtures for data sets."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def ogbench():
    """The ogbench package, which cannot be installed on Python 3.13 (its dependency labmaze)."""
    return pytest.importorskip("ogbench")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Path:
    """The Minari data set own/swing-v0, five random steps of a pendulum: the folder of its metadata."""
    import gymnasium
    import minari

    root = tmp_path_factory.mktemp("minari")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    collector = minari.DataCollector(gymnasium.make("Pendulum-v1", max_episode_steps=5))
    collector.reset(seed=0)
    while not any(collector.step(collector.action_space.sample())[2:4]):
        pass
    collector.create_dataset("own/swing-v0", algorithm_name="r", author="a", author_email="a@b.c",
                             code_permalink="https://example.org")  # fmt: skip
    del os.environ["MINARI_DATASETS_PATH"]
    return root / "own/swing-v0/data"

"""Scores that others have published, each with its protocol and its source. Standard library only.

Only numbers that were read in a public source are here, none from memory. They were made with other code,
mostly with other versions of the environments, and sources differ in which evaluations they count: they say
roughly where an algorithm stands, not which of two close ones is better.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple


@dataclass(frozen=True)
class PublishedScore:
    """One published number, in `unit`; `protocol` says what is averaged."""

    task: str
    algorithm: str
    score: float
    metric: str
    unit: str
    protocol: str
    source: str
    note: str = ""


class _Table(NamedTuple):
    """A part of a source: data sets in rows, algorithms in columns."""

    source: str
    protocol: str
    algorithms: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]
    note: str = ""


_GENERATIVE_RL = (
    "github.com/opendilab/GenerativeRL, grl_pipelines/benchmark/README.md",
    "as the source collected it from the papers; which evaluations count is not said",
    ("sfbc", "diffusion-ql", "qgpo", "idql", "srpo"),
)
_CORL = ("github.com/corl-team/CORL, README.md, last scores", "last evaluation, reproduced by the source")
_LEADERBOARD = (
    "wizwand.com, Energy-Weighted Flow Matching for Offline Reinforcement Learning",
    "as a leaderboard collected it from the paper; which evaluations count is not said",
    ("qipo (variant not named)",),
)
_TABLES = (
    _Table(
        *_GENERATIVE_RL,
        {
            "halfcheetah-medium-expert-v2": (92.6, 96.8, 93.5, 95.9, 92.2),
            "hopper-medium-expert-v2": (108.6, 111.1, 108.0, 108.6, 100.1),
            "walker2d-medium-expert-v2": (109.8, 110.1, 110.7, 112.7, 114.0),
            "halfcheetah-medium-v2": (45.9, 51.1, 54.1, 51.0, 60.4),
            "hopper-medium-v2": (57.1, 90.5, 98.0, 65.4, 95.5),
            "walker2d-medium-v2": (77.9, 87.0, 86.0, 82.5, 84.4),
            "hopper-medium-replay-v2": (86.2, 100.7, 96.9, 92.1, 101.2),
            "walker2d-medium-replay-v2": (65.1, 95.5, 84.4, 85.1, 84.6),
        },
    ),
    _Table(
        *_GENERATIVE_RL,
        {"halfcheetah-medium-replay-v2": (37.1, 47.8, 47.6, 45.9, 51.4)},
        "the source labels this row halfcheetah-medium-v2 a second time; its place is medium-replay's",
    ),
    _Table(
        *_GENERATIVE_RL,
        {
            "antmaze-umaze-v0": (92.0, 93.4, 96.4, 94.0, 97.1),
            "antmaze-umaze-diverse-v0": (85.3, 66.2, 74.4, 80.2, 82.1),
            "antmaze-medium-play-v0": (81.3, 76.6, 83.6, 84.5, 80.7),
            "antmaze-medium-diverse-v0": (82.0, 78.6, 83.8, 84.8, 75.0),
            "antmaze-large-play-v0": (59.3, 46.4, 66.6, 63.5, 53.6),
            # SfBC's 64.8 does not fit its average of 74.2 in the same table: it is left out.
            "antmaze-large-diverse-v0": (None, 56.6, 64.8, 67.9, 53.6),
        },
        "the source labels the data v0",
    ),
    _Table(
        *_CORL,
        ("td3-bc", "iql"),
        {
            "halfcheetah-medium-expert-v2": (90.8, 94.7),
            "hopper-medium-expert-v2": (101.2, 107.4),
            "walker2d-medium-expert-v2": (110.0, 111.7),
            "halfcheetah-medium-v2": (48.1, 48.3),
            "hopper-medium-v2": (60.4, 67.5),
            "walker2d-medium-v2": (82.7, 80.9),
            "halfcheetah-medium-replay-v2": (44.8, 44.5),
            "hopper-medium-replay-v2": (64.4, 97.4),
            "walker2d-medium-replay-v2": (85.6, 82.2),
            "antmaze-umaze-v2": (70.8, 77.0),
            "antmaze-umaze-diverse-v2": (44.8, 54.3),
            "antmaze-medium-play-v2": (0.3, 65.8),
            "antmaze-medium-diverse-v2": (0.3, 73.8),
            "antmaze-large-play-v2": (0.0, 42.0),
            "antmaze-large-diverse-v2": (0.0, 30.3),
        },
    ),
    _Table(
        *_CORL,
        ("td3-bc", "iql", "rebrac"),
        {
            "pen-human-v1": (-3.9, 78.5, 103.2),
            "pen-cloned-v1": (5.1, 83.4, 102.8),
            "pen-expert-v1": (122.5, 128.1, 152.2),
            "door-human-v1": (-0.3, 3.3, -0.1),
            "door-cloned-v1": (-0.3, 3.1, 0.1),
            "door-expert-v1": (-0.3, 106.7, 106.4),
            "hammer-human-v1": (1.0, 1.8, 0.2),
            "hammer-cloned-v1": (0.3, 1.5, 5.0),
            "hammer-expert-v1": (3.1, 128.7, 133.6),
            "relocate-human-v1": (-0.3, 0.1, 0.2),
            "relocate-cloned-v1": (-0.3, 0.0, 1.7),
            "relocate-expert-v1": (-1.7, 106.1, 107.5),
        },
    ),
    _Table(
        *_LEADERBOARD,
        {
            "halfcheetah-medium-v2": (54.2,),
            "walker2d-medium-v2": (87.6,),
            "hopper-medium-replay-v2": (101.2,),
            "walker2d-medium-replay-v2": (90.1,),
            "antmaze-umaze-diverse-v0": (76.1,),
        },
        "the source does not name the version of the data",
    ),
)


def published(task: str) -> list[PublishedScore]:
    """The published scores on a task, by its full name (`d4rl/hopper-medium-v2`); empty where none is known.

    Some names were measured elsewhere and are no tasks of tiltflow (`d4rl/antmaze-umaze-v0`).
    """
    return [entry for entry in published_scores() if entry.task == task]


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published scores, source by source."""
    return tuple(
        PublishedScore(
            f"d4rl/{dataset}", algorithm, score, "normalized return", "points", table.protocol, table.source,
            note=table.note,
        )
        for table in _TABLES
        for dataset, scores in table.rows.items()
        for algorithm, score in zip(table.algorithms, scores, strict=True)
        if score is not None
    )  # fmt: skip

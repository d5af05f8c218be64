"""Scores that others have published, each with its protocol and its source. Standard library only.

They stand in published_scores.toml: only numbers that were read in a public source, none from memory. They
were made with other code, mostly with other versions of the environments, and sources differ in which
evaluations they count: they say roughly where an algorithm stands, not which of two close ones is better.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isnan


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


def published(task: str) -> list[PublishedScore]:
    """The published scores on a task, by its full name (`d4rl/hopper-medium-v2`); empty where none is known.

    Some names were measured elsewhere and are no tasks of tiltflow (`d4rl/antmaze-umaze-v0`).
    """
    return [entry for entry in published_scores() if entry.task == task]


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published scores, source by source."""
    text = files("tiltflow.evaluation").joinpath("published_scores.toml").read_text(encoding="utf-8")
    return tuple(
        PublishedScore(
            f"d4rl/{dataset}", algorithm, score, "normalized return", "points",
            table["protocol"], table["source"], table.get("note", ""),
        )
        for table in tomllib.loads(text)["table"]
        for dataset, scores in table["rows"].items()
        for algorithm, score in zip(table["algorithms"], scores, strict=True)
        if not isnan(score)
    )  # fmt: skip

"""What the numbers on the page and in the logs mean (glossary.toml)."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """A logged metric: its heading, the unit on its axis, and what it tells."""

    title: str
    unit: str
    meaning: str


def find_metric(stage: str, name: str) -> Metric:
    """The description of a metric logged in a stage; one that is unknown goes by its own name."""
    known = _glossary()["metrics"]
    found = known.get(f"{stage}/{name}") or known.get(name)
    return Metric(**found) if found else Metric(name.replace("_", " "), "", "No description.")


def known_terms(played: bool) -> dict[str, str]:
    """What the words of the page mean, of policies that were played or of such that were estimated."""
    return _glossary()["terms"] | ({} if played else _glossary()["estimated-terms"])


def held_out_terms() -> dict[str, str]:
    """What an estimate says of the held-out episodes, by its name in evaluations.jsonl."""
    return _glossary()["held-out"]


@cache
def _glossary() -> dict[str, Any]:
    return tomllib.loads(files("tiltflow.report").joinpath("glossary.toml").read_text(encoding="utf-8"))

"""Columns of the comparison: which runs are of one configuration, and what a configuration is called."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Any, NamedTuple

from tiltflow.agents.registry import preset
from tiltflow.report.compare.comparable import data_checksum
from tiltflow.report.record import RunContent
from tiltflow.settings import diff, flat
from tiltflow.train_config import TrainConfig, with_defaults

# What says which seeds, where the data lie and how the work was done, not what was trained; and what a cell's
# place in the table says.
BOOKKEEPING = (
    "seed", "seeds", "data", "data_on", "reuse", "play", "parallel", "keep", "checkpoint_every", "format",
    "deterministic", "agent_type", "algorithm", "task", "env",
)  # fmt: skip
NAMED_KEYS = 3
_MISSING = "–"


class Variant(NamedTuple):
    """A column: its name and, of all keys in which columns of this algorithm differ, its own values."""

    label: str
    algorithm: str
    differences: tuple[tuple[str, str], ...] = ()


def _settings(run: RunContent) -> dict[str, Any]:
    """What the run was trained with, by dotted name; hyper-parameters as `--set` spells them."""
    complete = with_defaults(run.config)  # a run of before a setting was there is one with its default
    rest = {key: value for key, value in complete.items() if key not in BOOKKEEPING}
    checksum = (data_checksum(run) or _MISSING).removeprefix("sha256:")[:8]
    return flat(rest.pop("agent", {})) | rest | {"data": checksum}


def name_variants(runs: Sequence[RunContent]) -> list[Variant]:
    """The column of each run, one algorithm after the other.

    An algorithm with one configuration on each task is one column, called by its name: tasks have presets.
    Otherwise columns are told apart by the keys that differ between its runs on one task, each with its
    value, or, where there are several tasks, "preset" where the value is that of the task's preset. Of many
    keys as few are named as tell all columns apart, followed by "…".
    """
    several = len({run.task.name for run in runs}) > 1
    found: list[Variant | None] = [None] * len(runs)
    for algorithm in dict.fromkeys(run.algorithm for run in runs):
        places = [place for place, run in enumerate(runs) if run.algorithm == algorithm]
        own = [runs[place] for place in places]
        keys = _differing(own)
        values = [_values(run, keys, several) for run in own]
        named = _telling(keys, values)
        for place, value in zip(places, values, strict=True):
            text = ", ".join(f"{key}={value[key]}" for key in named)
            text += ", …" if len(keys) > len(named) > 0 else ""
            label = f"{algorithm} ({text})" if text else algorithm
            found[place] = Variant(label, algorithm, tuple(value.items()))
    return [variant for variant in found if variant is not None]


def _differing(runs: Sequence[RunContent]) -> list[str]:
    """The keys in which runs on the same task differ, short names first."""
    keys: set[str] = set()
    for task in {run.task.name for run in runs}:
        first, *others = (_settings(run) for run in runs if run.task.name == task)
        keys.update(*(diff(first, other) for other in others))
    return sorted(keys, key=lambda key: (key.count("."), key))


def _values(run: RunContent, keys: Iterable[str], several: bool) -> dict[str, str]:
    config = _settings(run)
    usual = _preset(run) if several else {}
    return {
        key: "preset"
        if key in usual and key in config and usual[key] == config[key]
        else str(config.get(key, _MISSING))
        for key in keys
    }


def _preset(run: RunContent) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    return defaults | flat(preset(run.algorithm, run.task.name))


def _telling(keys: Sequence[str], values: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """The fewest keys that tell all different values apart; all keys where they are few anyway."""
    if len(keys) <= NAMED_KEYS:
        return tuple(keys)
    wanted = len({tuple(value.values()) for value in values})
    for size in range(1, NAMED_KEYS + 1):
        for chosen in combinations(keys, size):
            if len({tuple(value[key] for key in chosen) for value in values}) == wanted:
                return chosen
    return tuple(keys)

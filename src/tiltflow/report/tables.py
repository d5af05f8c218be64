"""The tables of a report: rows of text with one column for each run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tiltflow.report import words
from tiltflow.report.glossary import TERMS, find_metric
from tiltflow.report.record import Run


class Row(NamedTuple):
    """A line of a table. `differs`: the runs do not agree in it."""

    label: str
    values: list[str]
    differs: bool = False


class Group(NamedTuple):
    """Lines under a common heading."""

    title: str
    rows: list[Row]


def facts(runs: Sequence[Run]) -> list[Row]:
    """The result of each run in numbers."""
    results = [run.result or {} for run in runs]
    unit = words.unit(runs[0].task.unit)
    return [
        _row(f"{runs[0].task.metric}, mean", results, lambda r: words.score(r["mean"]) + unit),
        _row("95 % interval", results, lambda r: " to ".join(map(words.score, r["ci95"])) + unit),
        _row("each seed", results, lambda r: " · ".join(map(words.score, r["per_seed"]))),
        _row("std between seeds", results, lambda r: words.score(r["std"]) if r["std"] is not None else "–"),
        _row("IQM over seeds", results, lambda r: words.score(r["iqm"])),
        _row("episodes of each seed", results, lambda r: words.count(r["episodes"])),
        _row("mean return", results, lambda r: words.number(r["mean_return"])),
        _row("gradient steps", results, lambda r: words.count(r["steps"])),
        _row("training time", results, lambda r: words.duration(r["train_seconds"])),
    ]


def _row(label: str, results: list[dict[str, Any]], text: Any) -> Row:
    return Row(label, [text(result) if result else "–" for result in results])


def evaluations(run: Run) -> list[list[str]]:
    """The numbers behind the score curve: step, stage, mean, interval, each seed."""
    return [
        [
            words.count(step),
            stage,
            words.score(mean),
            f"{words.score(low)} to {words.score(high)}",
            " · ".join(map(words.score, seeds)),
        ]
        for stage, curve in run.scores.items()
        for step, mean, low, high, seeds in zip(
            curve.steps, curve.mean, curve.low, curve.high, curve.seeds, strict=True
        )
    ]


def speeds(run: Run) -> list[list[str]]:
    """Steps, wall time and speed of every stage that has begun."""
    return [
        [
            stage.name,
            words.count(stage.steps),
            words.duration(stage.seconds),
            words.number(stage.steps / stage.seconds) if stage.seconds else "–",
        ]
        for stage in run.stages
    ]


def configuration(runs: Sequence[Run]) -> list[Group]:
    """Every key of config.json, nested ones under the name of their part."""
    hidden = ("format", "agent_type")
    return _groups([{k: v for k, v in run.config.items() if k not in hidden} for run in runs], "training")


def provenance(runs: Sequence[Run]) -> list[Group]:
    """Every key of environment.json: where and on what data each run was made."""
    return _groups([run.environment for run in runs], "machine")


def _groups(trees: Sequence[dict[str, Any]], title: str) -> list[Group]:
    """Leaves of the given level first, then each nested dict as a group of its own."""
    keys = list(dict.fromkeys(key for tree in trees for key in tree))
    nested = [key for key in keys if any(isinstance(tree.get(key), dict) for tree in trees)]
    rows = [_leaf(key, [tree.get(key, "–") for tree in trees]) for key in keys if key not in nested]
    groups = [Group(title, rows)] if rows else []
    for key in nested:
        prefix = "" if title in ("training", "machine") else f"{title} › "
        groups += _groups([tree.get(key) or {} for tree in trees], f"{prefix}{key}")
    return groups


def _leaf(key: str, values: list[Any]) -> Row:
    return Row(key, [_text(value) for value in values], len({repr(value) for value in values}) > 1)


def _text(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
    return str(value)


def glossary(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Every term of the page and every metric that these runs logged, with its meaning."""
    metrics: dict[str, str] = {}
    for run in runs:
        for stage in run.stages:
            for name in stage.metrics:
                entry = f"{name} ({stage.name})" if name == "loss" else name
                metrics[entry] = find_metric(stage.name, name).meaning
    scores = ("success", "normalized return", "return")
    terms = {k: v for k, v in TERMS.items() if k not in scores or k in (runs[0].task.metric, "return")}
    return list((terms | metrics).items())

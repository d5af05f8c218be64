"""The page: one self-contained HTML file made from one run folder, or from several on the same task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape

from tiltflow import __version__
from tiltflow.errors import UserError
from tiltflow.files import write_text
from tiltflow.report import distributions, figures, tables, words
from tiltflow.report.command import train_command
from tiltflow.report.figures import Panel
from tiltflow.report.record import Run, read_run
from tiltflow.report.svg import COLOURS, LOOKS, Look
from tiltflow.report.verdict import verdict
from tiltflow.run_folder import RunFolder


class Card(NamedTuple):
    """A run at a glance: its name, its score in large type, what the score is of, and how far it got."""

    label: str
    look: Look
    score: str
    unit: str
    interval: str
    basis: str
    status: str


def write_report(run: Path) -> Path:
    """Write RUN/report.html from the run folder alone, finished or not, and return its path.

    The same folder gives the same bytes. Raises UserError where `run` is no run folder.
    """
    return _write([read_run(run)], RunFolder(run).report_file)


def write_demo_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the page that compares two to four runs on the same task to the file `out`; return its path.

    Raises UserError where one is no run folder, where tasks differ or where there are too many runs.
    """
    read = [read_run(run) for run in runs]
    if not 1 <= len(read) <= len(LOOKS):
        raise UserError(f"A page can compare up to {len(LOOKS)} runs, not {len(read)}.")
    other = next((run for run in read if run.task != read[0].task), None)
    if other:
        raise UserError(
            f"Runs on different tasks cannot be compared on one page: {read[0].name} is on "
            f"{read[0].task.name}, {other.name} on {other.task.name}."
        )
    return _write(read, out)


def _write(runs: list[Run], out: Path) -> Path:
    write_text(out, template("report.html.j2").render(_context(runs)))
    return out


def template(name: str) -> jinja2.Template:
    """A template of the folder `templates`, with the filters that they all use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tiltflow.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"safe_svg": Markup, "breakable": _breakable}
    return environment.get_template(name)


def _breakable(name: str) -> Markup:
    """A name whose line may break behind an underscore or a slash."""
    return escape(name).replace("_", Markup("_<wbr>")).replace("/", Markup("/<wbr>"))


def _context(runs: list[Run]) -> dict[str, Any]:
    labels = figures.labels(runs)
    return {
        "version": __version__,
        "colours": COLOURS,
        "task": runs[0].task,
        "title": f"{' against '.join(labels)} on {runs[0].task.dataset}",
        "labels": labels,
        "several": len(runs) > 1,
        "cards": [_card(run, label, look) for run, label, look in zip(runs, labels, LOOKS, strict=False)],
        "verdict": _verdict(runs, labels),
        "different_data": not _same_data(runs),
        "fewest_seeds": min(run.config["seeds"] for run in runs),
        "score_curve": figures.score_curve(runs),
        "score_bars": figures.score_bars(runs),
        "facts": tables.facts(runs),
        "evaluations": _per_run(tables.evaluations, runs, labels),
        "curves": _curves(runs),
        "weights": _weights(runs),
        "refreshed": any(run.refreshes for run in runs),
        "episodes": _episodes(runs),
        "actions": distributions.action_panels(runs),
        "action_counts": [run.actions.data.shape for run in runs if run.actions],
        "speeds": _per_run(tables.speeds, runs, labels),
        "configuration": tables.configuration(runs),
        "provenance": tables.provenance(runs),
        "glossary": tables.glossary(runs),
        "commands": [train_command(run.config) for run in runs],
        "data": [run.environment.get("data", {}) for run in runs],
    }


def _per_run(table: Any, runs: list[Run], labels: list[str]) -> list[tuple[str, list[list[str]]]]:
    return [(label, rows) for label, run in zip(labels, runs, strict=True) if (rows := table(run))]


def _card(run: Run, label: str, look: Look) -> Card:
    status = "" if run.finished else f"not finished: step {words.count(run.last_step)}"
    if not run.finished and run.last_step < run.config["steps"]:
        status += f" of {words.count(run.config['steps'])}"
    if run.result is None:
        return Card(label, look, "–", "", "", "not evaluated yet", status)
    result = run.result
    low, high = (words.score(value) for value in result["ci95"])
    evaluations = len(result["evaluated_steps"])
    basis = (
        f"{result['metric']}, mean of {words.plural(result['seeds'], 'seed')} with "
        f"{words.plural(result['episodes'], 'episode')}{' each' if result['seeds'] > 1 else ''}, "
        f"from the last {words.plural(evaluations, 'evaluation') if evaluations > 1 else 'evaluation'} "
        f"of the {list(run.scores)[-1]} stage"
    )
    unit = words.unit(result["unit"])
    return Card(label, look, words.score(result["mean"]), unit, f"{low} to {high}{unit}", basis, status)


def _verdict(runs: list[Run], labels: list[str]) -> str:
    """Which run scores highest, and whether its interval is clear of the others'."""
    results = {label: run.result for run, label in zip(runs, labels, strict=True) if run.result}
    equal = all(run.finished for run in runs) and _same_data(runs)
    task = runs[0].task
    return verdict(
        task.metric,
        words.unit(task.unit),
        {label: result["mean"] for label, result in results.items()},
        {label: tuple(result["ci95"]) if result["seeds"] > 1 else None for label, result in results.items()},
        min((result["seeds"] for result in results.values()), default=0),
        on_equal_terms=equal,
    )


def _same_data(runs: list[Run]) -> bool:
    return len({run.environment.get("data", {}).get("checksum") for run in runs}) == 1


def _logged(runs: list[Run]) -> list[tuple[str, str]]:
    """Every (stage, metric) that a run logged, in the order of training."""
    stages = dict.fromkeys(stage.name for run in runs for stage in run.stages)
    return [
        (name, metric)
        for name in stages
        for metric in dict.fromkeys(
            m for run in runs for s in run.stages if s.name == name for m in s.metrics
        )
    ]


def _curves(runs: list[Run]) -> list[Panel]:
    """All metrics but the weights', which have a section of their own, and refreshes, which are marks."""
    shown = [pair for pair in _logged(runs) if pair[1] not in ("ess", "refreshes")]
    return [figures.metric_curve(runs, stage, metric) for stage, metric in shown]


def _weights(runs: list[Run]) -> list[Panel]:
    return [figures.metric_curve(runs, stage, metric) for stage, metric in _logged(runs) if metric == "ess"]


def _episodes(runs: list[Run]) -> list[Panel]:
    def returns(run: Run) -> Any:
        return np.concatenate([episodes.returns for episodes in run.last_episodes])

    def lengths(run: Run) -> Any:
        return np.concatenate([episodes.lengths for episodes in run.last_episodes])

    return [
        distributions.episode_histogram(runs, index, name, values)
        for name, values in (("return (sum of rewards)", returns), ("length (environment steps)", lengths))
        for index, run in enumerate(runs)
        if run.last_episodes
    ]

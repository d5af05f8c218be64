"""The page of a run: one self-contained HTML file."""

from pathlib import Path
from typing import Any

import numpy as np

from tiltflow import words
from tiltflow.files import write_text
from tiltflow.report import curves, distributions, run_tables
from tiltflow.report.behaviour import film_strip, seed_panels
from tiltflow.report.command import train_command
from tiltflow.report.curves import Chart
from tiltflow.report.html import render_page
from tiltflow.report.record import RunContent
from tiltflow.report.run_reader import read_run


def write_report(run: Path) -> Path:
    """Write RUN/report.html from the run folder alone, finished or not, and return its path.

    The same folder gives the same bytes. Raises UserError where `run` is no run folder.
    """
    page = run / "report.html"
    write_text(page, render_page("report.html.j2", **_context(read_run(run))))
    return page


def _context(run: RunContent) -> dict[str, Any]:
    # Effective sample sizes have a section of their own, and refreshes are marks in the curves.
    logged = [
        (stage.name, metric) for stage in run.stages for metric in stage.metrics if metric != "refreshes"
    ]
    return {
        "run": run,
        "task": run.task,
        "score_curve": curves.score_curve(run),
        "score_bar": curves.score_bar(run),
        "facts": run_tables.facts(run),
        "held_out": run_tables.held_out(run),
        "other_values": not run.task.played
        and run.evaluations
        and {"critic_value", "importance_value"} & run.evaluations[-1]["held_out"].keys(),
        "evaluations": run_tables.evaluations(run),
        "betas": list(map(words.number, run.scored_betas)),
        "curves": [curves.metric_curve(run, *place) for place in logged if place[1] != "ess"],
        "weights": [curves.metric_curve(run, *place) for place in logged if place[1] == "ess"],
        "episodes": _episodes(run),
        "paths": seed_panels(run.paths) if run.paths else [],
        "strip": film_strip(run.film, "Frames of an episode", run.task) if run.film else None,
        "actions": distributions.action_histograms(
            run.actions, distributions.action_entries(run, run.actions.data.shape[1])
        )
        if run.actions
        else [],
        "configuration": run_tables.configuration(run),
        "provenance": run_tables.provenance(run),
        "glossary": run_tables.glossary(run),
        "command": train_command(run.config),
    }


def _episodes(run: RunContent) -> list[Chart]:
    if not run.last_episodes:
        return []
    returns, lengths, successes = (
        np.concatenate([getattr(episodes, name) for episodes in run.last_episodes])
        for name in ("returns", "lengths", "successes")
    )
    return [
        distributions.episode_histogram("return (sum of rewards)", returns, successes),
        distributions.episode_histogram("length (environment steps)", lengths, successes),
    ]

"""The page of a sweep: one self-contained HTML file, from the content of tune.json alone."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tiltflow import words
from tiltflow.files import write_text
from tiltflow.report.command import train_command
from tiltflow.report.curves import NARROW, PANEL, WIDE, Chart, steps_axis
from tiltflow.report.html import render_page
from tiltflow.report.svg import INK, LOOKS, MUTED, draw_svg

_PAGE = "tune.html"
_FINISHED, _STOPPED = LOOKS[0], LOOKS[1]
CRITERIA = {
    "estimate": "estimated return (not played)",
    "loss": "matching loss on held-out episodes",
    "return": "return or success, played",
}
_Trials = list[dict[str, Any]]


def write_tune_page(record: dict[str, Any], order: list[int], out: Path) -> Path:
    """Write OUT/tune.html of a sweep's record, its trials in this order, the best first; return its path.

    The same record gives the same bytes.
    """
    by_number = {trial["number"]: trial for trial in record["trials"]}
    trials = [by_number[number] for number in order]
    write_text(out / _PAGE, render_page("tune.html.j2", **_context(record, trials)))
    return out / _PAGE


def _context(record: dict[str, Any], trials: _Trials) -> dict[str, Any]:
    config, criterion = record["config"], CRITERIA[record["objective"]]
    keys = list(record["space"])
    return {
        "names": [f"{config['algorithm']}: a sweep"],
        "place": config["task"],
        "record": record,
        "criterion": criterion,
        "best": trials[0],
        "keys": keys,
        "rows": [_row(trial, keys) for trial in trials],
        "counts": {
            state: sum(t["state"] == state for t in trials) for state in ("finished", "pruned", "failed")
        },
        "curves": _curves(record, trials, criterion),
        "panels": [_panel(record, trials, key, place, criterion) for place, key in enumerate(keys)],
        "axes": [(key, axis_text(axis)) for key, axis in record["space"].items()],
        "command": train_command(config),
    }


def axis_text(axis: dict[str, Any]) -> str:
    """Choices or a range, in words."""
    if "values" in axis:
        return f"one of {', '.join(map(str, axis['values']))}"
    kind = ("log-uniform" if axis["log"] else "uniform") + (", whole numbers" if axis["whole"] else "")
    return f"{words.setting_text(axis['low'])} to {words.setting_text(axis['high'])}, {kind}"


def _row(trial: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    state = {"pruned": "stopped early", "running": "not finished"}.get(trial["state"], trial["state"])
    return {
        "number": trial["number"],
        "settings": [words.setting_text(trial["settings"][key]) for key in keys],
        "criterion": "" if trial["criterion"] is None else f"{trial['criterion']:.4g}".replace("-", "−"),
        "step": words.count(trial["steps"][-1]) if trial["steps"] else "",
        "state": state,
        "reason": trial["reason"] or "",
    }


def _curves(record: dict[str, Any], trials: _Trials, criterion: str) -> Chart | None:
    shown = [trial for trial in trials if any(value is not None for value in trial["values"])]
    if not shown:
        return None

    def paint(axes: Axes) -> None:
        for trial in reversed(shown):  # the best is drawn last, on top
            pairs = [(s, v) for s, v in zip(trial["steps"], trial["values"], strict=True) if v is not None]
            steps, values = zip(*pairs, strict=True)
            best, stopped = trial is trials[0], trial["state"] != "finished"
            colour = INK.light if best else MUTED.light
            axes.plot(
                steps, values, color=colour, linewidth=2.4 if best else 0.9, linestyle="-" if best else "--"
            )
            axes.plot(
                steps[-1], values[-1], "*" if best else "x" if stopped else "o", color=colour,
                markersize=12 if best else 6, clip_on=False,
            )  # fmt: skip
        steps_axis(axes, 0, max(step for trial in shown for step in trial["steps"]))
        axes.set_ylabel(criterion)

    told = (
        f"Line chart of the {criterion} over gradient steps, a line for each of {len(shown)} configurations."
    )
    best = trials[0]["number"]
    note = f"Solid, star: trial {best}, the best. Dashed: others. Dot: finished. Cross: stopped early."
    return Chart(
        "Criterion over training",
        draw_svg("tune", NARROW, paint),
        told,
        note,
        wide=draw_svg("tune-wide", WIDE, paint),
    )


def _panel(record: dict[str, Any], trials: _Trials, key: str, place: int, criterion: str) -> Chart:
    axis = record["space"][key]
    choices = [str(value) for value in axis["values"]] if "values" in axis else []
    shown = [trial for trial in trials if trial["criterion"] is not None]

    def paint(axes: Axes) -> None:
        for trial in reversed(shown):
            value = trial["settings"][key]
            where = choices.index(str(value)) if choices else value
            look = _FINISHED if trial["state"] == "finished" else _STOPPED
            best = trial is trials[0]
            axes.plot(
                where, trial["criterion"], "*" if best else look.marker, clip_on=False,
                color=INK.light if best else look.colour.light, markersize=13 if best else 6,
                markerfacecolor=None if best or look is _FINISHED else "none",
            )  # fmt: skip
        if choices:
            axes.set_xticks(range(len(choices)), choices)
            axes.set_xlim(-0.5, len(choices) - 0.5)
        elif axis["log"]:
            axes.set_xscale("log")
            few = axis["high"] / axis["low"] < 30
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=axis["whole"]))
        axes.set_xlabel(key)
        axes.set_ylabel(criterion)

    told = f"Scatter chart of the {criterion} against {key}, {len(shown)} configurations."
    return Chart(key, draw_svg(f"tune-{place}", (PANEL[0], 230), paint), told)

"""The tables of a run's page: rows of text."""

from typing import Any

from tiltflow import words
from tiltflow.report.distributions import action_entries
from tiltflow.report.glossary import find_metric, held_out_terms, known_terms
from tiltflow.report.record import RunContent
from tiltflow.settings import flat
from tiltflow.tasks import CLONED, ESTIMATED


def facts(run: RunContent) -> dict[str, str]:
    """The result in numbers."""
    if (result := run.result) is None:
        return {}
    unit = result["unit"]
    return {
        f"{result['metric']}, mean": words.score_text(result["mean"], unit),
        "95 % interval": words.interval_text(result["ci95"], unit),
        **(
            {"seeds": "1"}
            if result["std"] is None
            else {
                "each seed": " · ".join(map(words.score_text, result["per_seed"])),
                "std between seeds": words.score_text(result["std"]),
                "IQM over seeds": words.score_text(result["iqm"]),
            }
        ),
        **(
            {
                "episodes of each seed": words.count(result["episodes"]),
                "mean return": words.number(result["mean_return"]),
            }
            if run.task.played
            else {
                "recorded episodes": words.count(result["episodes"]),
                **_of_the_data(result),
                "discount": words.number(run.config["estimate"]["discount"]),
            }
        ),
        "gradient steps": words.count(result["steps"]),
        "training time": words.duration(result["train_seconds"]),
        **({"where time went": words.spent_text(run.spent)} if run.spent else {}),
    }


def _of_the_data(result: dict[str, Any]) -> dict[str, str]:
    if "recorded" not in result:
        return {}
    value, *bounds = result["recorded"]
    return {"their own return": f"{words.score_text(value)} ({words.interval_text(bounds)})"}


def held_out(run: RunContent) -> list[list[str]]:
    """What the last evaluation of a run without a simulator says of the held-out episodes: a row each."""
    if run.task.played or not run.evaluations:
        return []
    record = dict(run.evaluations[-1]["held_out"])
    effective = record.pop("importance_episodes", None)
    rows = []
    for name, meaning in held_out_terms().items():
        if name not in record:
            continue
        if name in ("wasserstein", "energy_distance"):
            entries = list(zip(*record[name], strict=True))
            rows += [
                [f"{meaning}, {entry.name or f'entry {number}'}", *map(words.number, seeds)]
                for number, (seeds, entry) in enumerate(
                    zip(entries, action_entries(run, len(entries)), strict=True)
                )
            ]
        elif name == "matching_loss":
            rows.append([meaning, *map(words.number, record[name])])
        else:
            rows.append(
                [meaning, *(f"{words.number(v)} ({words.interval_text(b)})" for v, *b in record[name])]
            )
    if effective is not None:
        rows.append(["effective episodes behind it", *map(words.number, effective)])
    return rows


def evaluations(run: RunContent) -> list[list[str]]:
    """The numbers behind the score curve: step, stage, β where one is logged, mean, interval, each seed."""
    betas = {step: run.beta_at(int(step)) for curve in run.scores.values() for step in curve.steps}
    logged = any(beta is not None for beta in betas.values())
    return [
        [
            words.count(step),
            stage,
            *(["–" if (beta := betas[step]) is None else words.number(beta)] if logged else []),
            words.score_text(mean),
            words.interval_text((low, high)),
            " · ".join(map(words.score_text, seeds)),
        ]
        for stage, curve in run.scores.items()
        for step, mean, low, high, seeds in zip(
            curve.steps, curve.mean, curve.low, curve.high, curve.seeds, strict=True
        )
    ]


def configuration(run: RunContent) -> dict[str, dict[str, str]]:
    """Every key of config.json, in groups."""
    hidden = ("format", "agent_type")
    return groups({key: value for key, value in run.config.items() if key not in hidden}, "training")


def provenance(run: RunContent) -> dict[str, dict[str, str]]:
    """Every key of environment.json, in groups; columns with the names of their entries, or their number."""
    record = run.environment
    if run.interface:
        names = {
            key: [
                f"{name} ({', '.join(entries)})" if entries else f"{name} [{size}]" if size > 1 else name
                for name, size, entries in getattr(run.interface, key)
            ]
            for key in ("observations", "actions")
        }
        data = record["data"]
        record = {**record, "data": {**data, "interface": {**data["interface"], **names}}}
    return groups(record, "machine")


def groups(record: dict[str, Any], title: str) -> dict[str, dict[str, str]]:
    """Every key of a record under the name of its part; those of the record itself under `title`."""
    found: dict[str, dict[str, str]] = {}
    for key, value in flat(record).items():
        *part, name = key.split(".")
        found.setdefault(" › ".join(part) or title, {})[name] = _text(value)
    return found


def _text(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "–"
    return str(value)


def glossary(run: RunContent) -> dict[str, str]:
    """Every term of the page and every metric that the run logged, with its meaning."""
    others = {"success", "normalized return", "return", ESTIMATED, CLONED} - {run.task.metric, "return"}
    terms = known_terms(played=run.task.played)
    return {term: meaning for term, meaning in terms.items() if term not in others} | {
        f"{name} ({stage.name})" if name == "loss" else name: find_metric(stage.name, name).meaning
        for stage in run.stages
        for name in stage.metrics
    }

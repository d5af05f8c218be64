"""Who leads, in a sentence that claims no more than the intervals and the number of seeds bear."""

from collections.abc import Sequence
from itertools import chain

from tiltflow import words
from tiltflow.report.compare.across_tasks import ENOUGH_SEEDS, AcrossTasks, ScoreEstimate
from tiltflow.report.compare.comparison import Comparison


def leader(comparison: Comparison, across: AcrossTasks) -> str | None:
    """The column with the highest IQM; without aggregates the highest mean on the one task there is."""
    found = _standing(comparison, across)
    return max(found, key=lambda label: found[label].value) if len(found) > 1 else None


def lead_sentence(comparison: Comparison, across: AcrossTasks) -> str:
    """Who leads, by what, and whether its interval is clear of the others'; empty where none can lead."""
    found = _standing(comparison, across)
    if len(found) < 2:
        return ""
    task = comparison.tasks[0]
    what, unit = task.metric, task.unit
    if across.aggregates:
        what, unit = f"IQM of {words.plural(len(across.tasks), 'task')}", ""
    equal = all(comparison.on_equal_terms(task) for task in across.tasks or comparison.tasks)
    caveat = "" if equal else " The runs are not on equal terms: see the marks in the table."
    top = max(estimate.value for estimate in found.values())
    best = [label for label, estimate in found.items() if estimate.value == top]
    others = [label for label in found if label not in best]
    score = words.score_text(top, unit)
    if not others:
        return f"All have the same {what}: {score}.{caveat}"
    if len(best) > 1:
        return f"{_some(best)} share the highest {what}: {score}.{caveat}"
    own = found[best[0]].interval
    near = [label for label in others if own and _reaches(found[label], own[0])]
    if own is None:
        text = "It has one seed: its interval does not speak of others, which may turn the order round."
    elif single := [label for label in others if found[label].interval is None]:
        has = "has" if len(single) == 1 else "have"
        text = f"{_some(single)} {has} one seed: another may turn the order round."
    elif near:
        text = f"Its 95 % interval is not clear of {_some(near)}."
    elif (fewest := _fewest_seeds(comparison, across)) < ENOUGH_SEEDS:
        text = (
            f"With {words.plural(fewest, 'seed')} intervals are far too narrow to say that this is no chance."
        )
    else:
        text = f"Its 95 % interval lies above {_some(others)}."
    return f"{best[0]} has the highest {what}: {score}. {text}{caveat}"


def _standing(comparison: Comparison, across: AcrossTasks) -> dict[str, ScoreEstimate]:
    """What the lead is decided by: the IQM over tasks, or the mean on the one task there is."""
    if across.aggregates:
        return across.aggregates[0].estimates
    if len(comparison.tasks) > 1:
        return {}
    return {
        column.label: ScoreEstimate(cell.result["mean"], cell.interval if cell.result["seeds"] > 1 else None)
        for column, cell in comparison.row(comparison.tasks[0])
    }


def _fewest_seeds(comparison: Comparison, across: AcrossTasks) -> int:
    """Of the scores that the lead is decided by."""
    if across.aggregates:
        return min(chain.from_iterable(across.seeds.values()))
    return comparison.fewest_seeds


def _reaches(estimate: ScoreEstimate, low: float) -> bool:
    return estimate.interval is None or estimate.interval[1] >= low


def _some(names: Sequence[str]) -> str:
    return words.listing(names) if len(names) <= 4 else f"those of {len(names)} others"

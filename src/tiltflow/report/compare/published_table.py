"""Published scores as a table beside ours."""

from typing import NamedTuple

from tiltflow.evaluation.published_scores import PublishedScore, published
from tiltflow.report.compare.comparison import Comparison
from tiltflow.words import score_text


class PublishedTable(NamedTuple):
    """Columns are (number of the source, algorithm); rows go by task; notes have the letters of the cells."""

    columns: list[tuple[int, str]]
    rows: dict[str, list[str]]
    sources: list[tuple[str, str]]
    notes: dict[str, str]


def published_table(comparison: Comparison) -> PublishedTable | None:
    """The published scores on these tasks, with sources and their protocols; None where there are none.

    Beside scores of another metric, such as estimates of runs that were not played, there are none.
    """
    entries = [
        entry
        for task in comparison.tasks
        for entry in published(task.name)
        if (entry.metric, entry.unit) == (task.metric, task.unit)
    ]
    if not entries:
        return None
    sources = list(dict.fromkeys((entry.source, entry.protocol) for entry in entries))
    noted = dict.fromkeys(entry.note for entry in entries if entry.note)
    letters = dict(zip(noted, "abcdefgh", strict=False))

    def column(entry: PublishedScore) -> tuple[int, str]:
        return sources.index((entry.source, entry.protocol)) + 1, entry.algorithm

    columns = sorted({column(entry) for entry in entries})
    texts = {
        (entry.task, column(entry)): score_text(entry.score)
        + (f" ({letters[entry.note]})" if entry.note else "")
        for entry in entries
    }
    rows = {entry.task: [texts.get((entry.task, place), "–") for place in columns] for entry in entries}
    return PublishedTable(columns, rows, sources, {letter: note for note, letter in letters.items()})

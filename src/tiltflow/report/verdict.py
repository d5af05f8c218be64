"""Who leads, in a sentence that claims no more than the intervals and the number of seeds bear."""

from collections.abc import Mapping

from tiltflow.report import words

ENOUGH_SEEDS = 3
"""Seeds below which no interval is said to be clear of another: of two seeds it misses the mean too often."""

Interval = tuple[float, float] | None


def verdict(
    what: str,
    unit: str,
    means: Mapping[str, float],
    intervals: Mapping[str, Interval],
    fewest_seeds: int,
    *,
    on_equal_terms: bool,
) -> str:
    """Who has the highest mean, by name, and whether its interval is clear of the others'.

    An interval is None where one seed is behind it, which says nothing of another training. `unit` has its
    space before it.
    """
    if len(means) < 2:
        return ""
    top = max(means.values())
    best = [name for name, mean in means.items() if mean == top]
    value = f"{words.score(top)}{unit}"
    caveat = "" if on_equal_terms else " The runs are not on equal terms."
    if len(best) == len(means):
        return f"All have the same {what}: {value}.{caveat}"
    if len(best) > 1:
        return f"{_some(best)} share the highest {what}: {value}.{caveat}"
    text = f"{best[0]} has the highest {what}: {value}. "
    own = intervals[best[0]]
    if own is None:
        return text + f"With one seed there is no interval: another seed may turn the order round.{caveat}"
    others = [name for name in means if name != best[0]]
    near = [name for name in others if (other := intervals[name]) is None or other[1] >= own[0]]
    if near:
        return text + f"Its 95 % interval is not clear of {_some(near)}.{caveat}"
    doubt = ""
    if fewest_seeds < ENOUGH_SEEDS:
        doubt = f", but with {words.plural(fewest_seeds, 'seed')} intervals are far too narrow to tell"
    return text + f"Its 95 % interval lies above {_some(others)}{doubt}.{caveat}"


def _some(names: list[str]) -> str:
    return words.listing(names) if len(names) <= 4 else f"those of {len(names)} others"

"""Numbers in words, alike on pages, in tables and on the terminal. Standard library only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def no_estimate(share: float) -> str:
    """What is said in the place of an estimate of which that share of the resamples is beyond all bounds."""
    return (
        f"no estimate: in {100 * share:.0f} % of the resamples Q goes beyond all that rewards can add up to. "
        "The data do not say what the policy's actions lead to: it leaves them (train longer, or nearer to "
        "the data), or the episodes are too few."
    )


def recorded_text(recorded: Sequence[float]) -> str:
    """What stands beside an estimate: the return of the recorded episodes, and its interval."""
    value, *bounds = recorded
    return f"the recorded episodes themselves: {score_text(value)} (95 % interval {interval_text(bounds)})"


def count(value: float) -> str:
    """A whole number with commas between thousands: 200,000."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Three significant digits or more, in exponent form only below a thousandth."""
    if not math.isfinite(value):
        return str(value)
    value = value + 0  # of −0.0 makes 0.0
    size = abs(value)
    if size >= 100 or value == 0:
        return _minus(count(value))
    return _minus(f"{value:.3g}" if size >= 1e-3 else f"{value:.1e}")


def setting_text(value: Any) -> str:
    """The value of a setting, numbers with six digits: `0.9995` is not 1."""
    return _minus(f"{value:g}") if isinstance(value, float) else str(value)


def score_text(value: float, unit: str = "") -> str:
    """A score with one decimal and its unit, `52.0 %`; two digits of what is smaller than one: `0.85`."""
    value = value + 0
    small = 0 < abs(value) < 0.995
    return (_minus(f"{value:#.2g}") if small else _minus(f"{value:.1f}")) + unit_text(unit)


def interval_text(bounds: Iterable[float], unit: str = "", between: str = " to ") -> str:
    """An interval with its unit: `40.1 to 60.2 %`."""
    return between.join(map(score_text, bounds)) + unit_text(unit)


def unit_text(unit: str) -> str:
    """The unit behind a number, with its space; a plain return has none."""
    return f" {unit}" if unit not in ("", "return") else ""


def metric_text(metric: str, unit: str) -> str:
    """A metric with its unit: `success (%)`; a plain return has none."""
    return metric if unit in (metric, "return") else f"{metric} ({unit})"


def short_steps(steps: float) -> str:
    """`150k`, `1.5M`; in full where that would round."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if steps >= size and steps % (size / 1000) == 0:
            return f"{steps / size:.12g}{letter}"
    return f"{steps:.12g}"


def duration(seconds: float) -> str:
    """Seconds as the two largest units: `4 min 12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{rest} s"


def spent_text(seconds: Mapping[str, float]) -> str:
    """Where time went, as `load 1.2 s, compile 6.1 s`: what took a tenth of a second."""
    return ", ".join(f"{what} {duration(value)}" for what, value in seconds.items() if value >= 0.1)


def plural(value: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count(value)} {word}{'' if value == 1 else 's'}"


def listing(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def seed_names(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 0–7`, `seeds 0, 4`."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _minus(text: str) -> str:
    return text.replace("-", "−")

"""Numbers in words: scores, durations, counts, as they stand on the page."""

import math


def count(value: float) -> str:
    """A whole number with narrow spaces, at which no line breaks, between thousands: 200 000."""
    return f"{value:,.0f}".replace(",", "\u202f")


def number(value: float) -> str:
    """Three significant digits or more, never in exponent form where it can be avoided."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return minus(count(value))
    if size >= 100 or value == 0:
        return minus(f"{value:.0f}")
    if size >= 1e-3:
        return minus(f"{value:.3g}")
    return minus(f"{value:.1e}")


def score(value: float) -> str:
    """One decimal up to a thousand: percent, points and returns alike."""
    return minus(count(value) if abs(value) >= 1000 else f"{value:.1f}")


def minus(text: str) -> str:
    """Replace the hyphen by a minus sign."""
    return text.replace("-", "−")


def unit(name: str) -> str:
    """The unit behind a number, with its space; a raw return has none."""
    return "" if name == "return" else f"\u202f{name}" if name == "%" else f" {name}"


def duration(seconds: float) -> str:
    """Seconds as the two largest units: 4 min 12 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def plural(value: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count(value)} {word}{'' if value == 1 else 's'}"


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""

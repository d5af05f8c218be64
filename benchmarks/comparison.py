"""Two records of `python -m benchmarks`: what has become slower beyond noise."""

from typing import Any

SMALLEST = 0.08
"""Differences below this are not established, whatever the repeats say."""


def regressions(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A sentence for each line that is worse than before by more than both lines' spreads and 8 %.

    Where both have a share of the limit, or a ratio to a reference, which were measured beside them, those
    are compared, and otherwise the values: the machine itself may be slower today.
    """
    old = {line["name"]: line for line in before["lines"]}
    found = []
    for line in now["lines"]:
        earlier = old.get(line["name"])
        if earlier is None:
            continue
        what = next((key for key in ("share", "ratio") if key in line and key in earlier), "value")
        better = what != "value" or line["unit"].endswith("/s")
        change = line[what] / earlier[what] if better else earlier[what] / line[what]
        noise = max(SMALLEST, _spread(line) + _spread(earlier))
        if change < 1 - noise:
            found.append(
                f"{line['name']}: {what} {line[what]:.3g}, was {earlier[what]:.3g} "
                f"({1 - change:.0%} worse, noise {noise:.0%})"
            )
    return found


def _spread(line: dict[str, Any]) -> float:
    return abs(line["high"] - line["low"]) / max(abs(line["value"]), 1e-12) / 2

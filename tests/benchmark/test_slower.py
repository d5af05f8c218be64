"""What `python -m benchmarks --compare` calls slower."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))
from benchmarks.comparison import regressions


def record(value, unit="steps/s", spread=0.02, **more):
    half = value * spread / 2
    line = {"name": "a step", "value": value, "unit": unit, "low": value - half, "high": value + half, **more}
    return {"lines": [line]}


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (record(100.0), record(80.0), True),
        (record(100.0), record(95.0), False),  # less than is established
        (record(100.0), record(130.0), False),
        (record(100.0, spread=0.5), record(80.0), False),  # within the noise of before
        (record(1.0, "s"), record(1.3, "s"), True),
        (record(1.3, "s"), record(1.0, "s"), False),
        (record(100.0, share=0.8), record(50.0, share=0.79), False),  # the machine is slower, not the program
        (record(100.0, share=0.8), record(100.0, share=0.6), True),
        (record(100.0, ratio=2.0), record(100.0, ratio=1.0), True),
    ],
)
def test_a_line_is_slower_when_it_is_worse_beyond_noise_beside_its_own_limit(before, now, found):
    assert bool(regressions(before, now)) is found


def test_a_new_line_has_nothing_to_be_slower_than():
    assert regressions({"lines": []}, record(1.0)) == []

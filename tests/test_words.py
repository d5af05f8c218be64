import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltflow import words

# A busy machine says nothing about the law.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.floats(-1e9, 1e9))
def test_a_number_reads_back_to_three_digits(value):
    text = words.number(value).replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(value, rel=5.1e-2 if abs(value) < 1e-3 else 5.1e-3)


@unhurried
@given(st.integers(0, 10**12))
def test_a_count_keeps_every_digit(value):
    assert int(words.count(value).replace(",", "")) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (12.3, "12 s"),
        (59.94, "1 min 0 s"),
        (60, "1 min 0 s"),
        (252.4, "4 min 12 s"),
        (7_505, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listings(items, text):
    assert words.listing(items) == text


@pytest.mark.parametrize(
    ("seeds", "text"),
    [([3], "seed 3"), ([0, 1], "seeds 0, 1"), ([0, 1, 2], "seeds 0–2"), ([0, 4], "seeds 0, 4")],
)
def test_names_of_seeds(seeds, text):
    assert words.seed_names(seeds) == text


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (150_000, "150k"),
        (1_500_000, "1.5M"),
        (1_234_567, "1234.567k"),
        (10_234_567, "10234.567k"),
        (12, "12"),
    ],
)
def test_short_steps_are_never_rounded(steps, text):
    assert words.short_steps(steps) == text


def test_a_setting_is_not_rounded_to_another_one_and_zero_has_no_sign():
    assert [words.setting_text(value) for value in (0.9995, 3e-5, 4, None, "min")] == [
        "0.9995", "3e−05", "4", "None", "min",
    ]  # fmt: skip
    assert (words.number(-0.0), words.score_text(-0.0, "%")) == ("0", "0.0 %")


def test_scores_have_one_decimal_a_real_minus_and_their_unit():
    assert words.score_text(-3.14159) == "−3.1"
    assert words.score_text(100.0, "%") == "100.0 %"
    assert words.score_text(0.0) == "0.0"
    assert words.score_text(-0.852) == "−0.85"
    assert words.interval_text([0.962, 1.04]) == "0.96 to 1.0"
    assert words.interval_text([0.0312, 0.21]) == "0.031 to 0.21"
    assert words.interval_text((-1.04, 2345.6), "points") == "−1.0 to 2345.6 points"


def test_a_plain_return_has_no_unit():
    assert words.score_text(-2345.6, "return") == "−2345.6"
    assert words.metric_text("return", "return") == "return"
    assert words.metric_text("success", "%") == "success (%)"

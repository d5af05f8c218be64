import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from tiltflow.evaluation import statistics
from tiltflow.evaluation.statistics import (
    bootstrap_interval,
    episodes_of_seeds,
    iqm,
    last_evaluations,
    result_record,
    undetermined_share,
)
from tiltflow.tasks import find_task

# A busy machine says nothing about the law.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
scores = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40)


def evaluation(step, returns, stage="improvement"):
    """A line of evaluations.jsonl; an episode succeeds where its return is positive."""
    return {
        "step": step,
        "stage": stage,
        "returns": returns,
        "successes": [[value > 0 for value in row] for row in returns],
        "lengths": [[7] * len(row) for row in returns],
    }


@unhurried
@given(scores, st.randoms(use_true_random=False))
def test_iqm_depends_on_the_set_of_values_alone(values, random):
    shuffled = random.sample(values, len(values))
    assert iqm(shuffled) == pytest.approx(iqm(values), abs=1e-9)


@unhurried
@given(scores, st.floats(0.01, 50), st.floats(-100, 100))
def test_iqm_moves_with_scale_and_shift(values, scale, shift):
    moved = [scale * value + shift for value in values]
    assert iqm(moved) == pytest.approx(scale * iqm(values) + shift, rel=1e-6, abs=1e-6)


@unhurried
@given(scores)
def test_iqm_is_scipys_trimmed_mean_and_within_the_quartiles_of_the_data(values):
    assert iqm(values) == stats.trim_mean(values, 0.25)
    assert min(values) - 1e-6 <= iqm(values) <= max(values) + 1e-6


def test_iqm_ignores_the_outer_quarters():
    assert iqm([1, 2, 3, 4]) == 2.5
    assert iqm([-1e9, 2, 3, 1e9]) == 2.5
    assert iqm([1, 2, 9]) == 4.0  # too few to cut any


def test_interval_covers_the_mean_of_the_seeds_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    trials = 400
    for trial in range(trials):
        seeds = rng.normal(50.0, 10.0, size=12)
        episodes = [rng.normal(mean, 20.0, size=(1, 30)) for mean in seeds]
        low, high = bootstrap_interval(episodes, resamples=500, seed=trial)
        covered += low <= 50.0 <= high
    assert 0.90 <= covered / trials <= 0.99


@pytest.mark.parametrize(("seeds", "stated"), [(2, 0.81), (3, 0.87), (5, 0.91), (10, 0.94)])
def test_coverage_with_few_seeds_is_what_the_documentation_states(seeds, stated):
    rng = np.random.default_rng(5)
    trials = 300
    covered = 0
    for trial in range(trials):
        rates = rng.normal(0.5, 0.1, size=(seeds, 1)) + rng.normal(0.0, 0.05, size=(seeds, 3))
        episodes = 100.0 * (rng.random((seeds, 3, 50)) < rates[..., None])
        low, high = bootstrap_interval(list(episodes), resamples=150, seed=trial)
        covered += low <= 50.0 <= high
    assert covered / trials == pytest.approx(stated, abs=0.06)


def test_interval_of_one_seed_covers_the_success_rate_of_its_policy():
    rng = np.random.default_rng(2)
    trials = 400
    intervals = [
        bootstrap_interval([100.0 * (rng.random((1, 150)) < 0.4)], resamples=500, seed=trial)
        for trial in range(trials)
    ]
    covered = sum(low <= 40.0 <= high for low, high in intervals)
    assert 0.91 <= covered / trials <= 0.985


def test_interval_knows_that_policies_move_between_evaluations():
    """The deviation of three evaluations, 12 points apart, is far above that of 150 episodes (4 points)."""
    rng = np.random.default_rng(6)
    values = 100.0 * (rng.random((3, 50)) < np.array([[0.4], [0.6], [0.8]]))
    low, high = bootstrap_interval([values])
    pooled_low, pooled_high = bootstrap_interval([values.reshape(1, -1)])
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=2.0)
    within = np.mean(values.var(axis=1)) / 150
    error = np.sqrt(np.var(values.mean(axis=1)) / 3 + within)
    assert high - low == pytest.approx(2 * stats.norm.ppf(0.975) * error, rel=0.1)
    assert high - low > 1.4 * (pooled_high - pooled_low)


def test_width_agrees_with_the_normal_law():
    """Many seeds of many episodes: the interval is the mean ± 1.96 standard errors of both levels."""
    rng = np.random.default_rng(3)
    values = [rng.normal(mean, 5.0, size=(1, 50)) for mean in rng.normal(0.0, 3.0, size=200)]
    means = np.array([v.mean() for v in values])
    error = np.sqrt(means.var() / 200 + np.mean([v.var() for v in values]) / 50 / 200)
    low, high = bootstrap_interval(values)
    assert (low + high) / 2 == pytest.approx(means.mean(), abs=0.1 * error)
    assert high - low == pytest.approx(2 * stats.norm.ppf(0.975) * error, rel=0.05)


@unhurried
@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=9), min_size=1, max_size=4))
def test_interval_lies_in_the_range_of_the_data_and_is_reproducible(lists):
    values = [np.array([row]) for row in lists]
    low, high = bootstrap_interval(values, resamples=50)
    assert min(map(min, lists)) - 1e-9 <= low <= high <= max(map(max, lists)) + 1e-9
    assert (low, high) == bootstrap_interval(values, resamples=50)


def test_interval_moves_with_scale_and_shift():
    rng = np.random.default_rng(4)
    values = [rng.normal(size=(3, 20)) for _ in range(3)]
    low, high = bootstrap_interval(values)
    moved = bootstrap_interval([3.0 * row - 7.0 for row in values])
    assert moved == pytest.approx((3.0 * low - 7.0, 3.0 * high - 7.0))


def test_an_interval_does_not_depend_on_how_many_episodes_are_drawn_at_once(monkeypatch):
    seeds = list(np.random.default_rng(0).normal(size=(3, 2, 7)))
    whole = bootstrap_interval(seeds, resamples=200)
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 45)
    assert bootstrap_interval(seeds, resamples=200) == whole


def test_equal_episodes_leave_no_doubt():
    assert bootstrap_interval([np.full((1, 10), 5.0), np.full((2, 4), 5.0)]) == (5.0, 5.0)


@pytest.mark.parametrize("values", [[], [np.ones((1, 3)), np.ones((1, 0))], [np.ones((0, 3))]])
def test_interval_of_nothing_is_refused(values):
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval(values)


def test_last_evaluations_are_of_the_final_stage_and_three_at_most():
    behaviour = [evaluation(step, [[-9.0], [-9.0]], "behaviour") for step in (1, 2)]
    improvement = [evaluation(step, [[step + 0.5], [-float(step)]]) for step in (3, 4, 5, 6)]
    assert last_evaluations(behaviour + improvement[:1]) == improvement[:1]
    assert last_evaluations(behaviour + improvement) == improvement[1:]
    longer = [{**line, "lengthened_from": 4} for line in improvement[2:]]
    assert last_evaluations(behaviour + improvement[:2] + longer) == longer


@pytest.mark.parametrize(("beyond", "share"), [([0.0, 0.05], 0.0), ([0.0, 0.09], 0.09)])
def test_one_seed_without_an_estimate_makes_the_mean_none(beyond, share):
    lines = [{"stage": "a", "step": step, "beyond": found} for step, found in ((1, [0.0, 0.0]), (2, beyond))]
    assert undetermined_share(lines) == share
    assert undetermined_share([{"stage": "a", "returns": [[1.0]]}]) == 0  # played


def test_episodes_of_a_seed_are_joined_over_evaluations():
    episodes = episodes_of_seeds([evaluation(step, [[step + 0.5], [-float(step)]]) for step in (4, 5, 6)])
    assert [e.returns for e in episodes] == [[4.5, 5.5, 6.5], [-4.0, -5.0, -6.0]]
    assert episodes[0].successes == [True] * 3
    assert episodes[1].lengths == [7] * 3


def test_result_is_the_last_three_evaluations_and_never_the_best():
    task = find_task("ogbench/cube-single-play-singletask-task2-v0")
    best = evaluation(10, [[1.0] * 4, [1.0] * 4])
    last = [evaluation(step, [[1.0, -1.0, -1.0, -1.0], [1.0, 1.0, -1.0, -1.0]]) for step in (20, 30, 40)]
    result = result_record(task, "qipo-ot", [best, *last], steps=40, train_seconds=8.0)
    assert result["per_seed"] == [25.0, 50.0]
    assert result["mean"] == result["iqm"] == 37.5
    assert result["std"] == pytest.approx(np.std([25.0, 50.0], ddof=1))
    assert result["ci95"][0] < 37.5 < result["ci95"][1]
    assert (result["seeds"], result["episodes"]) == (2, 12)
    assert result["evaluated_steps"] == [20, 30, 40]
    assert result["mean_return"] == -0.25
    assert (result["metric"], result["unit"], result["algorithm"]) == ("success", "%", "qipo-ot")
    assert (result["steps"], result["train_seconds"], result["steps_per_second"]) == (40, 8.0, 5.0)


def test_one_seed_has_no_deviation_between_seeds():
    task = find_task("ogbench/cube-single-play-singletask-task2-v0")
    result = result_record(task, "bc-flow", [evaluation(1, [[1.0, -1.0]])], steps=1, train_seconds=0.0)
    assert result["std"] is None
    assert result["steps_per_second"] is None


def test_result_without_evaluations_is_refused():
    with pytest.raises(ValueError, match="at least one evaluation"):
        result_record(find_task("ogbench/cube-single-play-singletask-task2-v0"), "bc-flow", [], 1, 1.0)

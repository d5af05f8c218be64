"""Values of policies from recorded transitions, on problems whose values are known."""

import numpy as np
import pytest

from tiltflow.evaluation.off_policy import (
    RecordedEpisodes,
    fitted_q_value,
    importance_value,
    mean_value,
    recorded_value,
)

# s' = 0.9·s + 0.5·a + 0.1·noise, r = −(s² + 0.5·a²): a linear policy N(k·s, σ²) has V(s) = −(P·s² + c).
DECAY, GAIN, NOISE, COST = 0.9, 0.5, 0.1, 0.5


def true_value(states, slope, spread, discount):
    closed = DECAY + GAIN * slope
    quadratic = (1 + COST * slope**2) / (1 - discount * closed**2)
    ahead = discount * quadratic * (GAIN**2 * spread**2 + NOISE**2)
    return -(quadratic * states**2 + (COST * spread**2 + ahead) / (1 - discount))


def recorded(rng, slope, spread, episodes=40, steps=20, samples=4):
    """Episodes of the policy N(−0.3·s, 0.5²), to value another one on."""
    state = rng.standard_normal(episodes)
    columns = []
    for _ in range(steps):
        action = -0.3 * state + 0.5 * rng.standard_normal(episodes)
        following = DECAY * state + GAIN * action + NOISE * rng.standard_normal(episodes)
        columns.append((state, action, -(state**2 + COST * action**2), following))
        state = following
    states, actions, rewards, next_states = (
        np.stack(c, axis=1).reshape(-1) for c in zip(*columns, strict=True)
    )

    def drawn(at):
        return (slope * at + spread * rng.standard_normal((samples, len(at))))[..., None]

    first = columns[0][0]
    return RecordedEpisodes(
        states[:, None], actions[:, None], rewards, next_states[:, None], np.zeros(len(states)),
        np.repeat(np.arange(episodes), steps), drawn(next_states), first[:, None], drawn(first),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slope", "spread", "discount"), [(-1.0, 0.1, 0.9), (-0.3, 0.5, 0.9), (-1.0, 0.1, 0.99)]
)
def test_the_interval_of_fitted_q_evaluation_holds_the_known_value_about_as_often_as_it_says(
    slope, spread, discount
):
    trials, held, values = 30, 0, []
    for trial in range(trials):
        data = recorded(np.random.default_rng(trial), slope, spread)
        found = fitted_q_value(data, discount, features=60, seed=trial)
        low, high = found.interval()
        truth = true_value(1.0, slope, spread, discount)  # E[s²] = 1 of the first states
        held += low <= truth <= high
        values.append(found.value)
    assert held >= 0.8 * trials  # a binomial of 95 % is below that once in 2,000 times
    assert np.mean(values) == pytest.approx(truth, rel=0.1)


def test_a_termination_cuts_what_comes_and_a_time_limit_does_not():
    """One state, reward 1 a step: worth 1/(1 − γ) where episodes go on, 1 where each step ends."""
    n = 50
    one, action = np.ones((n, 1)), np.random.default_rng(0).uniform(-1, 1, (n, 1))
    for terminated, worth in ((0.0, 10.0), (1.0, 1.0)):
        data = RecordedEpisodes(
            one,
            action,
            np.ones(n),
            one,
            np.full(n, terminated),
            np.arange(n),
            action[None],
            one,
            action[None],
        )
        assert fitted_q_value(data, 0.9, features=20).value == pytest.approx(worth, rel=1e-3)


def test_data_that_do_not_hold_a_policys_actions_do_not_determine_its_value():
    data = recorded(np.random.default_rng(0), -1.0, 0.1)
    assert fitted_q_value(data, 0.99, features=60).beyond == 0
    far = recorded(np.random.default_rng(0), 40.0, 1.0)
    assert fitted_q_value(far, 0.99, features=60).beyond > 0.05


def test_resamples_are_the_same_for_every_policy():
    """So that the difference of two policies has a narrower interval than either."""
    rng = np.random.default_rng(0)
    data = recorded(rng, -1.0, 0.1)
    better = fitted_q_value(data, 0.9, features=60)
    worse = fitted_q_value(data._replace(rewards=data.rewards - 1.0), 0.9, features=60)
    np.testing.assert_allclose(better.replicates - worse.replicates, 10.0, rtol=0.02)
    assert np.median(better.replicates - worse.replicates) == pytest.approx(10)  # but where Q met its bounds


# A maze of cells: an action moves to any place in the next cell, where no wall is in its way; G pays 1.
MAZE = ("....#", "#.#..", ".....", "..#..", "G..#.")
CELLS = np.array([(y, x) for y, row in enumerate(MAZE) for x, mark in enumerate(row) if mark != "#"])
WAYS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
AFTER = np.array(
    [
        [next((n for n, other in enumerate(CELLS) if (other == cell + way).all()), at) for way in WAYS]
        for at, cell in enumerate(CELLS)
    ]
)
AT_GOAL = np.array([MAZE[y][x] == "G" for y, x in CELLS])


def maze_policy(skill):
    """The probability of each way in each cell: 1/4 at skill 0, along shortest paths where it is large."""
    left = np.where(AT_GOAL, 0, len(CELLS))
    for _ in CELLS:
        left = np.minimum(left, 1 + left[AFTER].min(axis=1))
    weights = np.exp(-skill * left[AFTER])
    return weights / weights.sum(axis=1, keepdims=True)


def maze_value(policy, discount):
    """The mean value over all cells, by dynamic programming."""
    moves = np.einsum("ck,ckn->cn", policy, np.eye(len(CELLS))[AFTER])
    return np.linalg.solve(np.eye(len(CELLS)) - discount * moves, moves @ AT_GOAL).mean()


def recorded_in_maze(rng, behaviour, policy, episodes=60, steps=30, samples=4):
    def drawn(of, at):
        way = (rng.uniform(size=(len(at), 1)) > of[at].cumsum(axis=1)).sum(axis=1).clip(0, 3)
        along = WAYS[way] * rng.uniform(0.5, 1, (len(at), 1))
        return way, along + rng.uniform(-0.3, 0.3, (len(at), 2)) * (WAYS[way] == 0)

    def place(at):
        return CELLS[at] + rng.uniform(-0.5, 0.5, (len(at), 2))

    first = cell = rng.integers(len(CELLS), size=episodes)
    state, columns = place(cell), []
    for _ in range(steps):
        way, action = drawn(behaviour, cell)
        cell = AFTER[cell, way]
        columns.append((state, action, AT_GOAL[cell][:, None], state := place(cell), cell[:, None]))
    states, actions, rewards, next_states, cells = (
        np.stack(c, axis=1).reshape(episodes * steps, -1) for c in zip(*columns, strict=True)
    )
    return RecordedEpisodes(
        states, actions, rewards[:, 0].astype(float), next_states, np.zeros(len(states)),
        np.repeat(np.arange(episodes), steps),
        np.stack([drawn(policy, cells[:, 0])[1] for _ in range(samples)]), states[::steps],
        np.stack([drawn(policy, first)[1] for _ in range(samples)]),
    )  # fmt: skip


@pytest.mark.parametrize("skills", [(0.5, 0.5), (0.5, 1.0), (1.0, 3.0)])
def test_in_a_maze_the_interval_holds_the_value_of_the_behaviour_and_of_better_policies(skills):
    behaviour, policy = map(maze_policy, skills)
    truth, trials, held = maze_value(policy, 0.9), 5, 0
    for trial in range(trials):
        data = recorded_in_maze(np.random.default_rng(trial), behaviour, policy)
        found = fitted_q_value(data, 0.9, features=128, replicates=50, seed=trial)
        low, high = found.interval()
        held += low <= truth <= high
        assert found.beyond == 0
    assert held >= 0.8 * trials


def test_the_recorded_return_ends_at_a_termination_and_goes_on_behind_a_time_limit():
    episodes = np.repeat(np.arange(4), 3)
    for terminated, worth in ((0.0, 10.0), (1.0, 1 + 0.9 + 0.81)):
        ends = np.where(np.arange(12) % 3 == 2, terminated, 0.0)
        found = recorded_value(np.ones(12), ends, episodes, 0.9)
        np.testing.assert_allclose([found.value, *found.interval()], worth)


def test_importance_sampling_of_the_behaviour_itself_is_its_discounted_return():
    rewards = np.array([1.0, 2.0, 4.0, 1.0, 1.0])
    episodes = np.array([0, 0, 0, 1, 1])
    found, effective = importance_value(rewards, np.zeros(5), episodes, 0.5)
    assert found.value == pytest.approx(np.mean([1 + 1 + 1, 1 + 0.5]))
    assert effective == pytest.approx(2)


def test_importance_sampling_finds_the_value_of_another_policy():
    """Two steps of a coin: μ takes 1 half of the time, π with probability 0.8, and each 1 pays 1."""
    rng = np.random.default_rng(0)
    taken = rng.integers(2, size=(4000, 2))
    ratios = np.log(np.where(taken == 1, 0.8, 0.2) / 0.5)
    found, effective = importance_value(
        taken.reshape(-1).astype(float), ratios.reshape(-1), np.repeat(np.arange(4000), 2), 0.5
    )
    low, high = found.interval()
    assert low <= 0.8 + 0.5 * 0.8 <= high
    assert high - low < 0.1
    # E_μ[ρ²] = (0.8² + 0.2²)/0.5 a step.
    assert effective == pytest.approx(4000 / (0.68 / 0.5) ** 2, rel=0.05)


def test_a_mean_of_episodes_has_the_interval_of_their_bootstrap():
    values = np.random.default_rng(0).standard_normal(400)
    low, high = mean_value(values, replicates=1000).interval()
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)

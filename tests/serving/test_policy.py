"""A run's policy called from Python: what it gives, in which units, and what it refuses."""

import jax
import numpy as np
import pytest

from tiltflow.critics import q_value
from tiltflow.errors import UserError
from tiltflow.serving.load_policy import load_policy
from tiltflow.serving.run_policy import load_played


@pytest.fixture(scope="module")
def policy(run_of):
    return load_policy(run_of("ifql"))


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(1).normal(size=(5, 3))


def test_actions_have_the_shape_of_the_observations_and_the_units_of_the_data(run_of, policy, states):
    assert policy(states[0], seed=3).shape == (2,)
    actions = policy(states, seed=3)
    assert actions.shape == (5, 2)
    loaded = load_played(run_of("ifql")).loaded
    state, act = loaded.states[0], loaded.prepared.agent.act
    inside = np.asarray(jax.jit(act)(state.agent, state.scaler(states), jax.random.key(3)))
    assert np.all(np.abs(inside) <= 1)
    # The bounds of the data are −2 and 2, and 0 and 5.
    np.testing.assert_allclose(actions, [0.0, 2.5] + inside * [2.0, 2.5], atol=1e-5)


def test_a_seed_draws_the_same_and_none_draws_anew(policy, states):
    state = states[0]
    np.testing.assert_array_equal(policy(state, seed=3), policy(state, seed=3))
    assert not np.array_equal(policy(state, seed=3), policy(state, seed=4))
    assert not np.array_equal(policy(state), policy(state))


def test_a_row_does_not_depend_on_how_many_are_beside_it(policy, states):
    together = policy(states, seed=3)
    np.testing.assert_allclose(policy(states[:3], seed=3), together[:3], atol=1e-5)
    np.testing.assert_allclose(policy(states[0], seed=3), together[0], atol=1e-5)


def test_an_observation_by_its_names_is_the_same_observation(policy, states):
    by_name = {"motion": states[0][1:], "gap": states[0][0]}
    np.testing.assert_array_equal(policy(by_name, seed=1), policy(states[0], seed=1))


def test_no_noise_is_one_action_and_more_candidates_have_more_q(run_of, policy, states):
    np.testing.assert_array_equal(policy(states, noise=0.0, seed=1), policy(states, noise=0.0, seed=2))
    loaded = load_played(run_of("ifql")).loaded
    state, config = loaded.states[0], loaded.prepared.config.agent.critic
    low, high = map(np.array, policy.card.bounds)

    def q(best_of):
        inside = 2 * (policy(states, best_of=best_of, seed=1) - low) / (high - low) - 1
        return q_value(state.agent.critic, state.scaler(states), inside.astype(np.float32), config)

    assert np.mean(q(64)) > np.mean(q(1))


def test_settings_given_at_the_load_are_those_of_the_call(run_of, policy, states):
    fixed = load_policy(run_of("ifql"), noise=0.5, best_of=4)
    expected = policy(states, noise=0.5, best_of=4, seed=1)
    np.testing.assert_allclose(fixed(states, seed=1), expected, atol=1e-6)
    assert (fixed.card.noise, fixed.card.best_of) == (0.5, 4)


def test_each_seed_has_its_policy(run_of, states):
    first, second = (load_policy(run_of("ifql"), seed=seed) for seed in (0, 1))
    assert second.card.seed == 1
    assert not np.allclose(first(states, noise=0.0), second(states, noise=0.0), atol=1e-3)


@pytest.mark.parametrize(
    ("observation", "text"),
    [
        ([0.0, 1.0], r"shape \(2,\), but must be \[3\]"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((1, 1, 3)), r"shape \(1, 1, 3\)"),
        ([0.0, np.nan, 0.0], r"nan at entry 1 \(speed\)"),
        ([[0.0] * 3, [0.0, 0.0, np.inf]], r"inf at row 1, entry 2 \(tilt\)"),
        (["a", "b", "c"], "no array of numbers"),
        ({"gap": 0.0}, "has no 'motion'. It is made of gap"),
    ],
)
def test_other_observations_are_refused_by_what_is_wrong_with_them(policy, observation, text):
    with pytest.raises(UserError, match=text):
        policy(observation)


def test_settings_that_a_policy_does_not_have_are_refused(run_of):
    run = run_of("bc-flow")
    for options, text in (
        ({"seed": 7}, "no seed 7: its seeds are 0, 1"),
        ({"noise": -1.0}, "from 0 up"),
        ({"best_of": 4}, "has no critic"),
        ({"critic": run}, "give best_of too"),
    ):
        with pytest.raises(UserError, match=text):
            load_policy(run, **options)
    assert load_policy(run, best_of=4, critic=run_of("ifql"))([0.0, 0.0, 0.0]).shape == (2,)

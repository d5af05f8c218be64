"""Units of observations: what a run does to them before any network sees them."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from tiltflow.data.transitions import Spec, Transitions
from tiltflow.training.policy import data_scaler, identity_scaler
from tiltflow.training.prepare import prepare


def transitions(observations):
    rows = len(observations)
    return Transitions(
        observations=observations,
        actions=np.zeros((rows, 1), np.float32),
        rewards=np.zeros(rows, np.float32),
        next_observations=observations,
        terminations=np.zeros(rows, bool),
        ends=np.zeros(rows, bool),
    )


def test_without_normalisation_observations_stay_as_they_are_however_large():
    """Positions in a maze are further than 10 m from its corner."""
    observations = jnp.array([[21.0, -300.0], [0.5, 1e6]])
    np.testing.assert_array_equal(identity_scaler(Spec(2, 1))(observations), observations)


def test_normalised_observations_have_mean_zero_and_deviation_one_and_end_at_ten():
    data = np.asarray(jax.random.normal(jax.random.key(0), (5000, 2))) * [3.0, 40.0] + [7.0, -90.0]
    scaler = data_scaler(transitions(data.astype(np.float32)))
    seen = np.asarray(scaler(jnp.asarray(data)))
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1.0, rtol=1e-4)
    assert scaler(jnp.array([[1e9, -1e9]])).tolist() == [[10.0, -10.0]]


def test_an_entry_of_small_values_is_seen_as_the_others_are():
    data = np.asarray(jax.random.normal(jax.random.key(0), (5000, 3))) * [50.0, 1e4, 1e-3] + [300.0, 1e5, 0.0]
    seen = np.asarray(data_scaler(transitions(data.astype(np.float32)))(jnp.asarray(data, jnp.float32)))
    np.testing.assert_allclose(seen.std(axis=0), 1.0, rtol=1e-2)


def test_what_varies_by_rounding_alone_is_not_blown_up():
    data = np.asarray(jax.random.normal(jax.random.key(0), (5000, 3))) * [1.0, 1.0, 1e-7] + [0.0, 0.0, 1.0]
    scaler = data_scaler(transitions(data.astype(np.float32)))
    assert 0.09 < float(scaler.std[2]) < 0.11


def test_entries_that_never_vary_are_of_no_matter_to_the_others():
    data = np.asarray(jax.random.normal(jax.random.key(0), (5000, 5))) * [0.05, 0.0, 0.0, 0.0, 0.05]
    seen = np.asarray(data_scaler(transitions(data.astype(np.float32)))(jnp.asarray(data)))
    np.testing.assert_allclose(seen.std(axis=0), [1.0, 0.0, 0.0, 0.0, 1.0], rtol=1e-3)


def test_a_critic_learns_from_rewards_of_its_own_and_the_data_stay_the_same(small_config):
    config = small_config("qipo-ot")
    agent = replace(config.agent, critic=replace(config.agent.critic, rewards="minus-one"))
    (_, as_recorded), (_, less) = prepare(config), prepare(replace(config, agent=agent))
    np.testing.assert_array_equal(less.train.rewards, as_recorded.train.rewards - 1)
    assert less.checksum == as_recorded.checksum

"""Critics reach the fixed points of their backups on problems whose values are known."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import normal
from tiltflow.critics import init_critic, q_value, softmax_backup, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.optimize import run_steps

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SPEC = Spec(observation_size=1, action_size=1)
CONFIG = CriticConfig(network=NetworkConfig(width=32, depth=2), learning_rate=5e-3, tau=0.05, discount=0.5)


def chain() -> dict[str, np.ndarray]:
    """Two states, two actions. In state −1, a = 1 earns 0 and leads to state 1, a = −1 earns 0.2 and ends;
    in state 1, a = ±1 earns 1 or 0 and ends. With γ = ½, Q(−1, 1) = V(1)/2 and Q(−1, −1) = 0.2."""
    states, actions = np.repeat([[-1.0], [1.0]], 2, axis=0), np.tile([[-1.0], [1.0]], (2, 1))
    rows = {
        "observations": states,
        "actions": actions,
        "rewards": np.array([0.2, 0.0, 0.0, 1.0]),
        "next_observations": np.ones((4, 1)),
        "terminations": np.array([1.0, 0.0, 1.0, 1.0]),
        "next_support_actions": np.tile([[-1.0], [1.0]], (4, 1, 1)),
    }
    return {name: column.astype(np.float32) for name, column in rows.items()}


def policy(key, rows: int) -> jnp.ndarray:
    """a' = 1 in three of four draws, otherwise −1."""
    return jnp.where(jax.random.bernoulli(key, 0.75, (rows, 1)), 1.0, -1.0)


def learned(config: CriticConfig, **columns: np.ndarray) -> np.ndarray:
    return np.asarray(learn(config, chain() | columns))


@partial(jax.jit, static_argnums=0)
def learn(config: CriticConfig, rows: dict[str, np.ndarray]) -> jnp.ndarray:
    critic, _ = run_steps(
        lambda c, batch, key: update_critic(c, {**batch, "next_actions": policy(key, 64)}, config),
        init_critic(jax.random.key(0), SPEC, config), rows, jax.random.key(1), jnp.int32(0),
        num_steps=1000, batch_size=64,
    )  # fmt: skip
    return q_value(critic, rows["observations"], rows["actions"], config)


@pytest.mark.parametrize(("beta", "aggregate"), [(0.0, "min"), (3.0, "mean")])
def test_in_support_softmax_backup_reaches_its_fixed_point(beta, aggregate):
    config = replace(CONFIG, kind="in-support-softmax", beta=beta, aggregate=aggregate)
    tilted = np.exp(beta) / (1 + np.exp(beta))  # Σ softmax(βQ)·Q over Q = 0 and 1
    np.testing.assert_allclose(learned(config), [0.2, tilted / 2, 0.0, 1.0], atol=0.03)


def test_expectile_backup_reaches_its_fixed_point():
    config = replace(CONFIG, kind="expectile", expectile=0.9)
    # the τ-expectile of 0 and 1 in equal parts is τ
    np.testing.assert_allclose(learned(config), [0.2, 0.9 / 2, 0.0, 1.0], atol=0.03)


@pytest.mark.parametrize("aggregate", ["min", "mean"])
def test_the_backup_of_a_policy_reaches_its_fixed_point(aggregate):
    config = replace(CONFIG, kind="policy", aggregate=aggregate)
    np.testing.assert_allclose(learned(config), [0.2, 0.75 / 2, 0.0, 1.0], atol=0.03)


def test_discounts_of_the_rows_take_the_place_of_the_constant():
    """As the second row has where it spans three steps of γ = ½; the other rows end."""
    config = replace(CONFIG, kind="policy")
    rows = np.float32([0.5, 0.5**3, 0.5, 0.5])
    np.testing.assert_allclose(learned(config, discounts=rows), [0.2, 0.75 / 8, 0.0, 1.0], atol=0.03)
    np.testing.assert_array_equal(learned(config, discounts=np.full(4, 0.5, np.float32)), learned(config))


def test_values_of_several_actions_at_a_state_are_those_one_by_one(key):
    critic = init_critic(key, SPEC, CONFIG)
    values = jax.jit(lambda states, actions: q_value(critic, states, actions, CONFIG))
    states, actions = normal(0, 5, 1), normal(1, 5, 3, 1)
    together = values(states[:, None], actions)
    for j in range(3):
        np.testing.assert_allclose(together[:, j], values(states, actions[:, j]), rtol=1e-5)


def test_softmax_backup_lies_between_the_mean_and_the_maximum():
    values = np.float32(normal(0, 100, 7))
    lowest, middle, largest = (np.asarray(jax.jit(softmax_backup)(values, beta)) for beta in (0.0, 1.0, 1e4))
    np.testing.assert_allclose(lowest, values.mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(largest, values.max(axis=1), rtol=1e-4)
    assert np.all((middle >= values.mean(axis=1) - 1e-6) & (middle <= values.max(axis=1) + 1e-6))

"""Diffusion-QL's limit: where η is large, Q alone decides; and what η is weighed against."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import FLOW, SPEC, gaussian_actions, known_critic, train

from tiltflow.agents.bc import init_flow, sample_actions
from tiltflow.agents.flow_ql import improve
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.flow import matching_loss


@pytest.mark.parametrize("algorithm", ["flow-ql", "diffusion-ql"])
def test_a_large_eta_puts_all_actions_at_the_maximum_of_q(algorithm):
    flow = replace(
        ALGORITHMS[algorithm].config.flow, network=FLOW.network, learning_rate=2e-3, ema=0.95, batch_size=64
    )
    config = replace(ALGORITHMS[algorithm].config, flow=flow, eta=1e4)
    critic = known_critic(0.9, 3.0)  # Q = 0.9·a − 1.5·a², largest at 0.3

    def step(policy, batch, key):
        return improve(policy, critic, batch, key, SPEC, config, optax.adam(config.flow.learning_rate))

    policy = train(step, flow, gaussian_actions(-0.3, 0.2), steps=400)
    actions = np.asarray(sample_actions(policy, jnp.zeros((5000, 1)), jax.random.key(3), SPEC, flow))
    assert actions.mean() == pytest.approx(0.3, abs=0.02)
    assert actions.std() < 0.03


def test_eta_is_weighed_against_the_error_of_the_noise_as_in_diffusion_ql():
    """The published loss is that of the noise; the velocity's error is (β/2σ)² as large on this path."""
    config = ALGORITHMS["diffusion-ql"].config
    flow = init_flow(jax.random.key(0), SPEC, replace(config.flow, network=FLOW.network))
    key, actions = jax.random.key(1), jnp.linspace(-1, 1, 64)[:, None]
    loss = matching_loss(flow, key, actions, jnp.zeros((64, 1)), measure=config.error)

    time_key, noise_key = jax.random.split(key)
    t = jax.random.uniform(time_key, (64,), maxval=flow.path.end)
    noise = jax.random.normal(noise_key, (64, 1))
    x = flow.path.alpha(t)[:, None] * actions + flow.path.sigma(t)[:, None] * noise
    predicted = flow.predict("noise", t, x, jnp.zeros((64, 1)))
    assert loss == pytest.approx(float(jnp.mean((predicted - noise) ** 2)), rel=1e-3)

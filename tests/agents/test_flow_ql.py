"""Diffusion-QL's limit: where η is large, Q alone decides."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import FLOW, SPEC, gaussian_actions, known_critic, train

from tiltflow.agents.baseline_configs import FlowQLConfig
from tiltflow.agents.bc import sample_actions
from tiltflow.agents.flow_ql import improve
from tiltflow.agents.registry import ALGORITHMS


@pytest.mark.parametrize("algorithm", ["flow-ql", "diffusion-ql"])
def test_a_large_eta_puts_all_actions_at_the_maximum_of_q(algorithm):
    flow = replace(
        ALGORITHMS[algorithm].config.flow, network=FLOW.network, learning_rate=2e-3, ema=0.95, batch_size=64
    )
    config = FlowQLConfig(flow=flow, eta=1e4)
    critic = known_critic(0.9, 3.0)  # Q = 0.9·a − 1.5·a², largest at 0.3

    def step(policy, batch, key):
        return improve(policy, critic, batch, key, SPEC, config, optax.adam(config.flow.learning_rate))

    policy = train(step, flow, gaussian_actions(-0.3, 0.2), steps=400)
    actions = np.asarray(sample_actions(policy, jnp.zeros((5000, 1)), jax.random.key(3), SPEC, flow))
    assert actions.mean() == pytest.approx(0.3, abs=0.02)
    assert actions.std() < 0.03

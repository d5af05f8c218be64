"""Diffusion-QL's limit: where η is large, Q alone decides; and what η is weighed against."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import FLOW, SPEC, gaussian_actions, known_critic, train

from tiltflow.agents.bc import init_flow
from tiltflow.agents.flow_ql import clone_and_climb
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.agents.sampling import sample_actions
from tiltflow.errors import UserError
from tiltflow.optimize import begin


@pytest.mark.parametrize("algorithm", ["flow-ql", "diffusion-ql"])
def test_a_large_eta_puts_all_actions_at_the_maximum_of_q(algorithm):
    flow = replace(
        ALGORITHMS[algorithm].config.flow, network=FLOW.network, learning_rate=2e-3, ema=0.95, batch_size=64
    )
    config = replace(ALGORITHMS[algorithm].config, flow=flow, eta=1e4)
    critic = known_critic(0.9, 3.0)  # Q = 0.9·a − 1.5·a², largest at 0.3

    def step(policy, batch, key):
        return clone_and_climb(
            policy, critic, batch, key, SPEC, config, optax.adam(config.flow.learning_rate)
        )

    policy = train(step, flow, gaussian_actions(-0.3, 0.2), steps=400)
    sample = jax.jit(lambda policy, key: sample_actions(policy, jnp.zeros((5000, 1)), key, SPEC, flow))
    actions = np.asarray(sample(policy, jax.random.key(3)))
    assert actions.mean() == pytest.approx(0.3, abs=0.02)
    assert actions.std() < 0.03


def test_eta_is_weighed_against_the_error_of_the_noise_as_in_diffusion_ql():
    """The published loss is that of the noise; the velocity's error is (β/2σ)² as large on this path."""
    config = ALGORITHMS["diffusion-ql"].config
    config = replace(config, flow=replace(config.flow, network=FLOW.network))
    optimizer = optax.adam(3e-4)
    batch = {"actions": np.linspace(-1, 1, 64)[:, None], "observations": np.zeros((64, 1))}

    @jax.jit
    def losses(critic, batch, key):
        policy = begin(init_flow(jax.random.key(0), SPEC, config.flow), optimizer)
        _, metrics = clone_and_climb(policy, critic, batch, key, SPEC, config, optimizer)
        time_key, noise_key = jax.random.split(jax.random.split(key)[0])
        path = policy.params.path
        t = jax.random.uniform(time_key, (64,), maxval=path.end)
        noise = jax.random.normal(noise_key, (64, 1))
        x = path.alpha(t)[:, None] * batch["actions"] + path.sigma(t)[:, None] * noise
        predicted = policy.params.predict("noise", t, x, batch["observations"])
        return metrics["matching_loss"], jnp.mean((predicted - noise) ** 2)

    loss, expected = losses(known_critic(2.0), batch, jax.random.key(1))
    assert loss == pytest.approx(float(expected), rel=1e-3)


def test_an_error_of_the_noise_that_the_data_do_not_determine_is_refused():
    config = ALGORITHMS["flow-ql"].config
    with pytest.raises(UserError, match=r"unbounded at the data end of flow\.path = ot"):
        replace(config, error="noise", flow=replace(config.flow, prediction="data"))

"""QGPO's law: with Q and the behaviour known, the guided policy is the tilt, in closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import FLOW, SPEC, exact_flow, known_critic

from tiltflow.agents.qgpo import build
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.exact import gaussian_mixture
from tiltflow.optimize import run_steps


def test_the_guided_policy_is_the_tilt():
    config = ALGORITHMS["qgpo"].config
    flow = replace(FLOW, path="vp", solver="midpoint", num_steps=20)
    config = replace(
        config,
        flow=flow,
        energy=FLOW.network,
        energy_learning_rate=2e-3,
        energy_scale="none",
        beta=2.0,
        num_support_actions=16,
    )
    law = gaussian_mixture(np.full(2, 0.5), np.array([[-0.4], [0.3]]), np.full((2, 1, 1), 0.02))
    slope, curvature = 1.0, 1.5
    agent = build(config, SPEC, 2000)
    state = jax.jit(agent.init)(jax.random.key(0))
    behaviour = exact_flow(law, "vp")
    policy = state.policy._replace(ema=behaviour)
    state = state._replace(policy=policy, critic=known_critic(slope, curvature))
    stage = agent.stages[-1]
    columns = {"observations": jnp.zeros((4096, 1))}
    columns |= jax.jit(stage.precompute)(state, columns, jax.random.key(1))
    run = jax.jit(run_steps, static_argnames=("update", "num_steps", "batch_size"))
    state, _ = run(stage.update, state, columns, jax.random.key(2), 0, num_steps=2000, batch_size=64)
    actions = np.asarray(jax.jit(agent.act)(state, jnp.zeros((8000, 1)), jax.random.key(3)))

    grid = np.linspace(-2, 2, 4001)
    density = np.exp(-((grid + 0.4) ** 2) / 0.04) + np.exp(-((grid - 0.3) ** 2) / 0.04)
    density *= np.exp(2 * (slope * grid - curvature * grid**2 / 2))
    density /= density.sum()
    mean = density @ grid
    assert actions.mean() == pytest.approx(mean, abs=0.03)
    assert actions.std() == pytest.approx(np.sqrt(density @ (grid - mean) ** 2), abs=0.02)
    assert np.mean(actions > 0) == pytest.approx(density[grid > 0].sum(), abs=0.04)

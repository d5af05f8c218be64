"""Laws of the distilled policy: the minimum of its loss for a linear and a quadratic Q."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import FLOW, SPEC, KnownQ, exact_flow, known_critic

from tiltflow.agents import bc, qipo
from tiltflow.agents.bc import BCConfig
from tiltflow.agents.one_step import apply_one_step, distillation_loss
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.networks import MLP
from tiltflow.optimize import run_steps

MEAN, STD, NOISE, ALPHA = 0.1, 0.15, 0.5, 20.0
LAW = gaussian_mixture(np.ones(1), np.array([[MEAN]]), np.full((1, 1, 1), STD**2))


def affine(slope: float, level: float) -> MLP:
    """μ(s, z) = level + slope·z, as a network without hidden layers."""
    network = MLP(jax.random.key(0), 2, 1, width=1, depth=0)
    return jax.tree.map(
        lambda array: jnp.array([[0.0], [slope]]) if array.ndim == 2 else jnp.array([level]), network
    )


@pytest.mark.parametrize("curvature", [0.0, 3.0])
def test_the_distilled_policy_is_the_flow_led_up_q(curvature):
    """d/dμ of α(μ − o)² − (bμ − cμ²/2)/u is zero at μ = (2αo + b/u)/(2α + c/u), o = m + τsz, d = 1."""
    slope, unit = 2.0, 0.5
    z = jax.random.normal(jax.random.key(1), (4000, 1))
    states = jnp.zeros((4000, 1))
    carried = exact_flow(LAW).integrate(NOISE * z, states, num_steps=20)
    q = KnownQ(jnp.float32(slope), jnp.float32(curvature))

    def value(actions):
        return q(jnp.concatenate([states, actions], axis=-1))[..., 0] / unit

    rate = 2 * ALPHA + curvature / unit
    best = affine(2 * ALPHA * NOISE * STD / rate, (2 * ALPHA * MEAN + slope / unit) / rate)
    flat = jax.grad(lambda network: distillation_loss(network, states, z, carried, value, ALPHA)[0])(best)
    off = jax.grad(lambda network: distillation_loss(network, states, z, carried, value, ALPHA)[0])(
        affine(STD, MEAN)
    )
    for at_best, elsewhere in zip(jax.tree.leaves(flat), jax.tree.leaves(off), strict=True):
        entries = slice(1, None) if at_best.ndim == 2 else slice(None)  # the state's own is always zero
        assert np.all(np.abs(at_best[entries]) < 0.02)
        assert np.all(np.abs(elsewhere[entries]) > 0.5)


@pytest.mark.parametrize("kind", ["qipo", "bc"])
def test_the_last_stage_plays_one_step_from_its_beginning(kind):
    """Trained from scratch it lands at the flow of the noise τz, d/(2αu)·b higher where there is a Q."""
    flow = replace(FLOW, play_noise=NOISE, num_steps=20, learning_rate=3e-3, ema=0.99)
    if kind == "qipo":
        small = NetworkConfig(width=16, depth=1, activation="relu")
        critic = CriticConfig(network=small, ensemble=1)
        config = QIPOConfig(
            flow=flow, critic=critic, behaviour_steps=1, critic_steps=1, improvement_steps=1, distill=True,
            distill_steps=1500, distill_alpha=ALPHA,
        )  # fmt: skip
        agent = qipo.build(config, SPEC, 0)
        state = agent.init(jax.random.key(0))._replace(critic=known_critic(2.0), scale=jnp.float32(0.5))
    else:
        agent = bc.build(BCConfig(flow=flow, behaviour_steps=1, distill=True, distill_steps=1500), SPEC, 0)
        state = agent.init(jax.random.key(0))
    state = state._replace(policy=state.policy._replace(ema=exact_flow(LAW)))
    states, key, stage = jnp.zeros((20_000, 1)), jax.random.key(3), agent.stages[-1]
    act = jax.jit(agent.act)
    before = np.asarray(act(state, states, key))
    assert before.mean() == pytest.approx(MEAN, abs=0.005)
    assert before.std() == pytest.approx(NOISE * STD, abs=0.005)
    columns = {"observations": states[:100], "actions": states[:100]}
    state = stage.refresh(state, columns, key)
    assert not np.allclose(before, act(state, states, key), atol=0.01)
    run = jax.jit(run_steps, static_argnames=("update", "num_steps", "batch_size"))
    state, _ = run(stage.update, state, columns, key, 0, num_steps=stage.steps, batch_size=stage.batch_size)
    actions = np.asarray(act(state, states, key))
    step = 2.0 / 0.5 / (2 * ALPHA) if kind == "qipo" else 0.0
    assert actions.mean() == pytest.approx(MEAN + step, abs=0.01)
    assert actions.std() == pytest.approx(NOISE * STD, abs=0.01)
    noise = jax.random.normal(key, (20_000, 1))
    one_step = apply_one_step(state.one_step.policy.ema, states, noise)
    np.testing.assert_allclose(actions, jnp.clip(one_step, -1, 1), atol=1e-6)

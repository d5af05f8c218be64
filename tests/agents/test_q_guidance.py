"""Guidance by ∇Q at test time, where it is exact: Gaussian policies and linear Q."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import exact_flow, known_critic

from tiltflow.agents.base import Parts
from tiltflow.agents.q_guidance import QGuided, crossed_value, improved_actions, q_unit
from tiltflow.critics import Ensemble
from tiltflow.data.transitions import Spec
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig, FlowConfig


def guided_sample(kind: str, path: str, mean: float, variance: float, slope: float) -> np.ndarray:
    base = exact_flow(gaussian_mixture([1.0], [[mean]], [[[variance]]]), path)
    guided = QGuided(
        base=base,
        critic=known_critic(slope),
        scale=jnp.float32(0.8),
        path=base.path,
        kind=kind,
        config=CriticConfig(),
    )
    key, condition = jax.random.key(0), jnp.zeros((20_000, 1))
    return np.asarray(guided.sample(key, (20_000, 1), condition, num_steps=40, solver="heun"))


@pytest.mark.parametrize(
    ("kind", "path", "variance"),
    [
        # α_t is the Jacobian for unit variance, on the path whose variance stays one.
        ("gradient", "vp", 1.0),
        ("clean-gradient", "vp", 1.0),
        ("jacobian-gradient", "vp", 0.25),
        ("jacobian-gradient", "ot", 0.25),
    ],
)
def test_a_linear_q_shifts_a_gaussian_policy_to_its_tilt(kind, path, variance):
    points = guided_sample(kind, path, -0.3, variance, slope=0.7)
    assert points.mean() == pytest.approx(-0.3 + 0.8 * 0.7 * variance, abs=0.02)
    assert points.std() == pytest.approx(np.sqrt(variance), rel=0.03)


def test_a_crossed_value_is_free_of_the_error_of_the_member_that_chose():
    """Two members, each right but for an error of its own, which the actions chosen by it exploit."""
    members = [known_critic(slope).q.ema.split()[0] for slope in (1.0, -1.0)]
    critic = known_critic(1.0)
    critic = critic._replace(q=critic.q._replace(ema=Ensemble.of(members)))

    def act(one):
        (member,) = one.q.ema.split()
        return jnp.full((4, 1), jnp.sign(member.slope))

    assert crossed_value(act, critic, jnp.zeros((4, 1))) == pytest.approx(-1.0)


def test_the_strength_counts_in_units_of_the_spread_of_q():
    """Q = 2a of N(0.1, 0.2²): its unit is 0.4, and the strength 0.8 shifts the mean by 0.8·(2·0.2²/0.4)."""
    spec, critic = Spec(1, 1), known_critic(2.0)
    sampler = FlowConfig(solver="heun", num_steps=40)
    parts = Parts(exact_flow(gaussian_mixture([1.0], [[0.1]], [[[0.04]]])), sampler, CriticConfig())
    states, key = jnp.zeros((20_000, 1)), jax.random.key(0)
    unit = jax.jit(lambda: q_unit(parts, critic, states[:500], key, spec))()
    assert unit == pytest.approx(0.4, rel=0.05)  # of 16 actions
    act = jax.jit(
        lambda: improved_actions(parts, critic, jnp.float32(0.4), "jacobian-gradient", 0.8, states, key, spec)
    )
    assert act().mean() == pytest.approx(0.1 + 0.8 * 2 * 0.04 / 0.4, abs=0.01)

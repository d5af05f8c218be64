"""Guidance by ∇Q at test time, where it is exact: Gaussian policies and linear Q."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import exact_flow, known_critic

from tiltflow.agents.q_guidance import QGuided, crossed_value
from tiltflow.critics import Ensemble
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig


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

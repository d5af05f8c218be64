"""What the settings of FlowQ say, by the loss of a policy that stands still: nothing is trained.

All of the data's actions are A, Q = B·a − ½·C·a², and the policy's velocity is 0: the loss of a batch is the
mean square of the velocity that is to be matched.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import agent_of, arbitrary, exact_flow, known_critic

from tiltflow.agents.flowq_targets import shifted
from tiltflow.exact import gaussian_mixture
from tiltflow.flow import Flow
from tiltflow.optimize import begin
from tiltflow.paths import PATHS

A, B, C, STRENGTH, ROWS = 0.25, 2.0, 1.5, 3.0, 40_000
SIZE = abs(B * A - 0.5 * C * A**2)
"""Mean |Q| of the data's actions, where C counts."""
T = (np.arange(4_000) + 0.5) / 4_000

pytestmark = pytest.mark.usefixtures("quickly_compiled")


class Still(eqx.Module):
    level: jnp.ndarray

    def __call__(self, x, t, condition):
        return self.level + jnp.zeros_like(x)


def still() -> Flow:
    return Flow(network=Still(jnp.zeros(())), path=PATHS["ot"], prediction="velocity")


def data(actions=None) -> dict[str, jnp.ndarray]:
    zeros = jnp.zeros((ROWS, 1))
    return {
        "observations": zeros, "next_observations": zeros, "rewards": zeros[:, 0],
        "terminations": zeros[:, 0], "actions": A + zeros if actions is None else actions,
    }  # fmt: skip


def metrics(curvature: float = 0.0, actions=None, **settings) -> dict[str, float]:
    agent = agent_of(
        "flowq",
        **{
            "reading": "velocity", "matched": "data", "critic__kind": "expectile", "strength": STRENGTH,
            "energy_scale": "size", "flow__batch_size": ROWS, "flow__decay": "none",
            "critic__batch_size": 8, **settings,
        },
    )  # fmt: skip
    critic = arbitrary(agent).critic._replace(q=begin(known_critic(B, curvature).q.params, optax.adam(0.0)))
    state = arbitrary(agent)._replace(policy=begin(still(), optax.adam(3e-4)), critic=critic)
    _, found = jax.jit(agent.stages[0].update)(state, data(actions), jax.random.key(0))
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("schedule", "factor", "c"),
    [
        ("linear", "score", 1 - T),
        ("quadratic", "score", T * (1 - T)),
        ("quadratic", "raw", T**2),
        ("rational", "raw", np.minimum(T, 0.75) ** 2 / (1 - np.minimum(T, 0.75))),  # up to 1 − 1/4
    ],
)
def test_the_velocity_is_guided_by_its_schedule_times_its_factor(schedule, factor, c):
    """E[(A − z + λ·c(t)·B/q)²], z ~ N(0, 1), q = BA."""
    found = metrics(schedule=schedule, velocity_factor=factor, next_action_steps=4)
    expected = np.mean((A + STRENGTH * c * B / (B * A)) ** 2) + 1
    assert found["loss"] == pytest.approx(expected, rel=0.02)


def test_the_unit_of_q_may_be_how_much_it_differs_between_actions():
    """Of actions A ± 0.1 by turns the spread of Q = Ba is √2·0.1·B."""
    actions = A + 0.1 * jnp.where(jnp.arange(ROWS)[:, None] % 2 == 0, 1.0, -1.0)
    found = metrics(actions=actions, energy_scale="spread", strength=1.0)
    expected = np.mean((A + (1 - T) / (np.sqrt(2) * 0.1)) ** 2) + 1 + 0.1**2
    assert found["loss"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("hessian", [True, False])
@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_the_path_is_displaced_down_the_energy_of_its_mean(hessian, sigma):
    """v = m' + λh'(t)·(B − Cm)/q − λh(t)·(C/q)·m', m = tA + (1 − t)·√(1 − σ²)·z; the last term if wanted."""
    found = metrics(C, reading="path", schedule="quadratic", sigma=sigma, hessian=hessian, strength=0.3)
    rate, s = 0.3 / SIZE, np.sqrt(1 - sigma**2)
    kept = 1 - rate * C * T**2 if hessian else 1.0
    level = kept * A + rate * 2 * T * (B - C * T * A)
    of_noise = -kept * s - rate * 2 * T * C * (1 - T) * s
    assert found["loss"] == pytest.approx(np.mean(level**2 + of_noise**2), rel=0.02)


def test_the_next_actions_of_the_critic_take_as_many_steps_as_asked_for():
    """One step of Euler from noise lands at the mean of an exact flow."""
    agent = agent_of(
        "flowq", reading="velocity", matched="data", critic__kind="policy", critic__discount=0.5,
        critic__batch_size=64, next_action_steps=1, flow__decay="none",
    )  # fmt: skip
    law = gaussian_mixture(np.ones(1), np.array([[0.3]]), np.full((1, 1, 1), 0.04))
    policy, q = begin(exact_flow(law), optax.adam(3e-4)), begin(known_critic(B).q.params, optax.adam(0.0))
    state = arbitrary(agent)
    state = state._replace(policy=policy, critic=state.critic._replace(q=q))
    _, found = jax.jit(agent.stages[0].update)(state, data(), jax.random.key(0))
    assert found["target_mean"] == pytest.approx(0.5 * B * 0.3, abs=1e-5)


# With a finished critic


def staged(**settings):
    """The columns of the last stage of a behaviour N(0.3, 0.2²)."""
    agent = agent_of("flowq", reading="intermediate", matched="support", flow__num_steps=20, **settings)
    law = gaussian_mixture(np.ones(1), np.array([[0.3]]), np.full((1, 1, 1), 0.04))
    state = arbitrary(agent)._replace(behaviour=exact_flow(law), critic=known_critic(B), scale=jnp.ones(()))
    few = {name: column[:50] for name, column in data().items()}
    return np.asarray(jax.jit(agent.stages[-1].precompute)(state, few, jax.random.key(0))["support_actions"])


def test_actions_of_the_behaviour_are_drawn_as_many_and_with_as_much_noise_as_asked_for():
    drawn = staged(num_support_actions=40, support_noise=0.5)
    assert drawn.shape == (50, 40, 1)
    assert drawn.mean() == pytest.approx(0.3, abs=5 * 0.1 / np.sqrt(2_000))
    assert drawn.std() == pytest.approx(0.5 * 0.2, rel=0.08)


def test_an_action_is_shifted_by_the_covariance_of_the_draws_at_its_state():
    """a + λ·C·∇Q of three draws, whose unbiased covariance is written out."""
    drawn = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    slope = np.array([[0.1, -0.2], [0.3, 0.05]])
    found = shifted(lambda actions: jnp.asarray(slope), jnp.zeros((2, 2)), jnp.asarray(drawn), 0.5)
    for state in range(2):
        expected = 0.5 * np.cov(drawn[state].T, ddof=1) @ slope[state]
        np.testing.assert_allclose(found[state], expected, rtol=1e-5)

"""What the settings of QIPO say, by the columns and the metrics of its improvement: nothing is trained.

Q = 2a, the behaviour is N(0.1, 0.15²), the present policy N(−0.3, 0.05²), and no action is cut off.
"""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import agent_of, arbitrary, exact_flow, known_critic

from tiltflow.agents.behaviour_critic import energy_unit
from tiltflow.agents.qipo_improvement import played_energy
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig
from tiltflow.optimize import TrainState

SLOPE, STATES = 2.0, 4
BEHAVIOUR, POLICY = (0.1, 0.15), (-0.3, 0.05)
DATA = jnp.array([[0.5], [-0.5], [0.2], [0.0]])
ROWS = {
    "observations": jnp.zeros((STATES, 1)),
    "next_observations": jnp.zeros((STATES, 1)),
    "actions": DATA,
    "rewards": jnp.zeros(STATES),
    "terminations": jnp.ones(STATES),
}

pytestmark = pytest.mark.usefixtures("quickly_compiled")


class Constant(eqx.Module):
    """V(s), in the place of a network."""

    level: jnp.ndarray

    def __call__(self, observations):
        return jnp.broadcast_to(self.level, (*observations.shape[:-1], 1))


def law(mean: float, std: float):
    return exact_flow(gaussian_mixture(np.ones(1), np.array([[mean]]), np.full((1, 1, 1), std**2)))


def improvement(**settings):
    """The stage of the improvement, and the state before it."""
    defaults = {
        "improvement_steps": 8, "refresh_every": 2, "flow__num_steps": 20, "critic__ensemble": 1,
        "energy_scale": "none", "support_noise": 1.0,
    }  # fmt: skip
    agent = agent_of("qipo-ot", **(defaults | settings))
    critic = known_critic(SLOPE)
    if settings.get("baseline") == "value":
        critic = critic._replace(value=TrainState(*[Constant(jnp.float32(0.2))] * 2, ()))
    state = arbitrary(agent)._replace(behaviour=law(*BEHAVIOUR), reference=law(*POLICY), critic=critic)
    return agent.stages[-1], state


def support(**settings) -> np.ndarray:
    """Support actions [states, actions] of each state."""
    stage, state = improvement(**settings)
    return np.asarray(jax.jit(stage.precompute)(state, ROWS, jax.random.key(1))["support_actions"])[..., 0]


def test_the_support_is_the_datas_action_and_as_many_draws_as_asked_for():
    with_data = support(num_support_actions=6, reference="behaviour")
    assert with_data.shape == (STATES, 7)
    np.testing.assert_array_equal(with_data[:, :1], DATA)
    assert support(num_support_actions=6, reference="behaviour", include_data_action=False).shape == (
        STATES,
        6,
    )


@pytest.mark.parametrize(
    ("reference", "parts"),
    [("behaviour", [BEHAVIOUR]), ("current", [POLICY]), ("mixture", [BEHAVIOUR, POLICY])],
)
def test_the_support_comes_from_what_the_reference_names(reference, parts):
    drawn = support(reference=reference, num_support_actions=400, include_data_action=False)
    for part, (mean, std) in zip(np.split(drawn, len(parts), axis=1), parts, strict=True):
        assert part.mean() == pytest.approx(mean, abs=5 * std / np.sqrt(part.size))
        assert part.std() == pytest.approx(std, rel=0.1)


def test_support_of_less_noise_is_narrower():
    drawn = support(
        reference="behaviour", num_support_actions=400, include_data_action=False, support_noise=0.3
    )
    assert drawn.mean() == pytest.approx(BEHAVIOUR[0], abs=5 * 0.3 * BEHAVIOUR[1] / np.sqrt(drawn.size))
    assert drawn.std() == pytest.approx(0.3 * BEHAVIOUR[1], rel=0.1)


def test_support_of_each_batch_is_drawn_in_the_step():
    """A step without columns of support: at a β of nearly 0, Q has the mean of new draws of the behaviour."""
    count = 500
    stage, state = improvement(
        support="batch", reference="behaviour", num_support_actions=count, include_data_action=False,
        weights="loss-weights", annealed=False, beta=1e-6,
    )  # fmt: skip
    assert stage.precompute is None
    update, state = jax.jit(stage.update), state._replace(refreshes=jnp.ones(()))
    found = [float(update(state, ROWS, jax.random.key(key))[1]["q_weighted"]) for key in (0, 1)]
    assert found[0] != found[1]
    error = 5 * SLOPE * BEHAVIOUR[1] / np.sqrt(STATES * count)
    assert found == pytest.approx([SLOPE * BEHAVIOUR[0]] * 2, abs=error)


@pytest.mark.parametrize(("scale", "unit"), [("none", 1.0), ("advantage", SLOPE * BEHAVIOUR[1])])
def test_the_unit_of_q_is_its_spread_over_the_support_or_one(scale, unit):
    stage, state = improvement(
        energy_scale=scale, reference="behaviour", num_support_actions=2_000, include_data_action=False
    )
    state = jax.jit(stage.refresh)(state._replace(refreshes=jnp.zeros(())), ROWS, jax.random.key(1))
    assert state.scale == pytest.approx(unit, rel=0.03)


def test_the_spread_is_that_of_the_actions_of_a_state_however_states_differ():
    energies = jnp.array([[0.0, 1.0], [100.0, 103.0]])
    assert energy_unit(energies, "advantage") == pytest.approx((0.5 + 1.5) / 2)


ACTIONS = jnp.array([[0.5, 0.1, -0.2, 0.3]])
"""The support of one state, the data's action first."""


@cache
def compiled(**settings):
    stage, state = improvement(**{"reference": "behaviour", "num_support_actions": 3, **settings})
    return jax.jit(stage.update), state


def metrics(refreshes: int = 1, key: int = 0, actions=ACTIONS, scale=1.0, **settings) -> dict[str, float]:
    """Metrics of one step after so many refreshes, with a support that is given."""
    update, state = compiled(**settings)
    one = {name: column[: len(actions)] for name, column in ROWS.items()}
    columns = {"support_actions": actions[..., None], "support_energies": -SLOPE * actions}
    state = state._replace(refreshes=jnp.float32(refreshes), scale=jnp.float32(scale))
    _, found = update(state, {**one, **columns}, jax.random.key(key))
    return {name: float(value) for name, value in found.items()}


def weighted_q(weights) -> float:
    return SLOPE * float(np.average(ACTIONS[0], weights=weights))


@pytest.mark.parametrize(("annealed", "reached"), [(True, [0.5, 1.0, 2.0]), (False, [2.0, 4.0, 8.0])])
def test_beta_is_reached_in_equal_parts_or_added_at_every_refresh(annealed, reached):
    """Of four refreshes."""
    found = [metrics(refreshes, annealed=annealed, beta=2.0)["beta"] for refreshes in (1, 2, 4)]
    assert found == pytest.approx(reached)


def test_as_factors_the_weights_are_exponentials_of_q():
    found = metrics(weights="loss-weights", annealed=False, beta=0.7)
    weights = np.exp(0.7 * SLOPE * ACTIONS[0])
    assert found["q_weighted"] == pytest.approx(weighted_q(weights), rel=1e-5)
    assert found["ess"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-5)


def test_sampled_weights_are_the_chances_of_the_one_action_that_is_matched():
    found = [metrics(key=key, annealed=False, beta=2.0)["q_weighted"] for key in range(6)]
    assert {round(q, 4) for q in found} <= {round(float(SLOPE * a), 4) for a in ACTIONS[0]}
    assert len(set(found)) > 1


def test_the_datas_action_has_the_share_of_the_loss_that_is_asked_for():
    """0.6 times its own weight among the behaviour's actions, exp(βQ)/mean, and 0.4 for the others."""
    found = metrics(weights="loss-weights", annealed=False, beta=0.7, data_share=0.6)
    plain = np.exp(0.7 * SLOPE * np.asarray(ACTIONS[0]))
    others = 0.4 * plain[1:] / plain[1:].sum()
    assert found["q_weighted"] == pytest.approx(
        weighted_q([0.6 * plain[0] / plain.mean(), *others]), rel=1e-5
    )


def test_weights_over_a_value_are_not_normalised_and_at_most_the_largest_allowed():
    """min(exp(−β(E + V)), w) with V = 0.2, by their effective size."""
    found = metrics(annealed=False, beta=0.7, baseline="value", max_weight=1.05)
    weights = np.minimum(np.exp(0.7 * (SLOPE * np.asarray(ACTIONS[0]) - 0.2)), 1.05)
    assert found["ess"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-4)


@pytest.mark.parametrize("baseline", ["support", "value"])
def test_weights_are_of_q_in_its_unit(baseline):
    """Twice the unit is half of β; V = 0.2 is in the unit already, and the same for all actions."""
    settings = {"annealed": False, "weights": "loss-weights", "baseline": baseline, "max_weight": 1e6}
    found = metrics(beta=1.4, scale=2.0, **settings)
    assert found["q_weighted"] == pytest.approx(metrics(beta=0.7, **settings)["q_weighted"], rel=1e-5)


def test_the_energy_of_a_proposal_is_that_of_what_is_played():
    """Beyond ±1 actions are clipped: Q there is that of the bound, and does not pull."""
    config = QIPOConfig(critic=CriticConfig(ensemble=1))
    energy = played_energy(known_critic(SLOPE), jnp.zeros((1, 1)), jnp.ones(()), config)
    outside, bounds = jnp.array([[[-1.7], [1.4]]]), jnp.array([[[-1.0], [1.0]]])
    np.testing.assert_allclose(energy(outside), -SLOPE * bounds[..., 0], rtol=1e-6)


def test_the_tilted_path_moves_support_actions_up_q():
    """Of the action z the moved ones, weighted, are N(z, σ²)·exp(βQ)/Z, Q = ba − ½ca²: a Gaussian.

    Its precision is 1/σ² + βc, its mean (z/σ² + βb)/(1/σ² + βc).
    """
    count, z, sigma, beta, curvature = 40_000, 0.1, 0.2, 3.0, 5.0
    update, state = compiled(
        weights="loss-weights", annealed=False, beta=beta, improvement="tilted-path", tilted_sigma=sigma
    )
    state = state._replace(critic=known_critic(SLOPE, curvature), refreshes=jnp.ones(()))
    actions = jnp.full((1, count), z)
    columns = {
        "support_actions": actions[..., None],
        "support_energies": -SLOPE * actions + 0.5 * curvature * actions**2,
    }
    one = {name: column[:1] for name, column in ROWS.items()}
    _, found = update(state, {**one, **columns}, jax.random.key(0))
    precision = 1 / sigma**2 + beta * curvature
    mean = (z / sigma**2 + beta * SLOPE) / precision
    expected = SLOPE * mean - 0.5 * curvature * (mean**2 + 1 / precision)
    assert found["q_weighted"] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    "support_of", [{"reference": "data"}, {"reference": "behaviour", "include_data_action": False}]
)
def test_the_unit_of_q_does_not_vanish_where_the_support_is_one_action(support_of):
    stage, state = improvement(
        energy_scale="advantage", baseline="value", num_support_actions=1, **support_of
    )
    rows = {name: jnp.repeat(column, 50, axis=0) for name, column in ROWS.items()}
    state = jax.jit(stage.refresh)(state._replace(refreshes=jnp.zeros(())), rows, jax.random.key(1))
    assert state.scale == pytest.approx(SLOPE * BEHAVIOUR[1], rel=0.1)


def test_a_support_of_one_action_that_tilts_nothing_is_refused():
    with pytest.raises(UserError, match="nothing is tilted"):
        QIPOConfig(num_support_actions=1, include_data_action=False, reference="current")

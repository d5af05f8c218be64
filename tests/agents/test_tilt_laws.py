"""Laws of QIPO's and FlowQ's tilts on bandits with a known behaviour and a known Q, by the agents themselves.

μ = N(m, s²) and Q = b·a give μ·exp(βQ/u) = N(m + βs²b/u, s²). Nothing but the last stage is trained, and
that only where its weights alone do not tell the law.
"""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import FLOW, SPEC, exact_flow, gaussian_actions, known_critic

from tiltflow.agents import flowq, qipo
from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.flowq_targets import intermediate_guidance, intermediate_loss
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.qipo_weights import baseline_weights
from tiltflow.agents.sampling import consensus, play_actions, sample_actions
from tiltflow.critics import Critic, Ensemble, join
from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.optimize import TrainState, run_steps
from tiltflow.solvers import integrate

MEAN, STD, SLOPE, STEPS = 0.1, 0.15, 6.0, 2500
SAMPLED = replace(FLOW, num_steps=10)
LAW = gaussian_mixture(np.ones(1), np.array([[MEAN]]), np.full((1, 1, 1), STD**2))
SMALL = NetworkConfig(width=16, depth=1, activation="relu")
EXPECTILE = CriticConfig(kind="expectile", network=SMALL, ensemble=1, learning_rate=3e-3)


class Constant(eqx.Module):
    """V(s) of any value, in the place of a network: a baseline need not be right."""

    value: jnp.ndarray

    def __call__(self, observations):
        return jnp.broadcast_to(self.value, (*observations.shape[:-1], 1))


def columns(rows: int = 4000) -> dict[str, jnp.ndarray]:
    of_bandit = gaussian_actions(MEAN, STD, rows)
    zeros = of_bandit["observations"]
    rest = {"rewards": zeros[:, 0], "next_observations": zeros, "terminations": jnp.ones(rows)}
    return {**of_bandit, **rest}


KEY = jax.random.key(5)


def begun(stage, state, data):
    """The state and the columns with which a stage begins."""
    state = jax.jit(stage.refresh)(state, {name: column[:500] for name, column in data.items()}, KEY)
    if stage.precompute is not None:
        data = {**data, **jax.jit(stage.precompute)(state, data, KEY)}
    return state, data


def last_stage(agent, state, data):
    """The state and the actions after the last stage."""
    stage, key = agent.stages[-1], KEY
    state, data = begun(stage, state, data)
    run = jax.jit(run_steps, static_argnames=("update", "num_steps", "batch_size"))
    state, _ = run(stage.update, state, data, key, 0, num_steps=stage.steps, batch_size=stage.batch_size)
    return state, np.asarray(jax.jit(agent.act)(state, jnp.zeros((10_000, 1)), key))[:, 0]


def improvement(**changes):
    """QIPO with a known behaviour and a known Q, and its state before the one improvement, of β = 1."""
    config = replace(
        QIPOConfig(),
        flow=replace(SAMPLED, play_noise=1.0),
        critic=changes.pop("critic", EXPECTILE),
        beta=1.0,
        energy_scale="none",
        improvement_learning_rate=2e-3,
        improvement_ema=0.995,
        behaviour_steps=1,
        critic_steps=1,
        improvement_steps=STEPS,
        refresh_every=STEPS,
        **changes,
    )
    agent = qipo.build(config, SPEC, 0)
    critic = known_critic(SLOPE)
    if config.critic.kind == "expectile":
        constant = Constant(jnp.float32(0.4))
        critic = Critic(critic.q, TrainState(constant, constant, ()))
    return agent, agent.init(jax.random.key(1))._replace(critic=critic, behaviour=exact_flow(LAW))


def weighted_shift(stage, state, data) -> float:
    """Mean shift of the weighted actions of a step on all rows over the exact one of the whole noise."""
    q = jax.jit(lambda state, data: stage.update(state, data, KEY)[1]["q_weighted"])(state, data)
    return (float(q) / SLOPE - MEAN) / (SLOPE * STD**2)


OVER_A_VALUE = {"reference": "behaviour", "num_support_actions": 4, "baseline": "value"}


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"reference": "behaviour", "num_support_actions": 4}, 0.67),  # its finite-M value at this β
        (OVER_A_VALUE, 1.0),
        ({"reference": "data", "num_support_actions": 1, "baseline": "value"}, 1.0),
    ],
)
def test_weights_over_a_value_tilt_by_beta_whatever_the_number_of_actions(changes, share):
    agent, state = improvement(**changes)
    stage = agent.stages[-1]
    assert weighted_shift(stage, *begun(stage, state, columns())) == pytest.approx(share, abs=0.06)


def test_weights_over_a_value_lead_the_policy_to_the_tilt():
    _, actions = last_stage(*improvement(**OVER_A_VALUE), columns())
    assert actions.mean() == pytest.approx(MEAN + SLOPE * STD**2, abs=0.06 * SLOPE * STD**2)
    assert actions.std() == pytest.approx(STD, abs=0.015)


def test_a_critic_without_a_value_gets_a_fitted_one():
    """V = log E_μ[exp(Q)] = b·m + ½(b·s)², and the same tilt while it is far from that."""
    critic = replace(EXPECTILE, kind="in-support-softmax")
    agent, state = improvement(**OVER_A_VALUE, critic=critic)
    stage = agent.stages[-1]
    state, data = begun(stage, state, columns())
    assert weighted_shift(stage, state, data) == pytest.approx(1.0, abs=0.06)

    def fit(baseline, batch, key):
        return stage.update(state._replace(baseline=baseline), batch, key)[0].baseline, {}

    run = jax.jit(partial(run_steps, fit, num_steps=1500, batch_size=64))
    baseline, _ = run(state.baseline, data, KEY, 0)
    value = float(baseline.params(jnp.zeros((1, 1)))[0, 0])
    assert value == pytest.approx(SLOPE * MEAN + 0.5 * (SLOPE * STD) ** 2, abs=0.1)


def test_baseline_weights_average_to_the_tilt_in_groups_of_any_size():
    """Of actions of μ and of μ·exp(−bE): the same target from both, for any V, also where M = 1."""
    before, step, value = 0.8, 0.5, jnp.array([0.3, -0.7])
    noise = jax.random.normal(jax.random.key(0), (2, 200_000))
    from_mu, from_policy = noise[:, :100_000], noise[:, 100_000:] + before  # Q = a, μ = N(0, 1)
    energies = -jnp.concatenate([from_mu, from_policy], axis=1)
    config = replace(
        QIPOConfig(), baseline="value", reference="mixture", num_support_actions=200_000, max_weight=1e9
    )
    weigh = jax.jit(lambda e: baseline_weights(e, before, -step * e, value, step, config))
    weights, energies = np.asarray(weigh(energies)), np.asarray(energies)
    for part in (slice(0, 100_000), slice(100_000, None)):
        mean = np.sum(weights[:, part] * -energies[:, part], axis=1) / np.sum(weights[:, part], axis=1)
        np.testing.assert_allclose(mean, before + step, atol=0.03)


def test_the_noise_temperature_narrows_a_gaussian(key):
    """N(m, S) becomes N(m, τ²S)."""
    flow = exact_flow(LAW)
    draw = jax.jit(lambda x, noise: sample_actions(flow, x, key, SPEC, SAMPLED, noise=noise))
    for noise in (0.0, 0.5, 1.0):
        actions = draw(jnp.zeros((20_000, 1)), noise)
        assert np.mean(actions) == pytest.approx(MEAN, abs=0.005)
        assert np.std(actions) == pytest.approx(noise * STD, abs=0.005)


def test_support_of_less_noise_tilts_the_narrower_law():
    """Support N(m, τ²S), and so a tilt N(m + βτ²Sb, τ²S)."""
    changes = {"baseline": "value", "reference": "behaviour", "include_data_action": False}
    agent, state = improvement(support_noise=0.5, num_support_actions=4, **changes)
    stage = agent.stages[-1]
    state, data = begun(stage, state, columns())
    assert np.std(data["support_actions"]) == pytest.approx(0.5 * STD, abs=0.01)
    assert weighted_shift(stage, state, data) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "noise"),
    [
        ({"reading": "clean"}, 1.0),
        ({"reading": "shift"}, 1.0),
        ({"reading": "shift", "matched": "support", "support_noise": 0.5}, 0.5),
        ({"reading": "intermediate", "matched": "support", "support_noise": 0.5}, 0.5),
    ],
)
def test_the_staged_readings_of_flowq_are_exact_for_gaussian_actions_and_a_linear_q(changes, noise):
    """N(m, S) becomes N(m + λSb/u, S), S = s², or (τs)² where it is drawn with less noise."""
    flow = replace(SAMPLED, learning_rate=2e-3, ema=0.995)
    config = replace(
        FlowQConfig(critic=EXPECTILE), flow=flow, strength=1.0, behaviour_steps=1, critic_steps=1,
        guidance_steps=STEPS, **changes,
    )  # fmt: skip
    agent = flowq.build(config, SPEC, 0)
    critic = known_critic(SLOPE)
    constant = Constant(jnp.float32(0.4))
    critic = Critic(critic.q, TrainState(constant, constant, ()))
    before = agent.init(jax.random.key(1))._replace(critic=critic, behaviour=exact_flow(LAW))
    state, actions = last_stage(agent, before, columns())
    std, unit = noise * STD, float(state.scale)
    support_std = std if "support_noise" in changes else STD
    assert unit == pytest.approx(SLOPE * support_std, rel=0.05)  # one spread of Q
    assert actions.mean() - MEAN == pytest.approx(std**2 * SLOPE / unit, abs=0.015)
    assert actions.std() == pytest.approx(std, abs=0.015)


class ExactValue(eqx.Module):
    """f = log E[exp(λa) | x_t] of two modes at ±0.5 with deviation 0.1, as an intermediate value."""

    strength: float

    def logit(self, t, x, condition=None):
        modes, spread = jnp.array([-0.5, 0.5]), t**2 * 0.01 + (1 - t) ** 2
        x, t, spread = x[..., 0][..., None], t[..., None], spread[..., None]
        given = -0.5 * (x - t * modes) ** 2 / spread
        mean = modes + t * 0.01 / spread * (x - t * modes)
        tilted = self.strength * mean + 0.5 * self.strength**2 * 0.01 * (1 - t) ** 2 / spread
        return jax.nn.logsumexp(given + tilted, axis=-1) - jax.nn.logsumexp(given, axis=-1)

    def slope(self, t, x, condition=None):
        return jax.grad(lambda x: jnp.sum(self.logit(t, x)))(x) / jnp.maximum(t, 1e-6)[..., None]


def two_modes(key, n: int):
    mode, noise = (
        jax.random.bernoulli(key, 0.5, (n, 1)),
        jax.random.normal(jax.random.fold_in(key, 1), (n, 1)),
    )
    return jnp.where(mode, 0.5, -0.5) + 0.1 * noise


def test_the_exact_intermediate_value_guides_to_the_tilt_of_two_modes(key):
    """λ = 2: of μ·exp(2a) a share of 1/(1 + e⁻²) is in the upper mode, whose mean is 0.5 + 2·0.1²."""
    law = gaussian_mixture(np.full(2, 0.5), np.array([[-0.5], [0.5]]), np.full((2, 1, 1), 0.01))
    flow, value = exact_flow(law), ExactValue(2.0)

    def velocity(t, x):
        t = jnp.broadcast_to(t, x.shape[:1])
        return flow.predict("velocity", t, x) + intermediate_guidance(value, x, x, t)

    x = jax.random.normal(key, (20_000, 1))
    ends = np.asarray(integrate(velocity, x, start=0.0, end=1.0, num_steps=200, method="heun"))
    assert np.mean(ends > 0) == pytest.approx(1 / (1 + np.exp(-2)), abs=0.01)
    assert ends[ends > 0].mean() == pytest.approx(0.52, abs=0.003)


def test_the_exact_intermediate_value_is_a_minimum_of_its_loss_whatever_a_state_adds(key):
    n = 100_000
    t = jax.random.uniform(jax.random.fold_in(key, 2), (n,))
    actions, noise = two_modes(key, n), jax.random.normal(jax.random.fold_in(key, 3), (n, 1))
    x = t[:, None] * actions + (1 - t[:, None]) * noise

    class Moved(eqx.Module):
        by: jnp.ndarray

        def logit(self, t, x, condition):
            basis = jnp.stack([jnp.ones_like(t), t * x[:, 0], t**2 * jnp.sin(3 * x[:, 0])])
            return ExactValue(2.0).logit(t, x) - 1.3 + self.by @ basis

    def loss(by):
        return intermediate_loss(Moved(by), x, x, t, 2.0 * actions[:, 0] - 1.3)

    slope, curvature = jax.jit(lambda by: (jax.grad(loss)(by), jax.hessian(loss)(by)))(jnp.zeros(3))
    np.testing.assert_allclose(slope, 0.0, atol=0.01)
    assert np.all(np.linalg.eigvalsh(curvature) > 0.01)


def test_the_unit_of_flowq_does_not_change_when_a_constant_is_added_to_q():
    from tiltflow.agents.actor_critic import q_size, q_spread

    class Raised(eqx.Module):
        def __call__(self, inputs):
            return SLOPE * inputs[..., 1:] + 100.0

    data, q = columns(), Ensemble.of([Raised()])
    critic = Critic(TrainState(q, q, ()), None)
    spread = q_spread(critic, data, EXPECTILE)
    assert spread == pytest.approx(float(q_spread(known_critic(SLOPE), data, EXPECTILE)), rel=1e-3)
    assert spread == pytest.approx(SLOPE * STD, rel=0.05)
    assert q_size(critic, data, EXPECTILE) > 100


def test_what_cannot_be_is_refused():
    for changes, text in (
        ({"reference": "data"}, "baseline = value"),
        ({"baseline": "value", "data_share": 0.5}, "data_share"),
        ({"support_noise": -1.0}, "support_noise"),
        ({"max_weight": 0.0}, "max_weight"),
    ):
        with pytest.raises(UserError, match=text):
            QIPOConfig(**changes)
    with pytest.raises(UserError, match="critic is finished before the policy"):
        FlowQConfig(reading="clean")


@pytest.mark.parametrize("eta", [0.0, 0.35, 0.45, 2.0])
def test_a_mean_shift_plays_one_of_two_modes_and_the_better_one_only_where_q_outweighs_its_share(eta):
    """.6 of the draws at −.5 and .4 at .5, Q = a, whose gap is 1: log 1.5 = .405."""
    drawn = np.where(np.arange(100) < 60, -0.5, 0.5).astype(np.float32)[None, :, None]
    (action,) = jax.jit(consensus)(drawn, eta * drawn[..., 0], 0.1)
    assert action[0] == pytest.approx(0.5 if eta > np.log(1.5) else -0.5, abs=1e-3)


def test_a_mean_shift_of_one_mode_is_about_its_mean(key):
    config = replace(SAMPLED, play="mean-shift", play_candidates=64, play_bandwidth=0.5)
    play = jax.jit(lambda x: play_actions(exact_flow(LAW), x, key, SPEC, config))
    actions = play(jnp.zeros((500, 1)))
    assert np.mean(actions) == pytest.approx(MEAN, abs=0.005)
    assert np.std(actions) < 0.3 * STD


def test_a_pessimistic_ensemble_is_its_mean_less_rho_deviations():
    values = jnp.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    config = replace(EXPECTILE, ensemble=3, aggregate="pessimistic", pessimism=0.5)
    np.testing.assert_allclose(join(values, config), [3 - 0.5 * np.sqrt(8 / 3), 5.0], rtol=1e-6)


def test_a_pessimistic_ensemble_of_one_is_that_member_and_its_slope():
    """A standard deviation of 0 has no slope: guidance by one member was NaN."""
    config = replace(EXPECTILE, ensemble=1, aggregate="pessimistic", pessimism=0.5)
    value, slope = jax.value_and_grad(lambda x: jnp.sum(join(x, config)))(jnp.array([[3.0, -2.0]]))
    assert (value, slope.tolist()) == (1.0, [[1.0, 1.0]])

"""What the settings of flows, critics and actors say, with networks that are known: nothing is trained."""

from operator import attrgetter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import SPEC, KnownQ, agent_of, arbitrary, exact_flow, known_critic

from tiltflow.agents.actor import Actor
from tiltflow.agents.fql import Distilled
from tiltflow.agents.sampling import consensus
from tiltflow.critics import Critic, Ensemble, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.exact import gaussian_mixture
from tiltflow.model_settings import CriticConfig
from tiltflow.optimize import TrainState, begin

MEAN, STD = 0.1, 0.15
LAW = gaussian_mixture(np.ones(1), np.array([[MEAN]]), np.full((1, 1, 1), STD**2))
MAX_OF_4 = 1.0294
"""E[max of 4] of N(0, 1)."""

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def rows(count: int = 8, actions: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    columns = {
        "observations": random.standard_normal((count, 1)),
        "actions": 0.5 * random.standard_normal((count, actions)),
        "rewards": random.standard_normal(count),
        "next_observations": random.standard_normal((count, 1)),
        "terminations": np.zeros(count),
        "following_actions": np.zeros((count, actions)),
        "followed": np.ones(count),
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def begun(agent, stage: int):
    """The state and the batch with which the stage begins."""
    of_stage = agent.stages[stage]

    @jax.jit
    def begin_stage(state, data, key):
        state = of_stage.refresh(state, data, key)
        return state, {**data, **(of_stage.precompute(state, data, key) if of_stage.precompute else {})}

    return begin_stage(arbitrary(agent), rows(), jax.random.key(1))


# Optimisers


PARTS = [
    # algorithm, stage, part of the state, its step size and its average's decay
    ("bc-flow", 0, "policy", "flow__learning_rate", "flow__ema"),
    ("qipo-ot", 2, "policy", "improvement_learning_rate", "improvement_ema"),
    ("qgpo", 2, "energy", "energy_learning_rate", "flow__ema"),
    ("flowq", 2, "policy", "flow__learning_rate", "flow__ema"),
    ("iql", 0, "policy", "actor__learning_rate", None),
    ("iql", 0, "critic.q", "critic__learning_rate", "critic__tau"),
]


@pytest.mark.parametrize(("algorithm", "stage", "part", "size", "average"), PARTS)
def test_the_first_step_of_adam_is_as_long_as_the_step_size_and_the_average_follows(
    algorithm, stage, part, size, average
):
    """Adam's first step moves every parameter by the step size up or down its gradient."""
    follow = 0.25
    settings = {size: 0.0123} | ({average: follow} if average else {})
    agent = agent_of(algorithm, **settings)
    state, batch = begun(agent, stage)
    after, _ = jax.jit(agent.stages[stage].update)(state, batch, jax.random.key(2))
    before, after = (attrgetter(part)(one) for one in (state, after))
    moved = max(np.abs(a - b).max() for a, b in pairs(after.params, before.params))
    assert moved == pytest.approx(0.0123, rel=1e-2)
    step = follow if average == "critic__tau" else 1 - follow
    for old, new, now in zip(*map(jax.tree.leaves, (before.ema, after.params, after.ema)), strict=True):
        np.testing.assert_allclose(now, old + step * (new - old) if average else now, atol=1e-6)


def pairs(one, other):
    return zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)


@pytest.mark.parametrize(
    ("algorithm", "decay", "steps"),
    [("bc-flow", "flow__decay", "behaviour_steps"), ("iql", "actor__decay", "actor_critic_steps")],
)
def test_a_step_size_falls_to_nothing_over_its_stage_only_where_it_is_asked_to(algorithm, decay, steps):
    for choice, moves in (("cosine", False), ("none", True)):
        agent = agent_of(algorithm, **{decay: choice, steps: 1})
        state, batch = begun(agent, 0)
        update = jax.jit(agent.stages[0].update)
        once, _ = update(state, batch, jax.random.key(2))
        twice, _ = update(once, batch, jax.random.key(3))
        gaps = [np.abs(a - b).max() for a, b in pairs(twice.policy.params, once.policy.params)]
        assert (max(gaps) > 1e-5) == moves


# Play


def played(algorithm: str, **settings) -> np.ndarray:
    """Actions of a policy whose law is LAW, under Q = a."""
    agent = agent_of(algorithm, **settings)
    state = arbitrary(agent)
    state = state._replace(policy=state.policy._replace(ema=exact_flow(LAW)))
    if hasattr(state, "critic"):
        state = state._replace(critic=known_critic(1.0))
    return np.asarray(jax.jit(agent.act)(state, jnp.zeros((20_000, 1)), jax.random.key(1)))[:, 0]


def test_one_step_of_euler_from_noise_lands_at_the_mean():
    """On the path ot the exact velocity of the noise z is E[data] − z."""
    actions = played("bc-flow", flow__solver="euler", flow__num_steps=1)
    np.testing.assert_allclose(actions, MEAN, atol=1e-5)


def test_play_of_less_noise_is_narrower():
    actions = played("bc-flow", flow__num_steps=20, flow__play_noise=0.3)
    assert actions.mean() == pytest.approx(MEAN, abs=0.005)
    assert actions.std() == pytest.approx(0.3 * STD, rel=0.02)


SHIFT = {"flow__play": "mean-shift", "flow__num_steps": 20, "flow__play_noise": 1.0}


@pytest.mark.parametrize(
    ("candidates", "bandwidth", "eta", "mean", "std"),
    [
        (2, 100.0, 0.0, MEAN, STD / np.sqrt(2)),  # a wide kernel: the mean of both
        (2, 1e-4, 0.0, MEAN, STD),  # a narrow one: either alone
        (4, 1e-4, 1e4, MEAN + MAX_OF_4 * STD, 0.7010 * STD),  # the one of highest Q
    ],
)
def test_a_mean_shift_is_over_its_candidates_within_its_bandwidth_and_weighted_by_q(
    candidates, bandwidth, eta, mean, std
):
    actions = played(
        "ifql", num_candidates=1, flow__play_candidates=candidates, flow__play_bandwidth=bandwidth,
        flow__play_eta=eta, **SHIFT,
    )  # fmt: skip
    assert actions.mean() == pytest.approx(mean, abs=0.004)
    assert actions.std() == pytest.approx(std, rel=0.03)


def test_a_mean_shift_weighs_draws_by_a_normal_kernel():
    """From 0 a draw at d = 0.3 counts exp(−d²/(2h²)) with h = 0.2, and one far away nothing."""
    drawn = jnp.array([[[0.0], [0.0], [0.3], [9.0]]])
    near = np.exp(-(0.3**2) / (2 * 0.2**2))
    action = jax.jit(consensus)(drawn, jnp.zeros((1, 4)), 0.2)
    assert action == pytest.approx(0.3 * near / (2 + near), rel=1e-5)


@pytest.mark.parametrize("algorithm", ["ifql", "flow-ql", "flowq"])
def test_the_best_of_four_candidates_is_played(algorithm):
    actions = played(algorithm, num_candidates=4, flow__num_steps=20, flow__play_noise=1.0)
    assert actions.mean() == pytest.approx(MEAN + MAX_OF_4 * STD, abs=0.004)


# Critics


critic_step = jax.jit(update_critic, static_argnames="config")


def ensemble(*slopes: float) -> Critic:
    q = Ensemble.of([KnownQ(jnp.float32(slope), jnp.float32(0.0)) for slope in slopes])
    return Critic(begin(q, optax.adam(3e-4)), None)


@pytest.mark.parametrize(
    ("settings", "joined"),
    [
        ({"aggregate": "min"}, 1.0),
        ({"aggregate": "mean"}, 3.0),
        ({"aggregate": "pessimistic", "pessimism": 0.25}, 2.5),
    ],
)
def test_an_ensemble_is_joined_as_asked_for(settings, joined):
    """Of two members 1 and 5, whose mean is 3 and whose deviation 2."""
    config = CriticConfig(**settings)
    states, actions = jnp.zeros((1, 1)), jnp.ones((1, 1))
    assert q_value(ensemble(1.0, 5.0), states, actions, config) == pytest.approx(joined)
    batch = {**rows(1), "next_actions": actions, "rewards": jnp.zeros(1)}
    _, metrics = critic_step(ensemble(1.0, 5.0), batch, CriticConfig(kind="policy", **settings))
    assert metrics["target_mean"] == pytest.approx(0.99 * joined, rel=1e-5)


def test_the_backups_are_discounted_and_the_softmax_one_has_its_temperature():
    batch = {
        **rows(2),
        "next_actions": jnp.ones((2, 1)),
        "next_support_actions": jnp.array([[[0.0], [1.0]]] * 2),
    }
    batch |= {"rewards": jnp.array([2.0, 4.0]), "terminations": jnp.array([0.0, 1.0])}
    for kind, beta, value in (
        ("policy", 1.0, 1.0),
        ("in-support-softmax", 0.0, 0.5),
        ("in-support-softmax", 3.0, 1 / (1 + np.exp(-3))),
    ):
        _, metrics = critic_step(ensemble(1.0), batch, CriticConfig(kind=kind, beta=beta, discount=0.5))
        assert metrics["target_mean"] == pytest.approx((2 + 0.5 * value + 4) / 2, rel=1e-5)


class Constant(eqx.Module):
    level: jnp.ndarray

    def __call__(self, inputs):
        return jnp.broadcast_to(self.level, (*inputs.shape[:-1], 1))


@pytest.mark.parametrize("expectile", [0.5, 0.7])
def test_the_value_of_an_expectile_weighs_what_lies_above_it(expectile):
    batch = {**rows(2), "actions": jnp.array([[-1.0], [2.0]])}
    critic = ensemble(1.0)._replace(value=begin(Constant(jnp.zeros(())), optax.adam(3e-4)))
    _, metrics = critic_step(critic, batch, CriticConfig(kind="expectile", expectile=expectile))
    assert metrics["value_loss"] == pytest.approx(((1 - expectile) * 1 + expectile * 4) / 2, rel=1e-5)


@pytest.mark.parametrize("algorithm", ["qgpo", "qipo-ot", "flowq"])
def test_as_many_actions_of_the_next_state_are_drawn_as_asked_for(algorithm):
    agent = agent_of(algorithm, critic__kind="in-support-softmax", critic__num_support_actions=3)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    columns = jax.eval_shape(agent.stages[1].precompute, state, rows(), jax.random.key(0))
    assert columns["next_support_actions"].shape == (8, 3, 1)


@pytest.mark.parametrize(("algorithm", "part"), [("iql", "actor"), ("ifql", "flow")])
def test_the_smaller_batch_is_the_beginning_of_the_larger(algorithm, part):
    """The critic takes 3 rows of 8: the other rows may be anything."""
    agent = agent_of(algorithm, critic__batch_size=3, critic__discount=0.0, **{f"{part}__batch_size": 8})
    batch = rows()
    _, metrics = jax.jit(agent.stages[0].update)(arbitrary(agent), batch, jax.random.key(2))
    assert metrics["target_mean"] == pytest.approx(float(batch["rewards"][:3].mean()), rel=1e-5)


# TD3+BC and ReBRAC


class Still(eqx.Module):
    """The action 0 at every state, in the place of a network."""

    size: int = eqx.field(static=True)
    level: jnp.ndarray

    def __call__(self, observations):
        return self.level + jnp.zeros((*observations.shape[:-1], self.size))


def metrics_of_td3(algorithm: str, *, spec: Spec = SPEC, curvature: float = 0.0, count: int = 8, **settings):
    """Metrics of a step of the policy that stays at 0, under Q = −½·curvature·a² of the first entry."""
    agent = agent_of(algorithm, spec, critic__discount=0.5, critic__ensemble=1, **settings)
    data = rows(count, spec.action_size)
    critic = known_critic(0.0, curvature)
    state = arbitrary(agent)._replace(
        policy=begin(Actor(Still(spec.action_size, jnp.zeros(())), squashed=True), optax.adam(3e-4)),
        critic=Critic(begin(critic.q.params, optax.adam(3e-4)), None),
    )
    return data, jax.jit(agent.stages[0].update)(state, data, jax.random.key(3))[1]


@pytest.mark.parametrize(
    ("noise", "limit", "variance"), [(0.0, 0.5, 0.0), (0.3, 10.0, 0.09), (1e4, 0.4, 0.16)]
)
def test_the_next_action_of_td3_is_smoothed_by_its_noise_within_its_limit(noise, limit, variance):
    """y = r + γ·E[−½c(0 + noise)²] with γ = ½ and c = 4: the mean target falls by the noise's variance."""
    data, metrics = metrics_of_td3(
        "td3-bc", curvature=4.0, count=40_000, critic__batch_size=40_000, target_noise=noise,
        target_noise_limit=limit, critic_penalty=0.0,
    )  # fmt: skip
    assert data["rewards"].mean() - metrics["target_mean"] == pytest.approx(variance, abs=0.003)


@pytest.mark.parametrize(("distance", "share"), [("mean", 0.5), ("sum", 1.0)])
@pytest.mark.parametrize("algorithm", ["td3-bc", "rebrac"])
def test_the_distance_to_the_data_is_the_mean_or_the_sum_over_entries(algorithm, distance, share):
    data, metrics = metrics_of_td3(
        algorithm, spec=Spec(1, 2), curvature=2.0, distance=distance, target_noise=0.0, critic_penalty=3.0,
        actor_penalty=7.0,
    )  # fmt: skip
    squares = np.sum(data["actions"] ** 2, axis=1)
    assert metrics["matching_loss"] == pytest.approx(share * float(squares.mean()), rel=1e-5)
    assert metrics["loss"] == pytest.approx(7 * share * float(squares.mean()), rel=1e-5)


# Policies through their sampler, and of one step


def learning(critic: Critic) -> Critic:
    return Critic(begin(critic.q.params, optax.adam(0.0)), critic.value)


def test_the_policy_of_diffusion_ql_goes_up_q_by_eta_and_by_no_more_than_the_norm_of_its_gradient():
    settings = {"eta": 3.0, "flow__num_steps": 1, "flow__learning_rate": 0.01, "critic__learning_rate": 0.0}
    moved = {}
    for norm in (1e-11, 1e3):
        agent = agent_of("flow-ql", grad_norm=norm, **settings)
        state, batch = begun(agent, 0)
        state = state._replace(critic=learning(known_critic(2.0)))
        after, metrics = jax.jit(agent.stages[0].update)(state, batch, jax.random.key(2))
        moved[norm] = max(np.abs(a - b).max() for a, b in pairs(after.policy.params, state.policy.params))
        size = 2 * np.abs(batch["actions"]).mean()
        led = metrics["loss"] - metrics["matching_loss"]
        assert led == pytest.approx(float(-3 * metrics["q_policy"] / size), rel=1e-4)
    # Adam's step does not depend on the size of a gradient, down to 10⁻⁸.
    assert moved[1e3] == pytest.approx(0.01, rel=1e-2)
    assert moved[1e-11] < 0.01 * 1e-2


class OneAction(eqx.Module):
    """The same action whatever the state and the noise, in the place of a one-step policy."""

    level: jnp.ndarray

    def __call__(self, inputs):
        return jnp.broadcast_to(self.level, (*inputs.shape[:-1], 1))


def test_alpha_of_fql_weighs_the_distance_to_the_flow():
    """One step of Euler of an exact flow lands at its mean, 0.1; the policy plays 0.4."""
    agent = agent_of("fql", alpha=7.0, normalize_q=False, critic__learning_rate=0.0, flow__num_steps=1)
    policy = Distilled(exact_flow(LAW), OneAction(jnp.float32(0.4)))
    state = arbitrary(agent)._replace(
        policy=begin(policy, optax.adam(3e-4)), critic=learning(known_critic(2.0))
    )
    _, metrics = jax.jit(agent.stages[0].update)(state, rows(), jax.random.key(2))
    assert metrics["distillation_loss"] == pytest.approx((0.4 - MEAN) ** 2, rel=1e-4)
    assert metrics["loss"] == pytest.approx(
        float(metrics["matching_loss"]) + 7 * (0.4 - MEAN) ** 2 - 2 * 0.4, rel=1e-4
    )


def test_the_weights_of_iql_are_in_units_of_the_spread_of_the_advantage():
    """exp(α·(a − V)/std) of Q = a, V = 0.3."""
    agent = agent_of("iql", alpha=0.7, energy_scale="advantage", critic__learning_rate=0.0)
    critic = learning(known_critic(1.0))._replace(value=begin(Constant(jnp.float32(0.3)), optax.adam(0.0)))
    state, batch = arbitrary(agent)._replace(critic=critic), rows()
    _, metrics = jax.jit(agent.stages[0].update)(state, batch, jax.random.key(2))
    advantage = np.asarray(batch["actions"][:, 0]) - 0.3
    expected = np.exp(0.7 * advantage / advantage.std()).mean()
    assert metrics["weight"] == pytest.approx(expected, rel=1e-4)


# QGPO


class Uphill(eqx.Module):
    """A potential of the same slope everywhere, in the place of a network."""

    slope_of_all: jnp.ndarray

    def slope(self, t, x, condition):
        return jnp.broadcast_to(self.slope_of_all, x.shape)


def test_the_policy_of_qgpo_is_guided_in_proportion_to_its_scale():
    """Along a slope that is the same everywhere the guided ODE of a Gaussian is affine in the scale."""
    means = []
    for scale in (0.0, 1.0, 2.0):
        agent = agent_of(
            "qgpo", guidance_scale=scale, flow__path="ot", flow__solver="midpoint", flow__num_steps=5
        )
        state = arbitrary(agent)
        state = state._replace(
            policy=state.policy._replace(ema=exact_flow(LAW)),
            energy=TrainState(None, Uphill(jnp.float32(2.0)), None),
        )
        means.append(float(jax.jit(agent.act)(state, jnp.zeros((500, 1)), jax.random.key(1)).mean()))
    assert means[1] - means[0] > 0.2
    assert means[2] - means[0] == pytest.approx(2 * (means[1] - means[0]), rel=1e-3)


@pytest.mark.parametrize(("scale", "unit"), [("none", 1.0), ("advantage", 2.0 * STD)])
def test_qgpo_weighs_its_support_by_beta_in_its_unit(scale, unit):
    """Q = 2a of support N(m, s²): the weighted mean of Q is 2m + β·(2s)²/u, where M is large."""
    agent = agent_of(
        "qgpo", beta=0.7, energy_scale=scale, num_support_actions=2_000, flow__path="ot",
        flow__solver="midpoint", flow__num_steps=20,
    )  # fmt: skip
    state = arbitrary(agent)
    state = state._replace(policy=state.policy._replace(ema=exact_flow(LAW)), critic=known_critic(2.0))
    stage, data, key = agent.stages[-1], rows(16), jax.random.key(4)
    state = jax.jit(stage.refresh)(state, data, key)
    columns = jax.jit(stage.precompute)(state, data, key)
    assert columns["support_actions"].shape == (16, 2_000, 1)
    _, metrics = jax.jit(stage.update)(state, {**data, **columns}, key)
    assert state.scale == pytest.approx(unit, rel=0.02)
    assert metrics["q_weighted"] == pytest.approx(2 * MEAN + 0.7 * (2 * STD) ** 2 / unit, abs=0.01)

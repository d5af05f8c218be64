"""One step of iql, fql, rebrac and others, against their equations for Q, V and policies that are known."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import known_critic

from tiltflow.agents.actor import Actor
from tiltflow.agents.actor_critic import ActorCriticState, policy_optimizer
from tiltflow.agents.registry import ALGORITHMS, build_agent
from tiltflow.critics import Critic
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import NetworkConfig
from tiltflow.optimize import begin

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SPEC = Spec(observation_size=1, action_size=1)
SMALL = NetworkConfig(width=8, depth=1)
BATCH = {
    "observations": jnp.array([[0.0], [1.0], [2.0], [3.0]]),
    "actions": jnp.array([[-0.5], [0.25], [0.5], [0.75]]),
    "rewards": jnp.array([1.0, 2.0, 3.0, 4.0]),
    "next_observations": jnp.array([[0.2], [-0.4], [0.6], [0.8]]),
    "terminations": jnp.array([0.0, 0.0, 0.0, 1.0]),
    "following_actions": jnp.array([[0.6], [0.1], [0.0], [0.0]]),
    "followed": jnp.array([1.0, 1.0, 0.0, 0.0]),
}


class Linear(eqx.Module):
    """slope·s, in the place of a network."""

    slope: jnp.ndarray

    def __call__(self, inputs):
        return self.slope * inputs[..., :1]


def learning(critic: Critic) -> Critic:
    """The known critic with what an optimiser remembers of it."""
    return Critic(begin(critic.q.params, optax.adam(3e-4)), critic.value)


def small(name: str, **changes):
    config = ALGORITHMS[name].config
    if hasattr(config, "flow"):
        config = replace(config, flow=replace(config.flow, network=SMALL, num_steps=2))
    else:
        config = replace(config, actor=replace(config.actor, network=SMALL))
    config = replace(config, critic=replace(config.critic, network=SMALL, ensemble=1, discount=0.5))
    return replace(config, **changes)


def step(name: str, config, state: ActorCriticState, key: int = 0):
    """The state and metrics after one step."""
    (stage,) = build_agent(name, config, SPEC, 100).stages
    return jax.jit(stage.update)(state, BATCH, jax.random.key(key))


def start(name: str, config) -> ActorCriticState:
    return build_agent(name, config, SPEC, 100).init(jax.random.key(0))


def test_iql_regresses_with_clipped_exponential_advantages():
    config = small("iql", energy_scale="none", alpha=2.0, max_weight=3.0)
    # Learning rates of zero leave Q(s, a) = 2a and V(s) = s/4 as they are.
    config = replace(config, critic=replace(config.critic, learning_rate=0.0))
    value = begin(Linear(jnp.float32(0.25)), optax.adam(0.0))
    critic = learning(known_critic(2.0))._replace(value=value)
    policy = begin(Actor(Linear(jnp.float32(0.1)), squashed=False), optax.adam(3e-4))
    _, metrics = step("iql", config, ActorCriticState(policy, critic))

    a, s = np.array([-0.5, 0.25, 0.5, 0.75]), np.arange(4.0)
    weights = np.minimum(np.exp(2.0 * (2 * a - s / 4)), 3.0)
    assert weights[3] == 3.0 > weights[2]
    assert metrics["weight"] == pytest.approx(weights.mean(), rel=1e-5)
    assert metrics["loss"] == pytest.approx(np.mean(weights * (0.1 * s - a) ** 2) / 2, rel=1e-5)
    next_v = np.array([0.2, -0.4, 0.6, 0.8]) / 4
    target = np.array([1.0, 2.0, 3.0, 4.0]) + 0.5 * np.array([1, 1, 1, 0]) * next_v
    assert metrics["target_mean"] == pytest.approx(target.mean(), rel=1e-5)
    error = 2 * a - s / 4
    tau = config.critic.expectile
    assert metrics["value_loss"] == pytest.approx(
        np.mean(np.where(error < 0, 1 - tau, tau) * error**2), rel=1e-5
    )


def test_rebrac_penalises_target_and_policy_for_leaving_the_data():
    config = small("rebrac", actor_penalty=0.3, critic_penalty=2.0, target_noise=0.0)
    config = replace(config, critic=replace(config.critic, learning_rate=0.0))
    # π(s) = tanh(s), Q(s, a) = 2a.
    policy = begin(Actor(Linear(jnp.float32(1.0)), squashed=True), optax.adam(3e-4))
    state = start("rebrac", config)._replace(policy=policy, critic=learning(known_critic(2.0)))
    _, metrics = step("rebrac", config, state)

    following, followed = np.array([0.6, 0.1, 0.0, 0.0]), np.array([1, 1, 0, 0])
    played = np.tanh([0.2, -0.4, 0.6, 0.8])
    backed = 2 * played - 2.0 * (played - following) ** 2 * followed
    target = np.array([1.0, 2.0, 3.0, 4.0]) + 0.5 * np.array([1, 1, 1, 0]) * backed
    assert metrics["target_mean"] == pytest.approx(target.mean(), rel=1e-5)

    now = np.tanh(np.arange(4.0))
    q, cloning = 2 * now, (now - np.array([-0.5, 0.25, 0.5, 0.75])) ** 2
    expected = 0.3 * cloning.mean() - q.mean() / np.abs(q).mean()
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_actor_of_td3_steps_at_every_so_many_steps_of_the_critic():
    config = small("td3-bc", actor_every=3)
    state, moved = start("td3-bc", config), []
    for number in range(6):
        after, _ = step("td3-bc", config, state, number)
        same = jax.tree.map(lambda a, b: bool((a == b).all()), state.policy.params, after.policy.params)
        moved.append(not all(jax.tree.leaves(same)))
        state = after
    assert moved == [True, False, False, True, False, False]


def test_the_step_size_of_a_policy_that_steps_more_rarely_falls_to_its_end_too():
    config = small("td3-bc")
    config = replace(config, actor=replace(config.actor, decay="cosine", learning_rate=1.0))
    optimizer = policy_optimizer(config.actor, 10, every=2)
    state, sizes = optimizer.init(jnp.zeros(())), []
    for _ in range(6):
        change, state = optimizer.update(jnp.ones(()), state)
        sizes.append(float(-change))
    assert sizes[0] == pytest.approx(1.0, rel=1e-3)
    assert sizes[5] == pytest.approx(0.0, abs=1e-6)


def test_fql_teaches_its_flow_by_matching_alone():
    """Distillation and Q lead the one-step policy; their gradient must not reach the flow."""
    flows, policies = [], []
    for alpha in (0.0, 300.0):
        config = small("fql", alpha=alpha, normalize_q=False)
        state = start("fql", config)._replace(critic=learning(known_critic(2.0)))
        after, _ = step("fql", config, state)
        flows.append(jax.tree.leaves(after.policy.params.flow))
        policies.append(jax.tree.leaves(after.policy.params.one_step))
    for one, other in zip(*flows, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(*policies, strict=True))


def test_fql_measures_q_in_units_of_the_datas_where_it_is_asked_to():
    losses = {}
    for scale in (1.0, 50.0):
        for normalize in (True, False):
            config = small("fql", alpha=1.0, normalize_q=normalize)
            config = replace(config, critic=replace(config.critic, learning_rate=0.0))
            state = start("fql", config)._replace(critic=learning(known_critic(2.0 * scale)))
            _, metrics = step("fql", config, state)
            led = metrics["loss"] - metrics["matching_loss"] - metrics["distillation_loss"]
            losses[scale, normalize] = float(led)
            size = 2 * scale * 0.5 if normalize else 1.0  # mean |a| of the data is ½
            assert led == pytest.approx(-float(metrics["q_policy"]) / size, rel=1e-3, abs=1e-6)
    assert losses[1.0, True] == pytest.approx(losses[50.0, True], rel=1e-3, abs=1e-6)
    assert losses[50.0, False] == pytest.approx(50 * losses[1.0, False], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ["fql", "td3-bc", "rebrac", "flow-ql"])
def test_a_policy_follows_the_trained_critic_and_its_backup_the_target(name):
    config = small(name, **({"normalize_q": False} if name == "fql" else {}))
    config = replace(config, critic=replace(config.critic, learning_rate=0.0))
    trained, target = learning(known_critic(2.0)), known_critic(-6.0)
    states = [
        start(name, config)._replace(critic=trained._replace(q=trained.q._replace(ema=average)))
        for average in (trained.q.params, target.q.params)
    ]
    (same, first), (other, metrics) = ((step(name, config, state)) for state in states)
    assert metrics["q_policy"] == first["q_policy"] != 0
    assert metrics["target_mean"] != first["target_mean"]
    if name != "flow-ql":  # whose unit of Q is the target's
        for a, b in zip(*(jax.tree.leaves(after.policy.params) for after in (same, other)), strict=True):
            np.testing.assert_array_equal(a, b)

"""β by the data, weights of half an ensemble, and a critic that goes on learning: their laws."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import FLOW, SPEC, KnownQ

from tiltflow.agents import qipo
from tiltflow.agents.judged import LARGEST_BETA, SMALLEST_BETA, halves, judge_beta
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.critics import Critic, Ensemble, q_value
from tiltflow.errors import UserError
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.optimize import TrainState

SMALL = NetworkConfig(width=16, depth=1, activation="relu")
CONFIG = QIPOConfig(
    flow=replace(FLOW, network=SMALL, num_steps=2), critic=CriticConfig(network=SMALL),
    behaviour_steps=1, critic_steps=1, improvement_steps=2, refresh_every=1, num_support_actions=4,
)  # fmt: skip


def critic_of(*slopes: float) -> Critic:
    q = Ensemble.of([KnownQ(jnp.float32(slope), jnp.float32(0.0)) for slope in slopes])
    return Critic(TrainState(q, q, ()), None)


def test_beta_is_where_the_error_of_the_weighing_half_outweighs_what_it_knows(key):
    """Of actions N(0, 1), Q_A = a and Q_B = a − ra²/2 the weights give β − r(1 + β²)/2: best at 1/r."""
    actions = jax.random.normal(key, (40, 20_000))
    for r in (0.5, 1.0, 2.0):
        beta = judge_beta(-actions, -(actions - 0.5 * r * actions**2), jnp.ones(()))
        assert beta == pytest.approx(1 / r, rel=0.12)  # two points of the grid
    assert judge_beta(-actions, -actions, jnp.ones(())) == pytest.approx(LARGEST_BETA)
    assert judge_beta(-actions, actions, jnp.ones(())) == pytest.approx(SMALLEST_BETA)


def test_halves_share_no_member_and_leave_none_out():
    one, other = halves(critic_of(1.0, 2.0, 4.0))
    states, action = jnp.zeros((1, 1)), jnp.ones((1, 1))
    mean = replace(CONFIG.critic, aggregate="mean")
    assert q_value(one, states, action, mean) == pytest.approx(1.0)
    assert q_value(other, states, action, mean) == pytest.approx(3.0)


def rows(count: int = 64) -> dict[str, jnp.ndarray]:
    states, actions = jnp.zeros((count, 1)), jax.random.uniform(jax.random.key(7), (count, 1)) - 0.5
    return {
        "observations": states, "next_observations": states, "actions": actions, "rewards": actions[:, 0],
        "terminations": jnp.zeros(count),
    }  # fmt: skip


def improved(config: QIPOConfig, steps: int = 1, **state):
    """The state and the columns after the first refresh and some steps of the improvement."""
    agent = qipo.build(config, SPEC, 0)
    stage, key, data = agent.stages[-1], jax.random.key(5), rows()
    begun = stage.refresh(agent.init(key)._replace(**state), data, key)
    columns = {**data, **stage.precompute(begun, data, key)}
    after = begun
    for _ in range(steps):
        after, _ = jax.jit(stage.update)(after, columns, key)
    return stage, columns, begun, after


def test_weights_are_of_the_first_half_and_beta_is_by_both():
    _, columns, begun, _ = improved(
        replace(CONFIG, split_ensemble=True, beta="auto", annealed=False),
        steps=0,
        critic=critic_of(1.0, -1.0),
    )
    np.testing.assert_allclose(columns["support_energies"], -columns["support_actions"][..., 0], atol=1e-6)
    assert begun.beta == pytest.approx(SMALLEST_BETA)  # the second half is of the opposite opinion
    _, _, begun, _ = improved(replace(CONFIG, beta="auto"), steps=0, critic=critic_of(1.0, 1.0))
    assert begun.beta == pytest.approx(LARGEST_BETA)


def test_a_critic_goes_on_learning_between_refreshes_and_is_taken_over_at_the_next():
    stage, columns, begun, after = improved(replace(CONFIG, continue_critic=True), steps=3)
    assert columns["next_support_actions"].shape == (64, 16, 1)

    def same(one, other):
        return all(map(np.array_equal, jax.tree.leaves(one.q), jax.tree.leaves(other.q)))

    assert same(after.critic, begun.critic)
    assert same(begun.learner, begun.critic)
    assert not same(after.learner, after.critic)
    refreshed = stage.refresh(after, rows(), jax.random.key(6))
    assert same(refreshed.critic, after.learner)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"beta": "auto", "critic": replace(CONFIG.critic, ensemble=1)}, "critic.ensemble"),
        ({"split_ensemble": True, "critic": replace(CONFIG.critic, ensemble=1)}, "critic.ensemble"),
        ({"beta": "auto", "energy_scale": "none"}, "energy_scale"),
        ({"distill_alpha": -1.0}, "distill_alpha"),
    ],
)
def test_what_cannot_be_is_refused(changes, text):
    with pytest.raises(UserError, match=text):
        replace(CONFIG, **changes)

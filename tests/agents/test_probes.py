"""Problems with known answers, for every agent: one training on four states that ask one thing each.

State 0: an end, reward 0, actions at −0.6 and 0.6: nothing to improve. A flow keeps both modes; a policy of
one mode cannot, and a regression plays their mean, which the data never do.
State 1: an end, actions N(−0.2, 0.3²), reward −2·(a − 0.4)²: a policy that is improved plays higher ones.
States 2 and 3: a chain, reward 1 at its end whatever the actions: Q is γ in state 2 and 1 in state 3.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.agents.registry import ALGORITHMS, build_agent
from tiltflow.critics import q_value
from tiltflow.data.transitions import Spec, Transitions
from tiltflow.model_settings import NetworkConfig
from tiltflow.processes.stopping import StopFlag
from tiltflow.train_config import TrainConfig
from tiltflow.training.loop import Loop
from tiltflow.training.policy import identity_scaler, init_state
from tiltflow.training.rows import DeviceRows, row_columns
from tiltflow.training.schedule import Schedule

DISCOUNT = 0.5
ROWS = 4000
_STAGES = {"behaviour_steps": 1200, "critic_steps": 400, "improvement_steps": 400}
_STAGES |= {"num_support_actions": 8}
_STAGES |= {"improvement_learning_rate": 3e-3, "improvement_ema": 0.99, "improvement_batch_size": 64}
_STAGES |= {
    "support_noise": 1.0
}  # the tilt of all of the behaviour: of less noise, two modes keep other shares
# Q is worth a unit of its own here, where its differences within states 0, 2 and 3 are noise.
OPTIONS = {
    "qipo-ot": {"energy_scale": "none", "beta": 3.0, "refresh_every": 200, **_STAGES},
    "qipo-diff": {"energy_scale": "none", "beta": 3.0, "refresh_every": 200, **_STAGES},
    "qgpo": {
        "energy_scale": "none",
        "beta": 3.0,
        "behaviour_steps": 1200,
        "critic_steps": 400,
        "energy_steps": 400,
        "num_support_actions": 8,
    },
    "flowq": {
        "strength": 0.7,
        "behaviour_steps": 1500,
        "critic_steps": 400,
        "guidance_steps": 900,
        "support_noise": 1.0,
    },
    "iql": {"energy_scale": "none", "alpha": 3.0},
    "rebrac": {"critic_penalty": 0.0, "actor_penalty": 1.0},
    "ifql": {"num_candidates": 2},
    "idql": {"num_candidates": 2},
    "flow-ql": {"eta": 0.6},
    # The published η of 1 outweighs the error of the noise so far that the critic's errors choose a mode.
    "diffusion-ql": {"eta": 0.03},
}

# What is trained in one stage has so many steps, if not 1000: Q leads these flows while they are learned.
STEPS = {"flow-ql": 1500, "diffusion-ql": 1800}

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def problem() -> Transitions:
    rng = np.random.default_rng(0)
    state = np.tile(np.arange(4), ROWS // 4)
    actions = rng.uniform(-0.8, 0.8, ROWS)
    actions[0::4] = rng.choice([-0.6, 0.6], ROWS // 4) + 0.05 * rng.standard_normal(ROWS // 4)
    actions[1::4] = np.clip(-0.2 + 0.3 * rng.standard_normal(ROWS // 4), -1, 1)
    rewards = np.where(state == 1, -2 * (actions - 0.4) ** 2, state == 3)
    ends = state != 2
    observations = np.eye(4, dtype=np.float32)[state]
    return Transitions(
        observations=observations,
        actions=actions[:, None].astype(np.float32),
        rewards=rewards.astype(np.float32),
        next_observations=np.where(ends[:, None], observations, np.roll(observations, -1, axis=0)),
        terminations=ends,
        ends=ends,
    )


def config_of(name: str):
    config = replace(ALGORITHMS[name].config, **OPTIONS.get(name, {}))
    network, fast = NetworkConfig(width=32, depth=2), {"learning_rate": 3e-3, "batch_size": 128}
    if hasattr(config, "flow"):
        ema = config.flow.ema and 0.99
        flow = replace(config.flow, network=network, ema=ema, play_noise=1.0, **fast | {"batch_size": 64})
        config = replace(config, flow=replace(flow, num_steps=4) if name == "flow-ql" else flow)
    if hasattr(config, "actor"):
        config = replace(config, actor=replace(config.actor, network=network, **fast))
    if hasattr(config, "critic"):
        critic = replace(config.critic, network=network, tau=0.02, discount=DISCOUNT, **fast)
        config = replace(config, critic=critic)
    if name == "qgpo":
        config = replace(config, energy=network, energy_learning_rate=2e-3)
    return config


def trained(name: str):
    config, data = config_of(name), problem()
    agent = build_agent(name, config, Spec(4, 1), STEPS.get(name, 1000))
    training = TrainConfig(name, "file/probe", config, chunk=100)
    schedule, scaler = Schedule(agent.stages, training), identity_scaler(Spec(4, 1))
    state = init_state(agent, scaler, [0])
    rows = DeviceRows(row_columns(data, scaler))
    loop = Loop(schedule, [0], rows, state, lambda event: None, StopFlag())
    for here, length in schedule.chunks(0):
        loop.run_chunk(here, length)
    return agent, loop.state.agent, config


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_agent_gives_the_known_answers(name):
    agent, learned, config = trained(name)
    clones, act = not hasattr(config, "critic"), jax.jit(agent.act)

    def actions_at(state: int) -> np.ndarray:
        observations = jnp.broadcast_to(jnp.eye(4)[state], (500, 4))
        return np.asarray(act(learned, observations, jax.random.key(1)))[:, 0]

    # A flow keeps two modes where a policy of one mode cannot.
    actions = actions_at(0)
    if agent.deterministic:
        assert actions.std() < 1e-3
    else:
        assert np.mean(actions > 0.3) > 0.2
        assert np.mean(actions < -0.3) > 0.2
    if name == "iql":
        assert abs(actions.mean()) < 0.2

    # Every policy but cloning plays better actions than the data.
    mean = actions_at(1).mean()
    assert mean == pytest.approx(-0.2, abs=0.08) if clones else -0.05 < mean < 0.6

    # The critic knows the values of the chain.
    if not clones:
        actions = jnp.linspace(-0.6, 0.6, 7)[:, None]
        for state, value in ((2, DISCOUNT), (3, 1.0)):
            observations = jnp.broadcast_to(jnp.eye(4)[state], (7, 4))
            q = q_value(learned.critic, observations, actions, config.critic)
            np.testing.assert_allclose(q, value, atol=0.1)

"""QIPO's law: l improvements sample μ(a|s)·exp(lβQ(s, a)), equation (5.4), on a bandit with known Q."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import exact_flow, known_critic
from scipy.special import logsumexp, ndtr

from tiltflow.agents.qipo import build
from tiltflow.agents.qipo_improvement import played_energy
from tiltflow.agents.qipo_weights import support_weights
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.data.transitions import Spec
from tiltflow.exact import gaussian_mixture
from tiltflow.guidance.guided_paths import propose
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.optimize import run_steps

SPEC = Spec(observation_size=1, action_size=1)
BETA = 1.0
ROWS = 2000
LAW = gaussian_mixture(np.ones(2), np.array([[-0.35], [0.35]]), np.full((2, 1, 1), 0.15**2))


@pytest.fixture(scope="module")
def bandit():
    """Actions of LAW: a ~ ½N(−0.35, 0.15²) + ½N(0.35, 0.15²), of which Q is 2a."""
    noise = np.random.default_rng(0).standard_normal((ROWS, 1)).astype(np.float32)
    centre = np.where(np.arange(ROWS)[:, None] % 2 == 0, 0.35, -0.35).astype(np.float32)
    return {"observations": jnp.zeros((ROWS, 1)), "actions": jnp.asarray(centre + 0.15 * noise)}


def truth(beta: float) -> tuple[float, float]:
    """Mean, and share above 0, of μ·exp(2βa): the modes move by 2β·0.0225 and change weight."""
    means = np.array([-0.35, 0.35]) + 2 * beta * 0.0225
    log_weights = 2 * beta * np.array([-0.35, 0.35])
    weights = np.exp(log_weights - logsumexp(log_weights))
    return weights @ means, weights @ ndtr(means / 0.15)


def bandit_config(algorithm: str, reference: str, depth: int = 2):
    base = ALGORITHMS[algorithm].config
    network = NetworkConfig(width=64, depth=depth)
    return replace(
        base,
        flow=replace(base.flow, network=network, learning_rate=2e-3, ema=0.998, play_noise=1.0),
        support_noise=1.0,
        critic=CriticConfig(network=network),
        beta=BETA,
        annealed=False,
        energy_scale="none",
        include_data_action=reference != "current",
        reference=reference,
        improvement_learning_rate=2e-3,
        improvement_ema=0.998,
        improvement_batch_size=64,
        behaviour_steps=3000,
        critic_steps=1,
        improvement_steps=3000,
        refresh_every=1500,
    )


def refreshes(stage, number, state, bandit):
    """The state after each refresh of a stage and the steps that follow it, with the refresh's key."""
    run = jax.jit(run_steps, static_argnames=("update", "num_steps", "batch_size"))
    refresh, precompute = jax.jit(stage.refresh), stage.precompute and jax.jit(stage.precompute)
    every = stage.refresh_every or stage.steps
    for number_of_refresh, first in enumerate(range(0, stage.steps, every)):
        key = jax.random.fold_in(jax.random.key(2 + number), number_of_refresh)
        state = refresh(state, {k: v[:1000] for k, v in bandit.items()}, key)
        precomputed = precompute(state, bandit, key) if precompute else {}
        state, _ = run(
            stage.update, state, {**bandit, **precomputed}, key, first,
            num_steps=every, batch_size=stage.batch_size,
        )  # fmt: skip
        yield state, key


@pytest.fixture(scope="module")
def begun(bandit):
    """The state of qipo-ot after the behaviour, which no reference takes part in, with the exact Q."""
    agent = build(bandit_config("qipo-ot", "current", depth=3), SPEC, 0)
    ((state, _),) = refreshes(agent.stages[0], 0, agent.init(jax.random.key(1)), bandit)
    return state._replace(critic=known_critic(2.0), behaviour=state.policy.ema)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["current", "mixture"])
def test_refreshes_follow_the_iterated_tilt(bandit, begun, reference):
    follow(build(bandit_config("qipo-ot", reference, depth=3), SPEC, 0), begun, bandit)


@pytest.mark.slow
def test_refreshes_of_a_diffusion_follow_the_iterated_tilt_of_an_exact_behaviour(bandit):
    config = replace(bandit_config("qipo-diff", "behaviour"), improvement_ema=0.995)
    agent = build(config, SPEC, 0)
    behaviour = exact_flow(LAW, config.flow.path)
    state = agent.init(jax.random.key(1))._replace(critic=known_critic(2.0), behaviour=behaviour)
    follow(agent, state, bandit)


def follow(agent, state, bandit):
    act = jax.jit(agent.act)
    for refresh, (after, key) in enumerate(refreshes(agent.stages[-1], len(agent.stages) - 1, state, bandit)):
        actions = np.asarray(act(after, jnp.zeros((10_000, 1)), key))[:, 0]
        mean, above = truth(BETA * (refresh + 1))
        assert np.mean(actions) == pytest.approx(mean, abs=0.05)  # the tilts are 0.26, 0.14 apart
        assert np.mean(actions > 0) == pytest.approx(above, abs=0.05)


@pytest.mark.parametrize("reference", ["current", "behaviour", "mixture"])
@pytest.mark.parametrize("refresh", [1.0, 4.0])
@pytest.mark.parametrize("sigma", [0.0, 0.6])
def test_support_weights_are_importance_weights_of_the_iterated_tilt(reference, refresh, sigma):
    """Means under them are the tilt's, for support drawn exactly from what the reference names."""
    states, count, beta = 4000, 16, 0.7
    config = replace(
        ALGORITHMS["qipo-ot"].config, reference=reference, beta=beta, num_support_actions=count,
        include_data_action=False,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(3), 3)
    behaviour = jax.random.normal(keys[0], (states, count))  # μ = N(0, 1), Q = a: μ·exp(bQ) = N(b, 1)
    policy = jax.random.normal(keys[1], (states, count)) + beta * (refresh - 1)
    half = count // 2
    support = {
        "current": policy,
        "behaviour": behaviour,
        "mixture": jnp.concatenate([behaviour[:, :half], policy[:, :half]], axis=1),
    }[reference].reshape(4, -1)  # many support actions of few states: the finite-M bias is out of the way
    if reference == "mixture":
        parts = [behaviour[:, :half].reshape(4, -1), policy[:, :half].reshape(4, -1)]
        support = jnp.concatenate(parts, axis=1)
        config = replace(config, num_support_actions=support.shape[1])
    moved, gain = propose(lambda x: -x[..., 0], keys[2], support[..., None], beta=beta, sigma=sigma)
    weights = support_weights(-support, beta * (refresh - 1), gain, config)
    np.testing.assert_allclose(weights.mean(axis=1), 1.0, rtol=1e-5)
    means = np.asarray((weights * moved[..., 0]).mean(axis=1))
    share = np.asarray(weights**2).mean() / np.asarray(weights).mean() ** 2
    tolerance = 4 * np.sqrt(share / support.size) * 1.5
    # N(b, 1) smoothed by σ and tilted by β more: N(b + β(1 + σ²), 1 + σ²)
    assert abs(means.mean() - beta * (refresh + sigma**2)) < tolerance


@pytest.mark.parametrize("reference", ["current", "behaviour", "mixture"])
@pytest.mark.parametrize("data_share", [None, 0.3])
def test_the_tilted_path_without_smoothing_leaves_actions_and_weights_as_they_are(reference, data_share):
    before, after = 0.4, 1.1
    config = replace(ALGORITHMS["qipo-ot"].config, reference=reference, data_share=data_share)
    keys = jax.random.split(jax.random.key(0), 3)
    observations = jax.random.normal(keys[0], (5, 1))
    z = jax.random.uniform(keys[1], (5, 17, 1), minval=-1)
    critic = known_critic(2.0, 3.0)

    @jax.jit
    def moved(observations, z):
        energy = played_energy(critic, observations, jnp.float32(0.7), config)
        x, gain = propose(energy, keys[2], z, beta=after - before, sigma=0.0)
        return x, support_weights(energy(z), before, gain, config)

    x, weights = map(np.asarray, moved(observations, z))
    z = np.asarray(z)
    np.testing.assert_array_equal(x, z)
    e = -(2.0 * z - 1.5 * z**2)[..., 0] / 0.7  # the weights of the actions themselves, written out
    from_mu = {"current": 1, "mixture": 9, "behaviour": 17}[reference]
    density = 1.0
    if reference == "mixture":
        density = (
            from_mu + 8 * np.exp(-before * e) / np.mean(np.exp(-before * e[:, :from_mu]), axis=1)[:, None]
        )
    expected = np.exp(-(after - before if reference == "current" else after) * e) / density
    expected = 17 * expected / expected.sum(axis=1, keepdims=True)
    if data_share is not None:
        of_data = np.exp(-after * e[:, 0]) / np.mean(np.exp(-after * e[:, :from_mu]), axis=1)
        rest = expected[:, 1:] / expected[:, 1:].sum(axis=1, keepdims=True)
        expected = 17 * np.concatenate([data_share * of_data[:, None], (1 - data_share) * rest], axis=1)
    np.testing.assert_allclose(weights, expected, rtol=1e-4)


def test_a_share_of_the_data_is_the_same_whether_actions_are_weighted_or_drawn_by_their_weights():
    """The loss's mean over draws. In half of the states the data's action is the best, in half the worst."""
    states, count = 64, 4
    best = jnp.arange(states) % 2 == 0
    energies = jnp.zeros((states, count + 1)).at[:, 0].set(jnp.where(best, -2.0, 2.0))
    actions = jnp.zeros((states, count + 1, 1)).at[:, 0, 0].set(jnp.where(best, 0.9, -0.9))
    batch = {
        "observations": jnp.zeros((states, 1)),
        "actions": actions[:, 0],
        "support_actions": actions,
        "support_energies": energies,
    }
    losses = {}
    for weights in ("loss-weights", "sampled"):
        config = replace(
            bandit_config("qipo-ot", "behaviour"), weights=weights, data_share=0.6, num_support_actions=count
        )  # fmt: skip
        config = replace(config, flow=replace(config.flow, network=NetworkConfig(width=16, depth=1)))
        agent = build(config, SPEC, 0)
        state = agent.init(jax.random.key(0))._replace(refreshes=jnp.ones(()))
        keys = jax.random.split(jax.random.key(1), 2000)
        update = jax.jit(lambda key, agent=agent, state=state: agent.stages[-1].update(state, batch, key)[1])
        losses[weights] = np.asarray(jax.lax.map(update, keys)["loss"])
    error = np.sqrt(sum(of.var() / len(of) for of in losses.values()))
    assert abs(losses["loss-weights"].mean() - losses["sampled"].mean()) < 4 * error
    assert error < 0.02 * losses["loss-weights"].mean()


def test_the_tilted_path_improves_to_the_tilt_of_the_smoothed_behaviour(bandit):
    sigma = 0.2
    config = replace(
        bandit_config("qipo-ot", "behaviour"), improvement="tilted-path", tilted_sigma=sigma,
        improvement_steps=1500, refresh_every=1500, improvement_ema=0.995,
    )  # fmt: skip
    config = replace(config, flow=replace(config.flow, num_steps=20))
    agent = build(config, SPEC, 0)
    state = agent.init(jax.random.key(1))._replace(critic=known_critic(2.0), behaviour=exact_flow(LAW))
    (state, key), *_ = refreshes(agent.stages[-1], 2, state, bandit)
    actions = np.asarray(jax.jit(agent.act)(state, jnp.zeros((20_000, 1)), key))[:, 0]

    grid = np.linspace(-3, 3, 6001)
    played = np.clip(grid, -1, 1)
    modes = np.exp(-((grid - 0.35) ** 2) / (2 * (0.15**2 + sigma**2)))
    density = (modes + modes[::-1]) * np.exp(2 * BETA * played)
    density /= density.sum()
    mean = density @ played
    assert np.mean(actions) == pytest.approx(mean, abs=0.03)  # without smoothing it is 0.07 lower
    assert np.std(actions) == pytest.approx(np.sqrt(density @ (played - mean) ** 2), abs=0.03)  # 0.05 lower

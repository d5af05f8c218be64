"""One-step problems whose Q and whose behaviour are given in closed form: nothing has to be learned first."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tiltflow.agents.base import Agent
from tiltflow.agents.bc import init_flow
from tiltflow.agents.registry import ALGORITHMS, build_agent
from tiltflow.critics import Critic, Ensemble
from tiltflow.data.transitions import Spec
from tiltflow.exact import GaussianMixture, predict
from tiltflow.flow import Flow
from tiltflow.model_settings import FlowConfig, NetworkConfig
from tiltflow.optimize import TrainState, begin, run_steps
from tiltflow.paths import PATHS, Path

SPEC = Spec(observation_size=1, action_size=1)
FLOW = FlowConfig(network=NetworkConfig(width=64, depth=2), learning_rate=2e-3, ema=0.995)


class KnownQ(eqx.Module):
    """Q(s, a) = slope·a − ½·curvature·a², in the place of a network."""

    slope: jnp.ndarray
    curvature: jnp.ndarray

    def __call__(self, inputs):
        actions = inputs[..., 1:]
        return self.slope * actions - 0.5 * self.curvature * actions**2


def known_critic(slope: float, curvature: float = 0.0) -> Critic:
    """A trained critic, of one member."""
    q = Ensemble.of([KnownQ(jnp.float32(slope), jnp.float32(curvature))])
    return Critic(TrainState(q, q, ()), None)


class ExactVelocity(eqx.Module):
    """The velocity of a law on a path, in the place of a network."""

    law: GaussianMixture
    path: Path = eqx.field(static=True)

    def __call__(self, x, t, condition=None):
        return predict(self.law, self.path, "velocity", t, x)


def exact_flow(law: GaussianMixture, path: str = "ot") -> Flow:
    """A policy that samples the law at every state."""
    return Flow(network=ExactVelocity(law, PATHS[path]), path=PATHS[path], prediction="velocity")


def gaussian_actions(mean: float, std: float, rows: int = 20_000) -> dict[str, jnp.ndarray]:
    """Columns of a bandit with a ~ N(mean, std²)."""
    noise = np.random.default_rng(0).standard_normal((rows, 1)).astype(np.float32)
    return {"observations": jnp.zeros((rows, 1)), "actions": mean + std * noise}


def train(improve, config: FlowConfig, columns, *, steps: int, start: TrainState | None = None):
    """The model of `improve(trained, batch, key) -> (trained, metrics)` after so many steps, averaged."""
    start = start or begin(init_flow(jax.random.key(1), SPEC, config), optax.adam(config.learning_rate))
    run = jax.jit(run_steps, static_argnames=("update", "num_steps", "batch_size"))
    key = jax.random.key(2)
    return run(improve, start, columns, key, 0, num_steps=steps, batch_size=config.batch_size)[0].ema


def changed(config, **settings):
    """The config with other settings, all at once; `critic__tau` is `critic.tau`."""
    own = {name: value for name, value in settings.items() if "__" not in name}
    parts: dict[str, dict] = {}
    for name in settings.keys() - own.keys():
        part, _, rest = name.partition("__")
        parts.setdefault(part, {})[rest] = settings[name]
    return replace(
        config, **own, **{part: changed(getattr(config, part), **of) for part, of in parts.items()}
    )


def agent_of(algorithm: str, spec: Spec = SPEC, steps: int = 100, **settings) -> Agent:
    """The agent with tiny networks, but for what `settings` say."""
    config, tiny = ALGORITHMS[algorithm].config, {}
    for part in ("flow", "actor", "critic"):
        if hasattr(config, part):
            tiny[f"{part}__network"] = NetworkConfig(width=4, depth=1)
    if hasattr(config, "energy"):
        tiny["energy"] = NetworkConfig(width=4, depth=1)
    return build_agent(algorithm, changed(config, **(tiny | settings)), spec, steps)


def arbitrary(agent: Agent):
    """A state of the agent before its training, of arbitrary numbers: nothing has to be compiled for it."""
    random = np.random.default_rng(0)

    def fill(path, leaf):
        if ".optimizer" in jax.tree_util.keystr(path) or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        return jnp.asarray(0.3 * random.standard_normal(leaf.shape) if leaf.ndim else 1.0, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(agent.init, jax.random.key(0)))

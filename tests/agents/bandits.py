"""One-step problems whose Q and whose behaviour are given in closed form: nothing has to be learned first."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tiltflow.agents.bc import init_flow
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

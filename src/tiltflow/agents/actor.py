"""A policy that is one network from an observation to an action: what iql, td3-bc, rebrac and fql play."""

from dataclasses import asdict

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.data.transitions import Spec
from tiltflow.model_settings import ActorConfig
from tiltflow.networks import MLP
from tiltflow.optimize import TrainState, begin


class Actor(eqx.Module):
    """net(s), or tanh(net(s)) where it is `squashed`: an action, or the mean of a Gaussian of actions."""

    network: MLP
    squashed: bool = eqx.field(static=True)

    def __call__(self, observations: Float[Array, "*batch o"]) -> Float[Array, "*batch a"]:
        output = self.network(observations)
        return jnp.tanh(output) if self.squashed else output


def begin_actor(
    key: PRNGKeyArray,
    spec: Spec,
    config: ActorConfig,
    optimizer: optax.GradientTransformation,
    *,
    squashed: bool,
) -> TrainState:
    """A fresh actor under training. Its last layer starts with a hundredth of the others' variance."""
    sizes = spec.observation_size, spec.action_size
    network = MLP(key, *sizes, output_scale=0.1, **asdict(config.network))
    return begin(Actor(network, squashed), optimizer)


def clipped_noise(key: PRNGKeyArray, like: Array, std: float, limit: float) -> Array:
    """N(0, std²) noise, cut off at ± limit: TD3's target policy smoothing."""
    return jnp.clip(std * jax.random.normal(key, like.shape), -limit, limit)

"""Policies as files that need JAX alone: observations and a number in, actions out."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array

from tiltflow.agents.base import Agent
from tiltflow.files import atomic_file
from tiltflow.run_folder import RunFolder
from tiltflow.training.load_run import load_run
from tiltflow.training.policy import RunState
from tiltflow.training.progress import Observe, ignore_event

PLATFORMS = ("cpu", "cuda")


def export_policy(agent: Agent, state: RunState, observation_size: int) -> bytes:
    """The policy, with its parameters and the units of observations, as a serialised StableHLO program.

    `jax.export.deserialize(data).call(observations, seed)` gives actions in [−1, 1], float32 [n, a], from
    float32 observations [n, o] as the environment gives them (any n) and a uint32 seed of the draw.
    """

    def act(observations: Array, seed: Array) -> Array:
        return agent.act(state.agent, state.scaler(observations), jax.random.key(seed))

    (rows,) = export.symbolic_shape("n")
    arguments = (
        jax.ShapeDtypeStruct((rows, observation_size), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.uint32),
    )
    return bytes(export.export(jax.jit(act), platforms=PLATFORMS)(*arguments).serialize())


def export_run(run: Path, out: Path | None = None, observe: Observe = ignore_event) -> list[Path]:
    """Write the newest policy of each seed to policy-SEED.stablehlo in `out` (the run folder by default).

    Raises UserError where `run` is no run folder or has no checkpoint.
    """
    loaded = load_run(run, observe)
    prepared, paths = loaded.prepared, []
    for seed, state in zip(prepared.config.seed_numbers, loaded.states, strict=True):
        path = RunFolder(out or run).exported_policy(seed)
        with atomic_file(path) as file:
            file.write(export_policy(prepared.agent, state, prepared.spec.observation_size))
        paths.append(path)
    return paths

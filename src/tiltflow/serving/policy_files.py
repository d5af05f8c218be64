"""Policies as files that need JAX and NumPy alone: an npz with the program, its card and a self-test.

`program` is what `jax.export` serialises, for CPU and CUDA, with the parameters and the scaling of
observations and actions in it: float32 [n, o] and a uint32 seed in, [n, a] out, in the units of the data.
`card` is the JSON of a `PolicyCard`; the `test_` arrays are observations, seeds and the actions they give.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array

from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.npz import load_npz, save_npz
from tiltflow.run_folder import RunFolder
from tiltflow.serving.compiled_policy import CompiledPolicy, Program
from tiltflow.serving.policy_card import read_card
from tiltflow.serving.run_policy import ActionProgram, PlayedRun

PLATFORMS = ("cpu", "cuda")
TESTS = 4
TOLERANCE = 1e-3
"""How far the actions of a self-test may be off, as a share of half their range."""


def seeded(actions: ActionProgram) -> Program:
    """The program whose key is that of a number."""
    return lambda observations, number: actions(observations, jax.random.key(number))


def export_program(actions: ActionProgram, observation_size: int) -> bytes:
    """The program, with its parameters, as `jax.export` serialises it, for any number of observations."""

    def call(observations: Array, number: Array) -> Array:
        with jax.default_matmul_precision("highest"):  # the same on every device
            return seeded(actions)(observations, number)

    (rows,) = export.symbolic_shape("n")
    arguments = (
        jax.ShapeDtypeStruct((rows, observation_size), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.uint32),
    )
    return bytes(export.export(jax.jit(call), platforms=PLATFORMS)(*arguments).serialize())


def drawn_observations(run: PlayedRun, seed: int) -> np.ndarray:
    """Observations [n, o] drawn with the mean and the spread by which the run scales them."""
    scaler = run.loaded.states[run.index(seed)].scaler
    draws = np.random.default_rng(0).standard_normal((TESTS, len(scaler.mean)))
    return np.asarray(scaler.mean + scaler.std * draws, np.float32)


def self_test(run: PlayedRun, seed: int) -> dict[str, np.ndarray]:
    """Observations, seeds, and the actions that the policy gives at them, one at a time."""
    observations, seeds = drawn_observations(run, seed), np.arange(TESTS, dtype=np.uint32)
    program = seeded(run.actions(seed))
    policy = CompiledPolicy(run.card(seed), lambda *_: program)
    with jax.default_matmul_precision("highest"):  # as the exported program: a GPU would take tf32
        actions = _one_by_one(policy, observations, seeds)
    return {"test_observations": observations, "test_seeds": seeds, "test_actions": actions}


def write_policy(run: PlayedRun, seed: int, folder: Path) -> Path:
    """Write the policy of a seed to policy-SEED.npz in the folder, and read it back with its self-test."""
    card, path = run.card(seed), RunFolder(folder).exported_policy(seed, "npz")
    program = export_program(run.actions(seed), len(card.observation_names))
    arrays = {
        "program": np.frombuffer(program, np.uint8),
        "card": np.array(json.dumps(card.to_json(), ensure_ascii=False)),
        **self_test(run, seed),
    }
    with atomic_file(path) as file:
        save_npz(file, arrays)
    read_policy(path)
    return path


def read_policy(path: Path) -> CompiledPolicy:
    """The policy of a file that `write_policy` wrote, whose self-test it has passed.

    Raises UserError where it is no such file, is of another version of JAX, or fails the test.
    """
    tests = ("test_observations", "test_seeds", "test_actions")
    arrays = load_npz(path, "program", "card", *tests)
    try:
        card = read_card(json.loads(str(arrays["card"])), str(path))
        program = export.deserialize(bytearray(arrays["program"].tobytes())).call
    except UserError:
        raise
    except Exception as error:  # whatever the decoders throw, the file is what they cannot read
        raise UserError(f"{path} is no policy that this version of JAX reads: {error}") from error

    def build(noise: float | None, best_of: int | None) -> Program:
        if (noise, best_of) != (None, None):
            raise UserError(
                f"{path} has its settings of play built in: noise and best_of are those of its export. "
                "Export the run again with others, or load the run folder."
            )
        return program

    policy = CompiledPolicy(card, build)
    off = self_test_error(policy, *(arrays[key] for key in tests))
    if not off <= TOLERANCE:
        raise UserError(
            f"{path} fails its self-test: actions are off by {off:.2g} of half their range. It is damaged, "
            "or this machine computes otherwise than the one that wrote it. Export the run again here."
        )
    return policy


def self_test_error(
    policy: CompiledPolicy, observations: np.ndarray, seeds: np.ndarray, actions: np.ndarray
) -> float:
    """The largest distance of the policy's actions from those expected, as a share of half their range."""
    return float(np.max(np.abs(_one_by_one(policy, observations, seeds) - actions) / policy.card.half_range))


def _one_by_one(policy: CompiledPolicy, observations: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    return np.stack([policy(row, seed=int(seed)) for row, seed in zip(observations, seeds, strict=True)])

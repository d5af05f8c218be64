"""Policies as ONNX files: float32 observations [n, o] and noise [n, k] in, actions [n, a] out, in own units.

ONNX has no random numbers that are the same everywhere. So the noise is an input, k numbers of N(0, 1) a row;
a policy that draws none has no such input. The metadata `card` is the JSON of a `PolicyCard`, `self_test`
that of observations, noise and the policy's actions.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.flow import GivenNoise
from tiltflow.packages import require
from tiltflow.run_folder import RunFolder
from tiltflow.serving.policy_card import PolicyCard
from tiltflow.serving.policy_files import drawn_observations
from tiltflow.serving.run_policy import ActionProgram, PlayedRun

ONNX_TOLERANCE = 1e-5
"""How far the runtime's actions may be from the policy's, as a share of half their range."""
_OPSET = 18


def write_onnx(run: PlayedRun, seed: int, folder: Path) -> Path:
    """Write the policy of a seed to policy-SEED.onnx in the folder, compared with the policy before.

    Needs the packages jax2onnx and onnxruntime. Raises UserError where they are missing, where the policy
    draws in a way that cannot be an input, or where the runtime's actions are not the policy's.
    """
    jax2onnx, runtime = require("jax2onnx"), require("onnxruntime")
    actions, card = run.actions(seed), run.card(seed)
    size = len(card.observation_names)
    k = noise_size(actions, size)
    inputs = {"observations": size} | ({"noise": k} if k else {})

    def call(observations: Array, noise: Array | None = None) -> Array:
        return actions(observations, GivenNoise(noise))

    try:
        model = jax2onnx.to_onnx(
            call,
            inputs=[("n", size) for size in inputs.values()],
            input_names=list(inputs),
            output_names=["actions"],
            model_name=f"tiltflow {card.algorithm}",
            opset=_OPSET,
        )
    except Exception as error:  # the converter knows operations one by one
        raise _refusal(card.algorithm, "the converter", error) from error
    observations = drawn_observations(run, seed)
    arguments = {"observations": observations}
    if k:
        noise = np.random.default_rng(1).standard_normal((len(observations), k))
        arguments["noise"] = noise.astype(np.float32)
    with jax.default_matmul_precision("highest"):
        expected = np.asarray(jax.jit(call)(*arguments.values()))
    tests = {**arguments, "actions": expected}
    card_json = json.dumps(card.to_json(), ensure_ascii=False)
    test_json = json.dumps({name: array.tolist() for name, array in tests.items()})
    for key, value in (("card", card_json), ("self_test", test_json)):
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    _check(runtime, content, card, arguments, expected)
    path = RunFolder(folder).exported_policy(seed, "onnx")
    with atomic_file(path) as file:
        file.write(content)
    return path


def noise_size(actions: ActionProgram, observation_size: int) -> int:
    """How many numbers of N(0, 1) the policy draws for an observation.

    Raises UserError where it draws in another way than by `flow.standard_normal`.
    """
    noise = GivenNoise()
    try:
        jax.eval_shape(
            lambda observations: actions(observations, noise),
            jax.ShapeDtypeStruct((1, observation_size), jnp.float32),
        )
    except TypeError as error:
        raise UserError(
            "This policy draws its noise by itself, so that it cannot be an input of an ONNX file. Draw it "
            "with tiltflow.flow.standard_normal(key, shape), or export without --format onnx."
        ) from error
    return noise.used


def _check(
    runtime: Any, content: bytes, card: PolicyCard, arguments: dict[str, np.ndarray], expected: np.ndarray
) -> None:
    """Raise UserError where the runtime gives other actions than the policy, for all rows or for one."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of what the converter leaves over
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = [
            session.run(None, {name: array[:rows] for name, array in arguments.items()})[0]
            for rows in (len(expected), 1)
        ]
    except Exception as error:
        raise _refusal(card.algorithm, "the runtime", error) from error
    off = max(np.max(np.abs(rows - expected[: len(rows)]) / card.half_range) for rows in given)
    if not off <= ONNX_TOLERANCE:
        raise UserError(
            f"The ONNX file is not the policy: its actions are off by {off:.2g} of half their range. Nothing "
            "was written."
        )


def _refusal(algorithm: str, what: str, error: Exception) -> UserError:
    return UserError(
        f"The policy of {algorithm} holds an operation that ONNX does not take: {what} failed "
        f"({type(error).__name__}: {error}). Nothing was written. Export it without --format onnx."
    )

"""Microseconds of a policy's call with 1, 64 and 256 observations, NumPy in and NumPy out.

    flow       10 Euler steps of a flow
    one step   fql's one-step network
    guided     qgpo: its published solver's steps of a diffusion, each with the gradient of a learned energy

The reference is the same products, biases and activations in NumPy; of `guided`, the flow's call. Networks
are untrained, which costs the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import jax
import numpy as np
from benchmarks.measuring import Measured, measured, wall_seconds_of
from benchmarks.training_steps import SPEC, TASK, sized

from tiltflow.agents.registry import build_agent, preset
from tiltflow.data.interface import plain_interface
from tiltflow.networks import MLP
from tiltflow.serving.compiled_policy import CompiledPolicy
from tiltflow.serving.policy_card import PolicyCard
from tiltflow.serving.policy_files import seeded

EULER_STEPS = 10
CALLS = 200


def policy_latency(sizes: list[tuple[int, int]]) -> Iterator[Measured]:
    """The calls, for networks of each size."""
    for width, depth in sizes:
        flow = dict[int, float]()
        for kind, algorithm in (("flow", "bc-flow"), ("one step", "fql"), ("guided", "qgpo")):
            policy, network, evaluations = _policy(algorithm, width, depth)
            plain = _in_numpy(network, evaluations)
            for rows in (1, 64, 256):
                asked = (
                    np.random.default_rng(0).standard_normal((rows, SPEC.observation_size)).astype(np.float32)
                )
                inputs = np.random.default_rng(1).standard_normal((rows, network.kernels[0].shape[0]))
                calls = max(5, CALLS // rows)
                ours = _middle_half(wall_seconds_of(lambda a=asked, p=policy: p(a), calls))
                line = measured(f"latency: {kind}, {width}x{depth}, {rows} rows", ours, 1e6, "µs")
                if kind == "guided":
                    line.ratio, line.reference = flow[rows] / line.value, "the flow"
                else:
                    theirs = wall_seconds_of(lambda x=inputs, n=plain: n(x.astype(np.float32)), calls)
                    line.ratio, line.reference = 1e6 * median(_middle_half(theirs)) / line.value, "NumPy"
                if kind == "flow":
                    flow[rows] = line.value
                yield line


def _policy(algorithm: str, width: int, depth: int) -> tuple[CompiledPolicy, MLP, int]:
    """The policy, the network that it evaluates, and how often."""
    config = sized(preset(algorithm, TASK), width, depth)
    if algorithm != "qgpo":
        config = replace(config, flow=replace(config.flow, solver="euler", num_steps=EULER_STEPS))
    agent = build_agent(algorithm, config, SPEC, 1000)
    state = jax.jit(agent.init)(jax.random.key(0))
    card = PolicyCard(algorithm, TASK, 0, 0, plain_interface(SPEC))
    policy = CompiledPolicy(card, lambda *_: seeded(lambda o, key: agent.act(state, o, key)))
    params = state.policy.ema
    if algorithm == "fql":
        return policy, params.one_step, 1
    return policy, params.network.mlp, EULER_STEPS


def _in_numpy(network: MLP, evaluations: int) -> Callable[[np.ndarray], Any]:
    kernels = [np.asarray(kernel) for kernel in network.kernels]
    biases = [np.asarray(bias) for bias in network.biases]

    def call(inputs: np.ndarray) -> np.ndarray:
        for _ in range(evaluations):
            x = inputs
            for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
                x = x @ kernel + bias
                x = x / (1 + np.exp(-x))  # silu, and about the price of gelu
            x = x @ kernels[-1] + biases[-1]
        return x

    return call


def _middle_half(seconds: list[float]) -> list[float]:
    """Without the fastest and the slowest quarter: a call of microseconds is often interrupted."""
    quarter = len(seconds) // 4
    return seconds[quarter : len(seconds) - quarter]

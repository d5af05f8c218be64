"""Training speed of every stage, in steps/s and as a share of the matmul peak measured in the same run.

    python benchmarks/stages.py [--width 256] [--depth 3] [--batch 256] [--core 0]

Synthetic Hopper-shaped data (observations 11, actions 3). The work of a step is counted as 2 FLOP per
weight and row in a forward pass and 6 in a training step; activations, normalisation, random numbers,
gathers and Adam are not counted, so they lower the share. Times are CPU seconds of this one-threaded
process, which makes the share robust on a busy machine; wall time is printed too.
"""

import argparse
import os
import time
from dataclasses import replace

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--width", type=int, default=256, help="units of each hidden layer")
parser.add_argument("--depth", type=int, default=3, help="hidden layers")
parser.add_argument("--batch", type=int, default=256, help="rows of a gradient step")
parser.add_argument("--rows", type=int, default=100_000, help="transitions of the data set")
parser.add_argument("--core", type=int, default=0, help="the core to run on")
arguments = parser.parse_args()
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {arguments.core})  # before JAX starts its threads

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from tiltflow.agents.qipo import build  # noqa: E402
from tiltflow.agents.qipo_settings import QIPOConfig  # noqa: E402
from tiltflow.data.transitions import Spec  # noqa: E402
from tiltflow.model_settings import CriticConfig, FlowConfig, NetworkConfig  # noqa: E402
from tiltflow.optimize import run_steps  # noqa: E402

SPEC = Spec(observation_size=11, action_size=3)
M = 16


def measure(work, repeats: int = 3) -> tuple[float, float]:
    """Best CPU and wall seconds of a call, after one to compile."""
    jax.block_until_ready(work())
    best = (float("inf"), float("inf"))
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(work())
        best = min(best, (time.process_time() - cpu, time.perf_counter() - wall))
    return best


def peak() -> float:
    """FLOP/s of 256×256 · 256×256 products in a scan, in CPU time."""
    x = jax.random.normal(jax.random.key(0), (256, 256))
    product = jax.jit(lambda x, w: jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=1000)[0])
    return 1000 * 2 * 256**3 / measure(lambda: product(x, x / 256), 5)[0]


def weights(tree) -> int:
    """Entries of all matrices in a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if leaf.ndim == 2)


def main() -> None:
    network = NetworkConfig(width=arguments.width, depth=arguments.depth)
    print(
        f"networks {arguments.width}×{arguments.depth}, batch {arguments.batch}, M = {M}, 1 core", flush=True
    )
    print(f"{'stage':34} {'steps/s':>9} {'GFLOP/s':>9} {'peak':>7} {'share':>6} {'wall/cpu':>9}")
    for kind, layer_norm in (("expectile", "before"), ("expectile", "none"), ("in-support-softmax", "none")):
        critic = CriticConfig(
            kind=kind,
            batch_size=arguments.batch,
            network=replace(network, activation="relu", layer_norm=layer_norm),
        )
        config = QIPOConfig(
            flow=FlowConfig(network=network, batch_size=arguments.batch),
            critic=critic,
            improvement_batch_size=arguments.batch,
        )
        agent = build(config, SPEC, 1000)
        state = agent.init(jax.random.key(0))
        flow_size, q_size = weights(state.policy.params), weights(state.critic.q.params)
        value_size = weights(state.critic.value.params) if state.critic.value else 0
        backup = 2 * q_size if kind == "expectile" else 2 * q_size * M
        work = {
            "behaviour": 6 * flow_size * arguments.batch,
            "critic": (6 * (q_size + value_size) + backup + 2 * value_size) * arguments.batch,
            "improvement": 6 * flow_size * arguments.batch,
        }
        for stage in agent.stages:
            if stage.name != "critic" and (kind, layer_norm) != ("expectile", "before"):
                continue
            label = (
                stage.name
                if stage.name != "critic"
                else f"critic, {kind}{', layer norm' * (layer_norm != 'none')}"
            )
            report(label, stage, state, work[stage.name])


def report(label: str, stage, state, flop: float) -> None:
    n, keys = arguments.rows, iter(jax.random.split(jax.random.key(1), 8))
    columns = {
        "observations": jax.random.normal(next(keys), (n, SPEC.observation_size)),
        "next_observations": jax.random.normal(next(keys), (n, SPEC.observation_size)),
        "actions": jax.random.uniform(next(keys), (n, SPEC.action_size), minval=-1),
        "rewards": jax.random.normal(next(keys), (n,)),
        "terminations": jnp.zeros(n),
        "next_support_actions": jax.random.uniform(next(keys), (n, M, SPEC.action_size), minval=-1),
        "support_actions": jax.random.uniform(next(keys), (n, M + 1, SPEC.action_size), minval=-1),
        "support_energies": jax.random.normal(next(keys), (n, M + 1)),
    }
    steps = 200
    chunk = jax.jit(
        lambda state, columns: run_steps(
            stage.update, state, columns, jax.random.key(2), jnp.int32(0),
            num_steps=steps, batch_size=stage.batch_size,
        )
    )  # fmt: skip
    limit = peak()
    cpu, wall = measure(lambda: chunk(state, columns))
    limit = max(limit, peak())
    rate = steps / cpu
    print(
        f"{label:34} {rate:9.1f} {rate * flop / 1e9:9.1f} {limit / 1e9:7.1f} {rate * flop / limit:6.1%} "
        f"{wall / cpu:9.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

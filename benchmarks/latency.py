"""How long one action takes: a policy from Python, its exported file, a server's round trip, FQL's form.

    python benchmarks/latency.py --out OUT [--width 256] [--depth 3] [--sampler-steps 5] [--core 0]

policy            `policy(observation)`, NumPy in, NumPy out: the observation checked, the seed counted, K
                  midpoint steps of a flow
policy, 64 rows   the same for 64 observations at once
exported          the lines that `tiltflow export` prints, around the program of its file
server            examples/policy_client.py to a server in another process on the same core
fql               one step of a 4×512 network (gelu) from observation and noise to an action, jitted, called
                  as the official FQL's evaluation calls its `sample_actions`: a key split outside, NumPy in
                  and out
fql, call alone   the same without the split

The last two are ours in the official one's form: the same sizes and calls without flax, and no code of it.
Weights are random: they do not change the time. The rounds go over all in turn, so that a slow spell of the
machine hits all alike. Times are wall milliseconds. Writes latency.json and prints the table.
"""

import argparse
import multiprocessing
import os
import runpy
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", type=Path, required=True, help="folder of the numbers")
parser.add_argument("--width", type=int, default=256, help="units of each hidden layer of the flow")
parser.add_argument("--depth", type=int, default=3, help="hidden layers of the flow")
parser.add_argument("--sampler-steps", type=int, default=5, help="midpoint steps K")
parser.add_argument("--observation-size", type=int, default=11, help="entries of an observation")
parser.add_argument("--action-size", type=int, default=3, help="entries of an action")
parser.add_argument("--rounds", type=int, default=20, help="how often all are measured in turn")
parser.add_argument("--calls", type=int, default=250, help="timed calls of each in a round")
parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0: one after the other")
parser.add_argument("--core", type=int, default=None, help="the core to run on; without it any")


def make_policy(arguments: argparse.Namespace):
    """A policy of random weights, and its exported program."""
    from dataclasses import replace

    import jax

    from tiltflow.agents.registry import build_agent, preset
    from tiltflow.data.interface import plain_interface
    from tiltflow.data.transitions import Spec
    from tiltflow.model_settings import NetworkConfig
    from tiltflow.serving.compiled_policy import CompiledPolicy
    from tiltflow.serving.policy_card import PolicyCard
    from tiltflow.serving.policy_files import export_program, seeded

    spec = Spec(arguments.observation_size, arguments.action_size)
    config = preset("bc-flow", "file/own")
    network = NetworkConfig(width=arguments.width, depth=arguments.depth)
    config = replace(config, flow=replace(config.flow, network=network, num_steps=arguments.sampler_steps))
    agent = build_agent("bc-flow", config, spec, 1000)
    state = agent.init(jax.random.key(0))

    def actions(observations, key):
        return agent.act(state, observations, key)

    card = PolicyCard("bc-flow", "file/own", 0, 0, plain_interface(spec))
    policy = CompiledPolicy(card, lambda *_: seeded(actions))
    return policy, lambda: export_program(actions, spec.observation_size)


def serve(arguments: argparse.Namespace, ports) -> None:
    """Serve the policy until this process is killed; its port goes into the queue."""
    import asyncio

    from tiltflow.serving.policy_server import serve_policy

    policy = make_policy(arguments)[0].warm_up()

    async def forever() -> None:
        await serve_policy(
            policy, host="127.0.0.1", port=0, token=None, stop=asyncio.Event(), announce=ports.put
        )

    asyncio.run(forever())


def exported_call(program: bytes):
    """What the printed lines make of a file's program."""
    import jax
    import jax.export

    call = jax.export.deserialize(bytearray(program)).call

    @jax.jit
    def policy(observations, seed):
        actions = call(observations.reshape(-1, observations.shape[-1]), seed)
        return actions.reshape(*observations.shape[:-1], -1)

    return policy


def fql_call(observation_size: int, action_size: int, width: int = 512, depth: int = 4):
    """A jitted sample_actions(parameters, observations, key) of the official one's sizes, and parameters."""
    import jax
    import jax.numpy as jnp

    sizes = [observation_size + action_size, *[width] * depth, action_size]
    keys = jax.random.split(jax.random.key(0), depth + 1)
    parameters = [
        (jax.random.normal(key, (i, o)) / i**0.5, jnp.zeros(o))
        for key, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]

    @jax.jit
    def sample_actions(parameters, observations, key):
        x = jnp.concatenate([observations, jax.random.normal(key, (action_size,))])
        for kernel, bias in parameters[:-1]:
            x = jax.nn.gelu(x @ kernel + bias)
        kernel, bias = parameters[-1]
        return jnp.clip(x @ kernel + bias, -1.0, 1.0)

    return sample_actions, parameters


def main() -> None:
    arguments = parser.parse_args()
    if arguments.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})  # before JAX starts its threads

    import jax
    import numpy as np

    from tiltflow.files import write_json

    random = np.random.default_rng(0)
    observation = random.standard_normal(arguments.observation_size).astype(np.float32)
    rows = random.standard_normal((64, arguments.observation_size)).astype(np.float32)
    policy, program = make_policy(arguments)
    exported = exported_call(program())
    sample_actions, parameters = fql_call(arguments.observation_size, arguments.action_size)
    keys = {"host": jax.random.key(1)}

    def fql() -> np.ndarray:
        keys["host"], key = jax.random.split(keys["host"])
        return np.asarray(sample_actions(parameters, observation, key))

    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    server = context.Process(target=serve, args=(arguments, ports), daemon=True)
    server.start()
    client_file = Path(__file__).parent.parent / "examples" / "policy_client.py"
    client = runpy.run_path(str(client_file))["PolicyClient"](f"ws://127.0.0.1:{ports.get(timeout=300)}")

    calls = {
        "policy": lambda: policy(observation),
        "policy, 64 rows": lambda: policy(rows),
        "exported": lambda: np.asarray(exported(observation, np.uint32(0))),
        "server": lambda: client(observation),
        "fql": fql,
        "fql, call alone": lambda: np.asarray(sample_actions(parameters, observation, keys["host"])),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(arguments.rounds + 1):
        for name, call in calls.items():
            for _ in range(arguments.calls):
                began = time.perf_counter()
                call()
                seconds = time.perf_counter() - began
                if round_number:  # the first one compiles and warms up
                    taken[name].append(1e3 * seconds)
                if arguments.rate:
                    time.sleep(max(0.0, 1 / arguments.rate - seconds))
    server.terminate()

    table = {
        name: {f"p{q}": round(float(np.percentile(times, q)), 4) for q in (50, 90, 99)}
        | {"max": round(max(times), 4)}
        for name, times in taken.items()
    }
    settings = {name: value for name, value in vars(arguments).items() if name not in ("out", "core")}
    record = {
        "unit": "ms of one call, NumPy in, NumPy out",
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "settings": settings,
        "times": table,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "latency.json", record)
    print(f"{'ms of one call':16} " + " ".join(f"{q:>8}" for q in ("p50", "p90", "p99", "max")))
    for name, times in table.items():
        print(f"{name:16} " + " ".join(f"{value:8.3f}" for value in times.values()))


if __name__ == "__main__":
    main()

"""How long an agent takes to select an action: Figure 4 of benchmarks/figures.py."""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from figure_drawing import Value

from tiltflow.agents.registry import build_agent, preset
from tiltflow.benchmark.plan import with_networks
from tiltflow.data.load import load_dataset
from tiltflow.tasks import find_task
from tiltflow.training.policy import identity_scaler, init_state, make_act


def action_times(task: str, arguments: argparse.Namespace) -> list[Value]:
    """Milliseconds to select one action; the networks are untrained, which costs the same."""
    data = load_dataset(find_task(task), arguments.data).train
    seed = np.zeros(1, np.uint32)
    calls: dict[str, list[Callable[[], object]]] = {}
    for name in ("qgpo", "qipo-diff", "qipo-ot"):
        agent = build_agent(name, with_networks(preset(name, task), *arguments.network), data.spec, 1000)
        act = make_act(agent)
        for number in range(arguments.seeds):
            state = init_state(agent, identity_scaler(data.spec), [number])
            call = partial(
                act, state.agent, state.scaler, data.observations[:1], jax.random.key(0), seed, seed
            )
            calls.setdefault(name, []).append(call)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(arguments.repeats + 1):  # in turn, so that a slow spell hits all alike
        for name, of_seeds in calls.items():
            for call in of_seeds:
                began = time.process_time()
                for _ in range(arguments.calls):
                    jax.block_until_ready(call())
                if repeat:  # the first compiles
                    times[name].append(1e3 * (time.process_time() - began) / arguments.calls)
    return [_median(name, values) for name, values in times.items()]


def _median(name: str, values: list[float]) -> Value:
    """The median with the 95 % interval of its bootstrap."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Value(name, statistics.median(values), float(low), float(high), values)

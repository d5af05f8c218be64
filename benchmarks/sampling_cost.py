"""Seconds per 10⁴ samples: energy-weighted models against a guided CEP sampler of equal network size.

    python benchmarks/sampling_cost.py [--width 256] [--depth 3] [--dimensions 2] [--core 0]

All are of one run, one thread and one solver with equally many steps; the networks are untrained, which
costs the same. `efm` and `ed` evaluate one network a step; `cep` a second one and its gradient. Times are
CPU seconds of this process, the median of repeated calls after one that compiles.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--width", type=int, default=256, help="units of each hidden layer")
parser.add_argument("--depth", type=int, default=3, help="hidden layers")
parser.add_argument("--dimensions", type=int, default=2, help="entries of a point")
parser.add_argument("--num-steps", type=int, default=25, help="steps of the solver")
parser.add_argument("--repeats", type=int, default=5, help="timed calls of each method")
parser.add_argument("--core", type=int, default=0, help="the core to run on")
arguments = parser.parse_args()
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {arguments.core})  # before JAX starts its threads

import numpy as np  # noqa: E402

from tiltflow.guidance import fit  # noqa: E402
from tiltflow.guidance.methods import METHODS  # noqa: E402
from tiltflow.model_settings import NetworkConfig  # noqa: E402

SAMPLES = 10_000


def main() -> None:
    x = np.random.default_rng(0).standard_normal((1_000, arguments.dimensions))
    seconds: dict[str, float] = {}
    for method in ("efm", "ed", "cep"):
        config = replace(
            METHODS[method].config,
            network=NetworkConfig(width=arguments.width, depth=arguments.depth),
            steps=1,
            num_steps=arguments.num_steps,
            solver="dpm-solver++",
        )
        fitted = fit(method, x, x[:, 0], beta=1.0, config=config)
        fitted.sample(SAMPLES)
        times = []
        for repeat in range(arguments.repeats):
            start = time.process_time()
            fitted.sample(SAMPLES, seed=repeat)
            times.append(time.process_time() - start)
        seconds[method] = statistics.median(times)
    for method, value in seconds.items():
        ratio = seconds["cep"] / value
        print(f"{method:<4} {value:7.3f} CPU s per 10⁴ samples   cep / {method} = {ratio:.2f}")


if __name__ == "__main__":
    main()

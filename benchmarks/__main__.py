"""How fast everything is, beside the machine's limit and a reference in the same run.

    python -m benchmarks [--out NUMBERS.json] [--compare BEFORE.json] [--only steps latency …] [--core 0]
    python -m benchmarks --only steps --sizes 512x4 --seeds 8 1 32      # on a GPU: benchmarks/gpu.sh

steps       gradient steps of every stage of every agent, and their compilation (training_steps.py)
latency     a policy's call with 1, 64 and 256 observations (policy_latency.py)
refresh, evaluation, loading, start, memory (other_costs.py)

Each line is a median of five calls or more after one that compiles. On a CPU, times of steps are CPU seconds.
With --compare the exit status is 1 where something is slower than before beyond noise (comparison.py); the
files are of one machine.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PARTS = ("steps", "latency", "refresh", "evaluation", "loading", "start", "memory")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--algorithms", nargs="+", help="whose steps; without it all with their own")
    parser.add_argument("--sizes", nargs="+", default=["256x3", "512x4"], help="WIDTHxDEPTH of all networks")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="seeds trained side by side")
    parser.add_argument("--rows", type=int, default=100_000, help="transitions of the random data")
    parser.add_argument("--steps", type=int, default=100, help="gradient steps of a timed call")
    parser.add_argument("--no-reference", action="store_true", help="leave out the steps called from Python")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no more steps after so long")
    parser.add_argument("--core", type=int, help="the core to run on; without it any")
    parser.add_argument("--out", type=Path, help="file of the numbers")
    parser.add_argument("--compare", type=Path, help="numbers of an earlier run on this machine")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    before = json.loads(arguments.compare.read_text()) if arguments.compare else None
    if arguments.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})  # before JAX starts its threads

    import jax
    from benchmarks.comparison import regressions

    device = jax.devices()[0].device_kind
    machine = {"device": device, "jax": jax.__version__, "python": platform.python_version()}
    settings = {"core": arguments.core, "rows": arguments.rows, "steps": arguments.steps}
    record = {"machine": {**machine, "cpu": _cpu()}, "settings": settings, "lines": []}
    print(f"{device}, {_cpu()}, JAX {jax.__version__}")
    print(f"{'':58} {'value':>10} {'':12} {'spread':>7} {'share':>6} {'ratio':>6}", flush=True)
    for line in _lines(arguments):
        share = "" if line.share is None else f"{line.share:.0%}"
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        spread = f"{(line.high - line.low) / line.value:.0%}"
        print(
            f"{line.name:58} {line.value:10.4g} {line.unit:12} {spread:>7} {share:>6} {ratio:>6}", flush=True
        )
        record["lines"].append(line.record())
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    worse = regressions(before, record) if before else []
    if before:
        print("\n".join(worse) or "nothing is slower than before")
    return 1 if worse else 0


def _lines(arguments: argparse.Namespace) -> Iterator:
    from benchmarks import other_costs
    from benchmarks.policy_latency import policy_latency
    from benchmarks.training_steps import STAGES, cases, training_steps

    until = time.monotonic() + 60 * arguments.minutes
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    if "steps" in arguments.only:
        algorithms = arguments.algorithms or list(STAGES)
        if unknown := ", ".join(set(algorithms) - set(STAGES)):
            sys.exit(f"--algorithms {unknown}: choose of {', '.join(STAGES)}.")
        wanted = cases(algorithms, sizes, arguments.seeds, arguments.rows, arguments.steps)
        yield from training_steps(wanted, referenced=not arguments.no_reference, until=until)
    others = {
        "latency": lambda: policy_latency(sizes),
        "refresh": lambda: other_costs.refreshes(sizes),
        "evaluation": other_costs.playing,
        "loading": other_costs.loading,
        "start": other_costs.starting,
        "memory": other_costs.memory,
    }
    for name, measure in others.items():
        if name in arguments.only:
            yield from measure()


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].partition(": ")[2] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())

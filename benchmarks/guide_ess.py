"""Which method of `guide` where hardly a row of the data carries the tilt?

    python benchmarks/guide_ess.py OUT [--steps 5000] [--rows 50000] [--seeds 1] [--quick]

Writes OUT/guide-ess.json, after every cell, and OUT/guide-ess.md. Random mixtures of three Gaussians in 2
and 8 dimensions with a quadratic energy, whose tilt is known; β at which .5 % and .1 % of the rows are
effective. Each number is the sliced Wasserstein-2 distance of 10,000 samples to the truth over that of an
exact sample (the mean of four): 1 is as good as exact. The energy is given as a function. Networks are 3×128.

annealed efm is `tilted-path --sigma 0 --anneal 4`, with as many gradient steps in each of its four steps as
the others have in all. flow-is and smc share one flow of the data, whose training counts for each of them.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tiltflow.exact import GaussianMixture, QuadraticEnergy, gaussian_mixture, tilt
from tiltflow.files import write_json, write_text
from tiltflow.guidance import Fitted, Problem, make_problem
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.metrics import sliced_wasserstein

DRAWN = 10_000
LAWS = {2: 4, 8: 1}
"""Dimensions, and the seed of the law."""
SHARES = (0.005, 0.001)
METHODS_OF: dict[str, tuple[str, dict[str, Any]]] = {
    "resample": ("resample", {}),
    "efm": ("efm", {}),
    "annealed efm": ("tilted-path", {"sigma": 0.0, "anneal": 4}),
    "flow-is": ("flow-is", {}),
    "smc": ("smc", {}),
}


def law(size: int) -> tuple[GaussianMixture, QuadraticEnergy]:
    """A mixture and an energy of which the tilt is known."""
    rng = np.random.default_rng(LAWS[size])
    factors = rng.standard_normal((3, size, size)) / np.sqrt(size)
    covariances = 0.3 * factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(size)
    base = gaussian_mixture(rng.uniform(0.5, 1.5, 3), 1.5 * rng.standard_normal((3, size)), covariances)
    factor = rng.standard_normal((size, size)) / np.sqrt(size)
    return base, QuadraticEnergy(0.5 * factor @ factor.T, 0.5 * rng.standard_normal(size), 0.3)


def distance(points: Any, truth: Any) -> float:
    pair = (jnp.asarray(values, jnp.float32) for values in (points, truth))
    return sliced_wasserstein(jax.random.key(3), *pair, replicates=0).value


def measure(
    name: str, problem: Problem, lent: Fitted | None, changes: dict[str, Any], seed: int, truth: Any
) -> tuple[dict[str, Any], Fitted]:
    """The distance of a method's samples, and its CPU seconds; `lent` spares a flow of the data."""
    method, special = METHODS_OF[name]
    config = replace(METHODS[method].config, **changes, **special)
    start = time.process_time()
    if lent is not None:  # of the other of flow-is and smc, or of another β
        lent = replace(lent, method=METHODS[method], config=config)
    fitted = fit_problem(method, problem, config, seed, previous=lent)
    middle = time.process_time()
    points = fitted.sample(DRAWN, seed)
    seconds = {"train": middle - start, "sample": time.process_time() - middle}
    return {"method": name, "distance": distance(points, truth), "cpu_seconds": seconds}, fitted


def cells(sizes: tuple[int, ...], rows: int, seeds: int, changes: dict[str, Any]) -> Any:
    """Every number, one after the other."""
    for size in sizes:
        base, energy = law(size)
        for seed in range(seeds):
            points = np.asarray(base.sample(jax.random.key(seed), rows))
            flow: Fitted | None = None
            flow_seconds = 0.0
            for share in SHARES:
                problem = make_problem(points, energy, target_ess=share)
                tilted = tilt(base, energy, problem.beta).tilted
                truth, *exact = (tilted.sample(jax.random.key(100 * (seed + 1) + i), DRAWN) for i in range(5))
                floor = float(np.mean([distance(sample, truth) for sample in exact]))
                for name in METHODS_OF:
                    shared = name in ("flow-is", "smc")
                    cell, fitted = measure(name, problem, flow if shared else None, changes, seed, truth)
                    if shared and flow is None:
                        flow, flow_seconds = fitted, cell["cpu_seconds"]["train"]
                    if shared:
                        cell["cpu_seconds"]["train"] = flow_seconds
                    yield {
                        "d": size,
                        "share": share,
                        "seed": seed,
                        "beta": problem.beta,
                        "floor": floor,
                        "ratio": cell["distance"] / floor,
                        **cell,
                    }


def table(found: list[dict[str, Any]]) -> str:
    """Means over the seeds, with their range where there are several; CPU seconds behind a comma."""
    columns = list(dict.fromkeys((cell["d"], cell["share"]) for cell in found))
    heads = [f"d = {d}, ESS {share:.1%}" for d, share in columns]
    lines = [["method", *heads, "CPU s, training", "CPU s, 10⁴ samples"], ["---"] * (len(heads) + 3)]
    for name in dict.fromkeys(cell["method"] for cell in found):
        mine = [cell for cell in found if cell["method"] == name]
        texts = []
        for column in columns:
            values = [cell["ratio"] for cell in mine if (cell["d"], cell["share"]) == column]
            between = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            texts.append(f"{np.mean(values):.2f}{between}" if values else "–")
        times = [
            f"{np.median([cell['cpu_seconds'][part] for cell in mine]):.3g}" for part in ("train", "sample")
        ]
        lines.append([f"`{name}`" if name in METHODS else name, *texts, *times])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=5_000, help="gradient steps of each network")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the data")
    parser.add_argument("--seeds", type=int, default=1, help="data and networks drawn anew")
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(LAWS), choices=sorted(LAWS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS_OF), choices=list(METHODS_OF))
    parser.add_argument("--quick", action="store_true", help="2,000 steps of batches of 256, smaller pools")
    arguments = parser.parse_args()
    changes: dict[str, Any] = {"steps": arguments.steps}
    if arguments.quick:
        changes = {"steps": 2_000, "batch_size": 256}
        METHODS_OF["flow-is"] = ("flow-is", {"pool": 131_072})
        METHODS_OF["smc"] = ("smc", {"pool": 20_000})
    for name in set(METHODS_OF) - set(arguments.methods):
        del METHODS_OF[name]
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = {**changes, "rows": arguments.rows, "cores": len(os.sched_getaffinity(0))}
    found: list[dict[str, Any]] = []
    for cell in cells(tuple(arguments.sizes), arguments.rows, arguments.seeds, changes):
        found.append(cell)
        print({key: value for key, value in cell.items() if key not in ("floor", "distance")}, flush=True)
        write_json(arguments.out / "guide-ess.json", {"settings": settings, "cells": found})
        write_text(arguments.out / "guide-ess.md", table(found))
    print(table(found))


if __name__ == "__main__":
    main()

"""Do displaced points pay? Effective sample size and distance to the truth of `tilted-path`, and annealing.

    python benchmarks/tilted_path.py OUT [--steps 5000] [--rows 50000]

Writes OUT/tilted-path.json, tilted-path.png and annealing.png. Three parts, on laws with closed forms:
1. the effective share of the proposals against σ, measured and in closed form, for N(0, I) with E = a|x|²/2
   and for a linear energy;
2. the distance to the true tilt against σ, in units of the distance of resampled data;
3. the distance at a β where a thousandth of the rows is effective, for β reached in k = 1, 2, 4, 8 steps, and
   for one step with as many gradient steps.
Every network is trained once, with one seed: the scatter between seeds is not shown.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tiltflow.exact import GaussianMixture, QuadraticEnergy, gaussian_mixture, tilt
from tiltflow.files import write_json
from tiltflow.guidance import make_problem
from tiltflow.guidance.energies import differentiable_energy
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.tilted_path import displaced_problem
from tiltflow.guidance.problem import Problem
from tiltflow.metrics import sliced_wasserstein

DRAWN = 10_000
SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
STEPS_TO_BETA = (1, 2, 4, 8)


def closed_share(beta_a: float, sigma: float, size: int) -> float:
    """ESS/n of proposals for p = N(0, I), E = a|x|²/2: (E w)²/E w², a product over coordinates.

    Given z, with b = βa and s = σ²: E_x[w] = exp(−b·z²/(2k))/√k, k = 1 + bs, and E_x[w²] is a Gaussian
    integral of x ~ N(z(1 − bs), s).
    """
    b, s = beta_a, sigma**2
    k = 1 + b * s
    mean = 1 / np.sqrt(k) / np.sqrt(1 + b / k)
    # ∫ N(x; m, s)·exp(−b·x² + 2bzx) dx with m = z(1 − bs), times exp(−2b·z² + b²s·z²).
    m = 1 - b * s
    quadratic = b + 1 / (2 * s) if s > 0 else np.inf
    linear = 2 * b + m / s if s > 0 else np.inf
    power = linear**2 / (4 * quadratic) - m**2 / (2 * s) if s > 0 else b
    kappa = -2 * (power - 2 * b + b**2 * s)
    if kappa <= -1:
        return 0.0  # the second moment of the weights is infinite
    square = 1 / np.sqrt(1 + 2 * b * s) / np.sqrt(1 + kappa)
    return float((mean**2 / square) ** size)


def shares(rows: int) -> list[dict[str, Any]]:
    """Part 1."""
    found = []
    for size, b in ((1, 4.0), (2, 4.0), (8, 1.0)):
        points = np.random.default_rng(0).standard_normal((rows, size))
        problem = make_problem(points, lambda x: jnp.sum(x**2, axis=-1) / 2, b, standardise=False)
        for sigma in SIGMAS:
            closed = closed_share(b, sigma, size)
            found.append(
                {"energy": f"βa = {b:g}, d = {size}", "sigma": sigma, "closed": closed}
                | {"share": share(problem, sigma)}
            )
    points = np.random.default_rng(0).standard_normal((rows, 1))
    problem = make_problem(points, lambda x: -x[:, 0], 1.5, standardise=False)
    for sigma in SIGMAS:
        # Linear: w = exp(β·z) whatever σ, but z + noise has to be reached: exp(−β²)·1 for p = N(0, 1).
        found.append(
            {"energy": "linear, β = 1.5, d = 1", "sigma": sigma, "closed": float(np.exp(-(1.5**2)))}
            | {"share": share(problem, sigma)}
        )
    return found


def share(problem: Problem, sigma: float) -> float:
    """ESS of the proposals over their number."""
    config = METHODS["tilted-path"].config
    energy = differentiable_energy(problem, config, jax.random.key(0), Trainer(config))
    moved = displaced_problem(problem, energy, sigma, jax.random.key(1))
    return moved.ess / len(moved.points)


def laws() -> dict[str, tuple[GaussianMixture, QuadraticEnergy]]:
    """Mixtures and energies of which the truth is known."""
    found = {}
    for name, size, seed in (("3 modes, d = 2", 2, 4), ("3 modes, d = 8", 8, 1)):
        rng = np.random.default_rng(seed)
        factors = rng.standard_normal((3, size, size)) / np.sqrt(size)
        covariances = 0.3 * factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(size)
        base = gaussian_mixture(rng.uniform(0.5, 1.5, 3), 1.5 * rng.standard_normal((3, size)), covariances)
        factor = rng.standard_normal((size, size)) / np.sqrt(size)
        energy = QuadraticEnergy(0.5 * factor @ factor.T, 0.5 * rng.standard_normal(size), 0.3)
        found[name] = base, energy
    return found


class Bench:
    """One law at one effective share: distances of methods, in units of resampled data's."""

    def __init__(self, base: GaussianMixture, energy: QuadraticEnergy, ess: float, rows: int, steps: int):
        points = np.asarray(base.sample(jax.random.key(0), rows))
        self.problem = make_problem(points, energy, target_ess=ess)
        truth = tilt(base, energy, self.problem.beta).tilted
        self.truth = truth.sample(jax.random.key(1), DRAWN)
        self.steps = steps
        self.floor = self._distance(truth.sample(jax.random.key(2), DRAWN))
        self.resampled = self._distance(fit_problem("resample", self.problem).sample(DRAWN))

    def _distance(self, points: Any) -> float:
        key = jax.random.key(3)
        points = jnp.asarray(points, jnp.float32)
        return sliced_wasserstein(key, points, jnp.asarray(self.truth, jnp.float32), replicates=0).value

    def measure(self, method: str, **changes: Any) -> dict[str, float]:
        """Distances over that of an exact sample and of resampled data, and CPU seconds."""
        config = replace(METHODS[method].config, **{"steps": self.steps, **changes})
        start = time.process_time()
        distance = self._distance(fit_problem(method, self.problem, config).sample(DRAWN))
        seconds = time.process_time() - start
        result = {"over_exact": distance / self.floor, "over_resampled": distance / self.resampled}
        print(
            method, changes, {k: round(v, 2) for k, v in result.items()}, f"{seconds:.0f} CPU s", flush=True
        )
        return result | {"cpu_seconds": seconds}


def distances(rows: int, steps: int) -> list[dict[str, Any]]:
    """Part 2."""
    found = []
    for name, (base, energy) in laws().items():
        for ess in (0.06, 0.01):
            bench = Bench(base, energy, ess, rows, steps)
            for sigma in SIGMAS[:6]:
                record = {"law": name, "ess": ess, "sigma": sigma, "share": share(bench.problem, sigma)}
                found.append(record | bench.measure("tilted-path", sigma=sigma))
    return found


def annealing(rows: int, steps: int) -> list[dict[str, Any]]:
    """Part 3."""
    found = []
    for name, (base, energy) in laws().items():
        bench = Bench(base, energy, 0.001, rows, steps)
        exact = bench.resampled / bench.floor
        print(name, "resampled over exact", round(exact, 2), flush=True)
        for count in STEPS_TO_BETA:
            common = {"law": name, "k": count, "beta": bench.problem.beta, "resampled_over_exact": exact}
            variants: dict[str, dict[str, Any]] = {
                "efm, annealed": {"method": "tilted-path", "sigma": 0.0, "anneal": count},
                "tilted-path, σ = 0.1, annealed": {"method": "tilted-path", "sigma": 0.1, "anneal": count},
                "flowq, velocity, learned, annealed": {"method": "flowq", "anneal": count},
                "efm, one step, as many gradient steps": {"method": "efm", "steps": steps * count},
            }
            for variant, settings in variants.items():
                method = settings.pop("method")
                found.append(common | {"variant": variant} | bench.measure(method, **settings))
    return found


def draw(results: dict[str, Any], out: Path) -> None:
    """Both figures; lines differ in their marks and strokes too, for black and white."""
    styles = [("o", "-"), ("s", "--"), ("^", "-."), ("D", ":")]
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for (mark, stroke), name in zip(
        styles, dict.fromkeys(r["energy"] for r in results["shares"]), strict=False
    ):
        rows = [r for r in results["shares"] if r["energy"] == name]
        x = [r["sigma"] for r in rows]
        (line,) = left.plot(x, [r["closed"] for r in rows], stroke, linewidth=1.2)
        left.plot(x, [r["share"] for r in rows], mark, color=line.get_color(), label=name, markersize=5)
    left.set(
        xlabel="σ (standard deviations of the data)", ylabel="effective share of the proposals", ylim=(0, 1)
    )
    left.legend(frameon=False, title="marks measured, lines closed form")
    names = dict.fromkeys((r["law"], r["ess"]) for r in results["distances"])
    for (mark, stroke), (law, ess) in zip(styles, names, strict=False):
        rows = [r for r in results["distances"] if (r["law"], r["ess"]) == (law, ess)]
        values = [r["over_exact"] for r in rows]
        right.plot(
            [r["sigma"] for r in rows], values, mark + stroke, label=f"{law}, ESS {ess:.0%}", markersize=5
        )
    right.axhline(2, color="0.6", linewidth=0.8)
    right.set(xlabel="σ (standard deviations of the data)", yscale="log")
    right.set(ylabel="sliced W₂ to the tilt / that of an exact sample")
    _plain_numbers(right)
    right.legend(frameon=False)
    figure.savefig(out / "tilted-path.png", dpi=160)
    laws_ = list(dict.fromkeys(r["law"] for r in results["annealing"]))
    figure, axes = plt.subplots(1, len(laws_), figsize=(10, 3.8), layout="constrained", squeeze=False)
    for place, law in zip(axes[0], laws_, strict=True):
        rows = [r for r in results["annealing"] if r["law"] == law]
        for (mark, stroke), variant in zip(styles, dict.fromkeys(r["variant"] for r in rows), strict=True):
            chosen = [r for r in rows if r["variant"] == variant]
            values = [r["over_exact"] for r in chosen]
            place.plot([r["k"] for r in chosen], values, mark + stroke, label=variant, markersize=5)
        place.axhline(rows[0]["resampled_over_exact"], color="0.4", linewidth=0.8, label="resampled data")
        place.set(xscale="log", yscale="log", xlabel="steps k to β", title=f"{law}, ESS 0.1 %")
        place.set_xticks(STEPS_TO_BETA, [str(k) for k in STEPS_TO_BETA])
        place.minorticks_off()
        _plain_numbers(place)
    axes[0][0].set_ylabel("sliced W₂ to the tilt / that of an exact sample")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    figure.savefig(out / "annealing.png", dpi=160)


def _plain_numbers(axes: Any) -> None:
    """1, 2, 5, 10, … on a logarithmic axis, in the place of powers of ten."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--steps", type=int, default=5_000, help="gradient steps of each network and step of β"
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the data")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"rows": arguments.rows, "steps": arguments.steps}
    for name, work in (
        ("shares", lambda: shares(arguments.rows)),
        ("distances", lambda: distances(arguments.rows, arguments.steps)),
        ("annealing", lambda: annealing(arguments.rows, arguments.steps)),
    ):
        results[name] = work()
        write_json(arguments.out / "tilted-path.json", results)
    draw(results, arguments.out)
    print(json.dumps(results["shares"], indent=1))


if __name__ == "__main__":
    main()

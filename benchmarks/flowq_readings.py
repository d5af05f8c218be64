"""What each reading of FlowQ samples: trained networks beside closed forms, on two modes in one dimension.

    python benchmarks/flowq_readings.py OUT [--steps 5000] [--rows 200000]

p = ½·N(−2, 0.09) + ½·N(2, 0.09), λ = β = 1, for E = −x and E = (x − 2)²/8. Reported are the share above 0,
the mean and deviation there, and the Wasserstein-1 distance to the true tilt. The expected values are
those of the exact law: of one step down the energy for the `path` reading, of the exact guided field (its ODE
in 400 steps, or the solver's own 20 where the field is not bounded) for `velocity`, of the tilt for `efm` and
`tilted-path` (of the smoothed data). One seed. Writes OUT/flowq-readings.json and .md.
"""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tiltflow.exact import GaussianMixture, QuadraticEnergy, gaussian_mixture, predict, tilt
from tiltflow.files import write_json, write_text
from tiltflow.guidance import make_problem
from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.energies import differentiable_energy
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.guided_paths import FixedSchedule, LearnedSchedule
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.guided_matching import make_schedule
from tiltflow.paths import PATHS
from tiltflow.solvers import integrate

DRAWN = 50_000
ENERGIES = {
    "E = −x": QuadraticEnergy(jnp.zeros((1, 1)), jnp.ones(1)),
    "E = (x − 2)²/8": QuadraticEnergy(jnp.full((1, 1), 0.25), jnp.full(1, 0.5), 0.5),
}


@dataclass(frozen=True)
class Case:
    name: str
    method: str = "flowq"
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> FitConfig:
        return replace(METHODS[self.method].config, **self.changes)


def velocity(schedule: str, factor: str = "score") -> dict[str, Any]:
    return {"reading": "velocity", "schedule": schedule, "velocity_factor": factor}


def path(sigma: float, displacement: float, **more: Any) -> dict[str, Any]:
    return {"reading": "path", "schedule": "linear", "sigma": sigma, "displacement": displacement, **more}


CASES = (
    Case("unguided", "unguided"),
    Case("efm", "efm"),
    Case("tilted-path, σ = 0.1", "tilted-path", {"sigma": 0.1}),
    Case("path, σ = 0.3, displacement σ²", changes=path(0.3, 0.09)),
    Case("path, σ = 1, displacement σ²", changes=path(1.0, 1.0)),
    Case("path, σ = 0, displacement 1", changes=path(0.0, 1.0)),
    Case("the same without the Hessian", changes=path(0.0, 1.0, hessian=False)),
    Case("path, σ = 0, displacement 2", changes=path(0.0, 2.0)),
    Case("path, σ = 0, displacement 4", changes=path(0.0, 4.0)),
    Case("velocity, h = t", changes=velocity("linear")),
    Case("velocity, h = t²", changes=velocity("quadratic")),
    Case("velocity, h = t²/(1 − t)", changes=velocity("rational")),
    Case("velocity, h learned", changes=velocity("learned")),
    Case("velocity, raw, h = t²", changes=velocity("quadratic", "raw")),
    Case("velocity, raw, h = t²/(1 − t)", changes=velocity("rational", "raw")),
)


def expected(case: Case, base: GaussianMixture, energy: QuadraticEnergy, schedule: Any) -> np.ndarray | None:
    """A sample of the law that an exact model of the case has; None where it has none in closed form."""
    config = case.config
    data = np.asarray(base.sample(jax.random.key(10), DRAWN))
    noise = jax.random.normal(jax.random.key(11), data.shape)
    if case.method == "unguided":
        return data
    if case.method in ("efm", "tilted-path"):
        sigma = config.sigma if case.method == "tilted-path" else 0.0
        covariances = np.asarray(base.covariances) + sigma**2 * np.eye(1)
        smoothed = gaussian_mixture(np.asarray(base.weights), np.asarray(base.means), covariances)
        return np.asarray(tilt(smoothed, energy, 1.0).tilted.sample(jax.random.key(12), DRAWN))
    if config.reading == "path":
        if not config.hessian:
            return None
        return np.asarray(data - config.displacement * energy.gradient(data) + config.sigma * noise)

    def field(t: Any, x: Any) -> Any:
        times = jnp.full(x.shape[:-1], t)
        factor = schedule.c if config.velocity_factor == "score" else schedule.h
        guided = factor(times)[..., None] * energy.gradient(x)
        return predict(base, PATHS["ot"], "velocity", times, x) - guided

    raw = config.velocity_factor == "raw" and config.schedule == "rational"
    steps = config.num_steps if raw else 400
    return np.asarray(
        integrate(field, noise, start=1e-4, end=1 - 1e-4, num_steps=steps, method=config.solver)
    )


def describe(points: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Share above 0, mean and standard deviation there, and the Wasserstein-1 distance to the truth."""
    above = points[points > 0]
    distance = float(np.mean(np.abs(np.sort(points) - np.sort(truth))))
    return {
        "above": float((points > 0).mean()),
        "mean": float(above.mean()),
        "std": float(above.std()),
        "w1": distance,
    }


def schedule_of(case: Case, problem: Any) -> FixedSchedule | LearnedSchedule:
    """The schedule that the fit uses: the learned one is fitted again."""
    trainer = Trainer(case.config)
    energy = differentiable_energy(problem, case.config, jax.random.key(0), trainer)
    return make_schedule(problem, case.config, jax.random.key(0), trainer, energy)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=5_000, help="gradient steps of each network")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the data")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = gaussian_mixture(np.ones(2), np.array([[-2.0], [2.0]]), np.full((2, 1, 1), 0.09))
    rows = np.asarray(base.sample(jax.random.key(0), arguments.rows))
    records = []
    for name, energy in ENERGIES.items():
        truth = np.asarray(tilt(base, energy, 1.0).tilted.sample(jax.random.key(13), DRAWN))[:, 0]
        problem = make_problem(rows, energy, 1.0, standardise=False)
        for case in CASES:
            case = replace(case, changes={**case.changes, "steps": arguments.steps})
            law = expected(case, base, energy, schedule_of(case, problem) if case.method == "flowq" else None)
            drawn = fit_problem(case.method, problem, case.config).sample(DRAWN)[:, 0]
            record = {"energy": name, "case": case.name, "trained": describe(drawn, truth)}
            record["expected"] = None if law is None else describe(law[:, 0], truth)
            records.append(record)
            print(record, flush=True)
            write_json(arguments.out / "flowq-readings.json", {"steps": arguments.steps, "records": records})
    write_text(arguments.out / "flowq-readings.md", table(records))


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: trained numbers, the expected ones in brackets."""
    lines = [
        "| E | method | share above 0 | mean there | std there | W₁ to the tilt |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        cells = [record["energy"], record["case"]]
        for key in ("above", "mean", "std", "w1"):
            law = record["expected"]
            cells.append(f"{record['trained'][key]:.3f} ({'—' if law is None else f'{law[key]:.3f}'})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

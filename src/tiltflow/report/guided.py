"""What `guide` leaves behind: the samples, their metrics, and a picture beside the data."""

import csv
import hashlib
import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tiltflow import __version__
from tiltflow.errors import TrainingDiverged
from tiltflow.files import atomic_file, write_json
from tiltflow.guidance.baseline import within_conditions
from tiltflow.guidance.effective_rows import resample_rows
from tiltflow.guidance.fitted import Fitted
from tiltflow.guidance.saved_model import Origin, save_model
from tiltflow.guidance.verdict import judge
from tiltflow.metrics import Estimate, sliced_wasserstein

MODEL = "model.npz"
_COMPARED = 5_000
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_results(
    fitted: Fitted, n: int, seed: int, at: Any, out: Path, origin: Origin, *, with_model: bool = True
) -> dict[str, Any]:
    """Draw n samples (at the conditions `at`) and write samples.npy, model.npz, metrics.json and, where
    matplotlib is installed, samples.png into `out`; returns the metrics. Points from a CSV give a CSV too.

    The distance is the sliced Wasserstein-2 distance, in the standardised units of the networks, between at
    most 5000 samples and as many rows resampled by their weights; its floor is that between two such
    resamples. With rows that were kept from training the metrics have a verdict on the samples.
    """
    key = jax.random.fold_in(jax.random.key(seed), 1)
    start = time.perf_counter()
    samples = fitted.sample(n, key, condition=at)
    seconds = time.perf_counter() - start
    if not np.isfinite(samples).all():
        raise TrainingDiverged(
            f"{(~np.isfinite(samples)).any(axis=1).sum():,} of {n:,} samples are not finite; nothing was "
            f"written to {out}. Lower --learning-rate or --beta, or raise --num-steps."
        )
    problem = fitted.problem
    metrics: dict[str, Any] = {
        "method": fitted.method.name,
        "beta": fitted.beta,
        "ess": problem.ess,
        "seconds": fitted.seconds,
        "network_evaluations_per_sample": fitted.evaluations,
        "rows": len(problem.points),
        "transform": "none" if problem.transform is None else type(problem.transform).__name__.lower(),
        "dimensions": problem.points.shape[1],
        "samples": n,
        "sample_seconds": seconds,
        "parameters": fitted.parameters,
        "seed": seed,
        "config": asdict(fitted.config),
        "final_losses": {name: losses[-1] for name, losses in fitted.losses.items()},
        "notes": list(fitted.notes),
        "source": origin.source,
        "columns": list(origin.names),
        "sha256": hashlib.sha256(problem.points.tobytes() + problem.energies.tobytes()).hexdigest(),
        "tiltflow": __version__,
    }
    first, second = (
        problem.points[resample_rows(np.random.default_rng([seed, i]), problem.weights, min(n, _COMPARED))]
        for i in (2, 3)
    )
    within = within_conditions(problem)
    if within is not None:
        metrics["ess_within_conditions"] = within._asdict()
    if problem.condition is None:
        drawn = problem.standardise(samples[: len(first)])
        metrics["distance"] = _distance(key, drawn, second)._asdict()
        metrics["distance_floor"] = _distance(key, first, second)._asdict()
    if origin.held is not None:
        verdict = judge(jax.random.fold_in(key, 1), problem, samples, origin.held)
        metrics["verdict"] = {**verdict._asdict(), "sentence": verdict.sentence}
    with atomic_file(out / "samples.npy") as file:
        np.save(file, samples, allow_pickle=False)
    files = ["samples.npy", "metrics.json"]
    suffix = Path(origin.source).suffix.lower()
    if suffix in _DELIMITERS:
        _write_table(out / f"samples{suffix}", samples, origin.names, _DELIMITERS[suffix])
        files.insert(1, f"samples{suffix}")
    if with_model:
        save_model(fitted, out / MODEL, origin)
        files.append(MODEL)
    try:
        from tiltflow.report.samples import draw_samples
    except ImportError:
        pass
    else:
        draw_samples(fitted, samples, out / "samples.png", origin.names)
        files.append("samples.png")
    metrics["files"] = files
    write_json(out / "metrics.json", metrics)
    return metrics


def _write_table(
    path: Path, samples: Float[np.ndarray, "n d"], names: tuple[str, ...], delimiter: str
) -> None:
    """The samples as text, under the names of their columns where they have some."""
    title = io.StringIO()
    if names:
        csv.writer(title, delimiter=delimiter, lineterminator="\n").writerow(names)
    with atomic_file(path) as file:
        file.write(title.getvalue().encode())
        digits = "%.9g" if samples.dtype == np.float32 else "%.17g"
        np.savetxt(file, samples, fmt=digits, delimiter=delimiter)


def _distance(key: Any, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]) -> Estimate:
    return sliced_wasserstein(key, jnp.asarray(x), jnp.asarray(y))

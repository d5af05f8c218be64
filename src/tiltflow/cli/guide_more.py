"""`tiltflow guide --more`: further samples of a model that is fitted; and what is printed of any samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiltflow.errors import UserError

if TYPE_CHECKING:
    from tiltflow.guidance.fitted import Fitted


@dataclass(frozen=True)
class More:
    """Draw more samples of a model that `tiltflow guide` has fitted, without training it again."""

    more: Annotated[Path, tyro.conf.arg(metavar="MODEL")]
    """The folder that `guide` wrote (its --out), or the model.npz in it."""
    samples: int = 10_000
    """Points to draw."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the files; without it more-SEED beside the model."""
    seed: int | None = None
    """Seed of the sampling; without it the next of which there is no more-SEED beside the model. That of the
    fit gives its samples."""
    at: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The conditions to sample at, where the model has a condition."""

    def run(self) -> None:
        """Read the model, sample, write the files, print what came out."""
        check_samples(self.samples)
        from tiltflow.cli.guide_input import read_conditions
        from tiltflow.guidance.saved_model import load_model
        from tiltflow.report.guided import MODEL, write_results

        model = self.more / MODEL if self.more.is_dir() else self.more
        fitted, origin = load_model(model)
        seed = self.seed
        if seed is None:
            seed = fitted.seed + 1
            while (model.parent / f"more-{seed}").exists():
                seed += 1
        out = self.out or model.parent / f"more-{seed}"
        check_out(out)
        at = None if self.at is None else read_conditions(self.at)
        metrics = write_results(fitted, self.samples, seed, at, out, origin, with_model=False)
        print_results(fitted, metrics, out)


def check_samples(samples: int) -> None:
    """Raise UserError for less than one."""
    if samples < 1:
        raise UserError(f"--samples is {samples}, but must be at least 1.")


def check_out(out: Path) -> None:
    """Raise UserError where `out` holds samples already, or is no folder."""
    taken = [name for name in ("samples.npy", "metrics.json") if (out / name).exists()]
    if taken:
        raise UserError(f"{out} holds {taken[0]} already. Choose another folder with --out.")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder. Choose another one with --out.")


def print_results(fitted: "Fitted", metrics: dict[str, Any], out: Path) -> None:
    """Say in a table what was sampled and how well, then the notes, the files and the verdict."""
    from tiltflow.cli.tables import print_table

    n = metrics["rows"]
    rows = [
        ("method", f"{fitted.method.name}: {fitted.method.description}"),
        *(
            [("points", f"{', '.join(metrics['columns'])} of {metrics['source']}")]
            if metrics["columns"]
            else []
        ),
        ("beta", f"{metrics['beta']:.6g}"),
        ("effective rows", f"{metrics['ess']:,.1f} of {n:,} ({metrics['ess'] / n:.2%})"),
        ("training", f"{metrics['seconds']:.1f} s, {metrics['parameters']:,} parameters"),
        (
            "sampling",
            f"{metrics['samples']:,} points in {metrics['sample_seconds']:.2f} s, "
            f"{metrics['network_evaluations_per_sample']} network evaluations each",
        ),
    ]
    if "ess_within_conditions" in metrics:
        within = metrics["ess_within_conditions"]
        shares = f"{within['median']:.1%} (median), {within['low']:.1%} (worst tenth)"
        rows.insert(-2, ("effective near a condition", f"{shares} of {within['neighbours']} rows"))
    if "distance" in metrics:
        distance, floor = metrics["distance"], metrics["distance_floor"]
        rows += [
            (
                "distance to resampled data",
                f"{distance['value']:.4g} ({distance['low']:.3g} to {distance['high']:.3g})",
            ),
            (
                "the same between two resamples",
                f"{floor['value']:.4g} ({floor['low']:.3g} to {floor['high']:.3g})",
            ),
        ]
    print_table(("", ""), rows)
    for note in fitted.notes:
        print(f"note: {note}")
    for name in metrics["files"]:
        print(out / name)
    if "verdict" in metrics:
        print(f"verdict: {metrics['verdict']['sentence']}")

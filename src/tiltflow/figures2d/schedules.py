"""FlowQ's Figures 1 and 2: two modes, an energy that prefers the upper one, and where each schedule leads.

What the paper's own 2-D law is was not found. Ours has a closed form: p = ½·N((0, −2), 0.3²I) + ½·N((0, 2),
0.3²I), E = −x₂, β = 1, of whose tilt 98.2 % is in the upper mode. A displaced path is given the size at which
its end displacement is 4, the distance of the modes; at its own size, 1, no row leaves its mode.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tiltflow.files import atomic_file, read_json, write_json
from tiltflow.flow import Generator
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.guided_paths import FixedSchedule
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.guided_matching import FlowQFitConfig
from tiltflow.guidance.problem import make_problem
from tiltflow.npz import load_npz, save_npz
from tiltflow.solvers import integrate

_BETA, _MODES, _SPREAD, _DISTANCE = 1.0, 2.0, 0.3, 4.0
_ROWS, _DRAWN, _TRACED = 100_000, 10_000, 60
_FORMAT = 1


@dataclass(frozen=True)
class Case:
    """One panel: a method with its settings, or the truth."""

    name: str
    title: str
    method: str | None = None
    config: FlowFitConfig | None = None


@dataclass(frozen=True)
class Traced:
    """Samples of a case, the ways of some of them from noise to data, and the share in the upper mode."""

    case: Case
    points: Float[np.ndarray, "n 2"]
    ways: Float[np.ndarray, "times m 2"]
    upper: float


def cases(steps: int | None) -> list[Case]:
    """The panels, row by row: what is aimed at, the velocity reading's schedules, the path reading's."""

    def case(name: str, title: str, method: str = "flowq", **changes: Any) -> Case:
        config = METHODS[method].config
        assert isinstance(config, FlowFitConfig)
        config = replace(config, steps=config.steps if steps is None else steps, **changes)
        return Case(name, title, method, config)

    last = float(FixedSchedule("rational", 1 - 1 / FlowQFitConfig().num_steps).h(jnp.ones(())))
    sizes = {"linear": _DISTANCE, "quadratic": _DISTANCE, "rational": _DISTANCE / last}
    symbols = {"linear": "t", "quadratic": "t²", "rational": "t²/(1 − t)", "learned": "learned"}
    velocity = [
        case(f"velocity-{name}", f"flowq, velocity, h = {symbol}", reading="velocity", schedule=name)
        for name, symbol in symbols.items()
    ]
    path = [
        case(
            f"path-{name}",
            f"flowq, path, h = {symbols[name]}",
            reading="path",
            schedule=name,
            displacement=size,
            sigma=0.05,
        )
        for name, size in sizes.items()
    ]
    return [
        Case("data", "data p"),
        Case("truth", "truth p·exp(−βE)"),
        case("unguided", "unguided flow", "unguided"),
        case("efm", "efm", "efm"),
        *velocity,
        *path,
        case("tilted-path", "tilted-path", "tilted-path"),
    ]


def trace_all(
    todo: Sequence[Case], folder: Path, advance: Callable[[str, int, int, str], None]
) -> list[Traced]:
    """Every case: taken from `folder` where it is there with the same settings, else computed and stored."""
    found = []
    for number, case in enumerate(todo, start=1):
        settings = _settings(case)
        record = folder / f"flowq-{case.name}.json"
        if not (record.exists() and read_json(record) == settings):
            record.unlink(missing_ok=True)
            points, ways = _compute(case)
            with atomic_file(record.with_suffix(".npz")) as file:
                save_npz(file, {"points": points, "ways": ways}, packed=True)
            write_json(record, settings)
        arrays = load_npz(record.with_suffix(".npz"), "points", "ways")
        points, ways = arrays["points"], arrays["ways"]
        found.append(Traced(case, points, ways, float(np.mean(points[:, 1] > 0))))
        advance("FlowQ's schedules", number, len(todo), case.name)
    return found


def _settings(case: Case) -> dict[str, Any]:
    config = None if case.config is None else asdict(case.config)
    return {"format": _FORMAT, "method": case.method, "config": config, "rows": _ROWS, "drawn": _DRAWN}


def _modes(n: int, upper: float, mean: float, seed: int) -> Float[np.ndarray, "n 2"]:
    rng = np.random.default_rng(seed)
    centre = np.where(rng.random(n) < upper, _MODES, -_MODES) + mean
    return rng.standard_normal((n, 2)) * _SPREAD + np.stack([np.zeros(n), centre], axis=1)


def _compute(case: Case) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "times m 2"]]:
    nothing = np.zeros((0, 0, 2), np.float32)
    if case.method is None or case.config is None:
        # exp(x₂) moves each mode by its variance and weights it by exp of its mean.
        odds = np.exp(2 * _MODES * _BETA) if case.name == "truth" else 1.0
        shift = _BETA * _SPREAD**2 if case.name == "truth" else 0.0
        return _modes(_DRAWN, odds / (1 + odds), shift, seed=1).astype(np.float32), nothing
    rows = _modes(_ROWS, 0.5, 0.0, seed=0)
    problem = make_problem(rows, lambda x: -x[:, 1], _BETA, standardise=False)
    fitted = fit_problem(case.method, problem, case.config)
    return fitted.sample(_DRAWN), np.asarray(_ways(fitted.model, case.config.num_steps))


def _ways(flow: Generator, num_steps: int) -> Float[np.ndarray, "times m 2"]:
    """Points on the way of a few samples, at every step of the solver."""
    noise = jax.random.normal(jax.random.key(2), (_TRACED, 2))

    def steps(x: jax.Array) -> Iterator[jax.Array]:
        yield x
        for number in range(num_steps):
            start, end = number / num_steps, (number + 1) / num_steps
            x = integrate(
                lambda t, x: flow.predict("velocity", t, x),
                x,
                start=start,
                end=end,
                num_steps=1,
                method="midpoint",
            )
            yield x

    return np.stack([np.asarray(x) for x in steps(noise)])

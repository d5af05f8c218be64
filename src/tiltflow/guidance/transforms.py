"""Invertible changes of coordinates before a fit, for data that networks resolve badly in their own.

A tilt commutes with them: where x ~ p, T(x) tilted by E(T⁻¹(·)) and led back is p tilted by E.

whiten    T(x) = Λ^(−½)·Uᵀ(x − m), with cov = UΛUᵀ: for coordinates that are nearly functions of each other.
quantile  each coordinate to its normal score, Φ⁻¹(rank), piecewise linear between up to 1,025 quantiles of
          the data and straight on beyond them: for clusters that are far apart and narrow, and heavy tails.
lattice   quantile of x + v, v uniform up to half-way to the next values; led back to the nearest value that
          the data have, coordinate by coordinate: for integers and other values that repeat. No density.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from tiltflow.errors import UserError
from tiltflow.settings import TransformName

KNOTS = 1025
MOST_VALUES = 10_000


class Transform:
    """T. `xp` is the module of arrays, numpy or jax.numpy, in which T⁻¹ is computed."""

    @abstractmethod
    def forward(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """T(x)."""

    @abstractmethod
    def inverse(self, points: Any, xp: Any = np) -> Any:
        """T⁻¹(y) of points [..., d]."""

    @abstractmethod
    def log_slope(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """log |det dT/dx| at x. Raises UserError where T has none."""


@dataclass(frozen=True)
class Whiten(Transform):
    mean: Float[np.ndarray, " d"]
    vectors: Float[np.ndarray, "d d"]
    deviations: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, points: Float[np.ndarray, "n d"]) -> "Whiten":
        """A direction in which the data do not vary stays as it is."""
        mean = points.mean(axis=0)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(points, rowvar=False, bias=True)))
        floor = 1e-12 * max(float(values.max()), np.finfo(float).tiny)
        return cls(mean, vectors, np.sqrt(np.where(values > floor, values, 1.0)))

    def forward(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        return (points - self.mean) @ self.vectors / self.deviations

    def inverse(self, points: Any, xp: Any = np) -> Any:
        return (points * xp.asarray(self.deviations)) @ xp.asarray(self.vectors.T) + xp.asarray(self.mean)

    def log_slope(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        return np.full(len(points), -np.sum(np.log(self.deviations)))


@dataclass(frozen=True)
class Quantile(Transform):
    knots: tuple[Float[np.ndarray, " k"], ...]
    """Increasing values of each coordinate."""
    scores: tuple[Float[np.ndarray, " k"], ...]
    """Their normal scores."""

    @classmethod
    def of(cls, points: Float[np.ndarray, "n d"]) -> "Quantile":
        """A coordinate that does not vary is shifted to 0."""
        columns = [_scores(column) for column in points.T]
        return cls(tuple(knots for knots, _ in columns), tuple(scores for _, scores in columns))

    def forward(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        pairs = zip(points.T, self.knots, self.scores, strict=True)
        return np.stack([_piecewise(x, knots, scores, np) for x, knots, scores in pairs], axis=-1)

    def inverse(self, points: Any, xp: Any = np) -> Any:
        columns = xp.moveaxis(points, -1, 0)
        pairs = zip(columns, self.scores, self.knots, strict=True)
        return xp.stack([_piecewise(y, scores, knots, xp) for y, scores, knots in pairs], axis=-1)

    def log_slope(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        logs = np.zeros(len(points))
        for x, knots, scores in zip(points.T, self.knots, self.scores, strict=True):
            slopes = np.diff(scores) / np.diff(knots)
            logs += np.log(slopes[np.clip(np.searchsorted(knots, x) - 1, 0, len(slopes) - 1)])
        return logs


@dataclass(frozen=True)
class Lattice(Transform):
    quantile: Quantile
    values: tuple[Float[np.ndarray, " k"], ...]
    """The values of each coordinate, increasing."""
    seed: int = 0

    @classmethod
    def of(cls, points: Float[np.ndarray, "n d"]) -> "Lattice":
        """Raises UserError for a coordinate of too many values."""
        values = tuple(np.unique(column) for column in points.T)
        for coordinate, found in enumerate(values):
            if len(found) > min(MOST_VALUES, max(2, len(points) // 2)):
                raise UserError(
                    f"transform = lattice: coordinate {coordinate} has {len(found)} values in {len(points)} "
                    "rows. It is for values that repeat: choose quantile, or none."
                )
        return cls(Quantile.of(_spread(points, values, 0)), values)

    def forward(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        return self.quantile.forward(_spread(points, self.values, self.seed))

    def inverse(self, points: Any, xp: Any = np) -> Any:
        spread = xp.moveaxis(self.quantile.inverse(points, xp), -1, 0)
        nearest = []
        for x, values in zip(spread, self.values, strict=True):
            edges = xp.asarray((values[1:] + values[:-1]) / 2)
            nearest.append(xp.asarray(values)[xp.searchsorted(edges, x)])
        return xp.stack(nearest, axis=-1)

    def log_slope(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        raise UserError("transform = lattice: values that repeat have no density.")


_KINDS: dict[str, Any] = {"whiten": Whiten, "quantile": Quantile, "lattice": Lattice}


def make_transform(name: TransformName, points: Float[np.ndarray, "n d"]) -> Transform | None:
    """The transform of these points, None for `none`. Raises UserError for an unknown name, or as `of`."""
    if name == "none":
        return None
    if name not in _KINDS:
        raise UserError(f"transform = {name}: it must be none, {', '.join(_KINDS)}.")
    return _KINDS[name].of(points)


def _scores(column: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of a column and their normal scores, dense in the tails. Equal values share a middle rank."""
    n = len(column)
    if np.ptp(column) == 0:
        return np.array([column[0], column[0] + 1.0]), np.array([0.0, 1.0])
    values, counts = np.unique(column, return_counts=True)
    scores = ndtri((np.cumsum(counts) - counts / 2) / n)
    if len(values) > KNOTS:
        wanted = np.linspace(scores[0], scores[-1], KNOTS)
        kept = np.unique(np.clip(np.searchsorted(scores, wanted), 0, len(values) - 1))
        values, scores = values[kept], scores[kept]
    return values, scores


def _piecewise(x: Any, inputs: np.ndarray, outputs: np.ndarray, xp: Any) -> Any:
    """The line through the knots, whose first and last pieces go on."""
    inside = xp.interp(x, xp.asarray(inputs), xp.asarray(outputs))
    first, last = ((outputs[i + 1] - outputs[i]) / (inputs[i + 1] - inputs[i]) for i in (0, -2))
    below, above = xp.minimum(x - inputs[0], 0.0), xp.maximum(x - inputs[-1], 0.0)
    return inside + first * below + last * above


def _spread(
    points: Float[np.ndarray, "n d"], values: tuple[np.ndarray, ...], seed: int
) -> Float[np.ndarray, "n d"]:
    """Each entry moved by a uniform draw up to half-way to the next lower and higher values."""
    share = np.random.default_rng([seed, 5]).uniform(-0.5, 0.5, points.shape)
    columns = []
    for x, u, found in zip(points.T, share.T, values, strict=True):
        gaps = np.diff(found) if len(found) > 1 else np.ones(1)
        place = np.searchsorted(found, x)
        below, above = gaps[np.clip(place - 1, 0, len(gaps) - 1)], gaps[np.clip(place, 0, len(gaps) - 1)]
        columns.append(x + np.where(u < 0, below, above) * u)
    return np.stack(columns, axis=-1)

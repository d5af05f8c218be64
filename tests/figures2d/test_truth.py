"""The exact samples: their law, and the colours and classes that belong to them."""

import numpy as np
import pytest

from tiltflow.datasets2d import DATASETS_2D, class_posterior, sample_2d
from tiltflow.errors import UserError
from tiltflow.figures2d.truth import energies, sample_class, sample_truth


@pytest.mark.parametrize("name", [name for name in DATASETS_2D if name != "swissroll"])
def test_rejection_has_the_law_of_the_weighted_rows(name):
    """Means under q, against means of an independent sample of p with the weights exp(βe)."""
    exact, rows = sample_truth(name, 4000, 3.0, 5), sample_2d(name, 200_000, 6)
    weights = np.exp(3.0 * rows.labels.astype(float))[:, None]
    weights /= weights.mean()
    for drawn, values in ((exact.points, rows.points), (exact.labels[:, None], rows.labels[:, None])):
        expected = np.mean(weights * values, axis=0)
        error = np.var(drawn, axis=0) / len(drawn) + np.var(weights * (values - expected), axis=0) / len(
            rows[0]
        )
        assert np.all(np.abs(drawn.mean(axis=0) - expected) < 4.5 * np.sqrt(error))


def test_the_tilt_of_8gaussians_has_its_closed_form():
    labels = sample_truth("8gaussians", 5000, 10.0, 0).labels
    shares = np.exp(10.0 * np.arange(8) / 7)
    for k, share in enumerate(shares / shares.sum()):
        error = np.sqrt(share * (1 - share) / 5000)
        assert abs(np.mean(np.round(labels * 7) == k) - share) < 5 * error


def test_every_point_is_drawn_once_where_a_pool_would_repeat_its_few_best():
    points = sample_truth("swissroll", 2000, 20.0, 0).points
    assert len(np.unique(points, axis=0)) == 2000


def test_the_energy_is_minus_the_log_of_a_probability():
    labels = sample_2d("swissroll", 10_000, 0).labels
    assert labels.max() > 1
    assert energies(labels).min() == 0
    np.testing.assert_allclose(np.exp(-energies(labels)), class_posterior(labels), rtol=1e-6)


@pytest.mark.parametrize("name", ["swissroll", "8gaussians"])
def test_the_points_in_the_class_are_the_tilt_of_beta_1_and_the_others_complete_the_data(name):
    n = 4000
    inside, outside = (sample_class(name, n, in_class, 0) for in_class in (True, False))
    rows = sample_2d(name, 100_000, 9)
    share = class_posterior(rows.labels).mean()
    for found, wanted in (
        (inside.mean(axis=0), sample_truth(name, n, 1.0, 0).points.mean(axis=0)),
        (share * inside.mean(axis=0) + (1 - share) * outside.mean(axis=0), rows.points.mean(axis=0)),
    ):
        assert np.all(np.abs(found - wanted) < 4.5 * rows.points.std(axis=0) * np.sqrt(2 / n))


def test_a_tilt_that_keeps_hardly_a_row_is_refused():
    with pytest.raises(UserError, match="too large for 2spirals"):
        sample_truth("2spirals", 10_000, 1e4, 0)

import numpy as np
import pytest

from laws import assert_mean
from tiltflow.datasets2d import DATASETS_2D, class_posterior, draw_classes, sample_2d
from tiltflow.errors import UserError

MANY = 50_000


@pytest.fixture(params=DATASETS_2D)
def name(request):
    return request.param


def test_a_set_is_a_function_of_its_seed(name):
    first, again, other = (sample_2d(name, 1000, seed) for seed in (0, 0, 1))
    assert first.points.shape == (1000, 2)
    assert first.labels.shape == (1000,)
    assert first.points.dtype == first.labels.dtype == np.float32
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert np.any(first.points != other.points)


def test_points_lie_in_the_window_of_the_figures(name):
    points, labels = sample_2d(name, MANY, 0)
    assert np.mean(np.abs(points) < 4.5) > 0.9999
    assert labels.min() >= 0
    assert labels.max() <= (1.5 if name == "swissroll" else 1)


def test_rows_are_in_no_order(name):
    """The sets of public code list one arc after another; here a row says nothing about the next."""
    labels = sample_2d(name, MANY, 0).labels.astype(float)
    centred = labels - labels.mean()
    assert_mean(centred[1::2] * centred[::2], 0.0)


def test_swissroll():
    points, labels = sample_2d("swissroll", MANY, 0)
    points = points.astype(float)
    np.testing.assert_allclose(labels, np.sum(points**2, axis=-1) / 9, rtol=1e-5)
    # E|x|² = (E angle² + 2)/25, with an angle uniform between 1.5π and 4.5π and unit noise a coordinate.
    angle_square = np.pi**2 * (4.5**3 - 1.5**3) / (3 * 3)
    assert_mean(np.sum(points**2, axis=-1), (angle_square + 2) / 25)


def test_8gaussians():
    points, labels = sample_2d("8gaussians", MANY, 0)
    index = np.round(labels * 7).astype(int)
    r = np.sqrt(0.5)
    directions = [(0, 1), (-r, r), (-1, 0), (-r, -r), (0, -1), (r, -r), (1, 0), (r, r)]
    for k, direction in enumerate(directions):
        assert_mean(index == k, 1 / 8)
        residual = points[index == k] - 4 * np.asarray(direction) / 1.414
        assert_mean(residual, [0, 0])
        assert_mean(residual**2, [0.125, 0.125])


def test_moons():
    """Half circles of radius 2 around (−1, −0.2) and (1, 0.8), upper and lower, with noise of 0.2."""
    points, labels = sample_2d("moons", MANY, 0)
    assert_mean(labels, 0.5)
    for label, centre, side in ((0, (-1.0, -0.2), 1), (1, (1.0, 0.8), -1)):
        arc = points[labels == label] - np.asarray(centre)
        assert_mean(np.sum(arc**2, axis=-1), 4 + 2 * 0.04)
        assert_mean(arc, [0, side * 4 / np.pi])
        assert np.mean(side * arc[:, 1] > -1) == 1


def test_rings():
    points, labels = sample_2d("rings", MANY, 0)
    for radius, label in ((0.75, 0.0), (1.5, 1.0), (2.25, 0.333), (3.0, 0.667)):
        ring = points[labels == np.float32(label)].astype(float)
        assert_mean(labels == np.float32(label), 0.25)
        assert_mean(ring, [0, 0])
        assert_mean(np.sum(ring**2, axis=-1), radius**2 + 2 * 0.08**2)


def test_checkerboard():
    points, labels = sample_2d("checkerboard", MANY, 0)
    columns, rows = np.floor(points / 2).astype(int).T
    assert np.all((columns + rows) % 2 == 0)
    assert set(zip(columns.tolist(), rows.tolist(), strict=True)) == {
        (-2, -2), (-2, 0), (-1, -1), (-1, 1), (0, -2), (0, 0), (1, -1), (1, 1),
    }  # fmt: skip
    assert_mean(points, [0, 0])
    assert_mean(points**2, [16 / 3, 16 / 3])
    np.testing.assert_array_equal(labels == 1, np.isin(columns, (-2, 0)))


def test_2spirals():
    """Two arms that are each other's images in the origin; e falls along an arm, from the centre out."""
    points, labels = sample_2d("2spirals", MANY, 0)
    angle = 10 * (1 - labels.astype(float))
    assert angle.max() <= 3 * np.pi + 1e-5
    assert_mean(angle**2, (3 * np.pi) ** 2 / 2)
    assert_mean(points, [0, 0])
    arm = angle[:, None] / 3 * np.stack([-np.cos(angle), np.sin(angle)], axis=-1)
    jitter = np.asarray([0.25, 0.25]) / 3
    nearer = np.sum((points - arm - jitter) ** 2, axis=-1) < np.sum((points + arm + jitter) ** 2, axis=-1)
    residual = np.where(nearer[:, None], points - arm, -points - arm)[angle > 3]
    assert_mean(residual, jitter)
    assert_mean((residual - jitter) ** 2, 0.25 / 12 / 9 + 0.01)


def test_class_posteriors_tilt_as_the_labels_do():
    """p^β(c = 1 | x) is proportional to exp(βe): the classes and the energies have one target."""
    labels = np.linspace(0, 1, 11)
    ratio = class_posterior(labels) ** 4 / np.exp(4 * labels)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert class_posterior(np.asarray([1.0, 1.3])).tolist() == [1.0, 1.0]


def test_classes_are_drawn_with_their_probabilities(name):
    labels = sample_2d(name, MANY, 0).labels
    assert_mean(draw_classes(labels, 1) - class_posterior(labels), 0.0)
    np.testing.assert_array_equal(draw_classes(labels, 1), draw_classes(labels, 1))


def test_an_unknown_set_names_the_nearest():
    with pytest.raises(UserError, match=r"no toy set 'swisroll'.*Did you mean 'swissroll'"):
        sample_2d("swisroll", 10, 0)

"""Closed forms to measure every method against: Gaussian mixtures, their tilts, and laws on a grid."""

from tiltflow.exact.classifier_free import classifier_free_law, predict_classifier_free
from tiltflow.exact.energies import QuadraticEnergy, Tilt, tilt
from tiltflow.exact.laws import Law, predict
from tiltflow.exact.mixtures import GaussianMixture, combine, gaussian_mixture
from tiltflow.exact.quadrature import GridLaw, log_class_posterior, tabulate

__all__ = [
    "GaussianMixture",
    "GridLaw",
    "Law",
    "QuadraticEnergy",
    "Tilt",
    "classifier_free_law",
    "combine",
    "gaussian_mixture",
    "log_class_posterior",
    "predict",
    "predict_classifier_free",
    "tabulate",
    "tilt",
]

"""`ed`: energy-weighted diffusion, in energy_weighted.py. Its fit is that of `efm`, on another path."""

from dataclasses import dataclass

from tiltflow.guidance.contract import DiffusionFitConfig, Method, RowWeighting
from tiltflow.guidance.methods import efm


@dataclass(frozen=True)
class EDConfig(RowWeighting, DiffusionFitConfig):
    """Settings of ed."""


METHOD = Method(
    "ed",
    "energy-weighted diffusion on the variance-preserving path",
    EDConfig(),
    efm.fit,
    exact=True,
)

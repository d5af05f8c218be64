"""The methods by name.

A method is a file in this folder, with its settings, its mathematics and the call of `register`, and a line
in `_OWN`. Naming them imports neither JAX nor NumPy; a file is imported when its settings are asked for.
"""

from tiltflow.errors import UserError
from tiltflow.guidance.contract import Declaration, Fit, FitConfig
from tiltflow.plugins import Registered, Registry

_OWN = {
    "efm": ("energy_weighted", "energy-weighted flow matching on the optimal-transport path"),
    "ed": ("energy_weighted", "energy-weighted diffusion on the variance-preserving path"),
    "flowq": (
        "guided_matching",
        "flow matching guided by the gradient of the energy, in the manner of FlowQ",
    ),
    "tilted-path": (
        "tilted_path",
        "energy-weighted flow matching on points moved down the energy, with exact weights",
    ),
    "cep": (
        "energy_prediction",
        "contrastive energy prediction: diffusion guided by a learned intermediate energy",
    ),
    "cg": (
        "classifier",
        "classifier guidance: diffusion guided by a noise-conditional classifier of p(c | x) = exp(−E)",
    ),
    "cfg": (
        "class_dropout",
        "classifier-free guidance: diffusion conditional on a class with p(c | x) = exp(−E)",
    ),
    "flow-is": (
        "importance",
        "flow matching of the data, and samples of it drawn again with probabilities ∝ exp(−βE)",
    ),
    "smc": (
        "steering",
        "flow matching of the data, and particles of it selected by exp(−βE) while they flow",
    ),
    "resample": (
        "resampling",
        "rows of the data, drawn with probabilities ∝ exp(−βE): what the data can give",
    ),
    "unguided": ("energy_weighted", "flow matching of the data, whatever their energies"),
}

Method = Registered[Declaration]
"""A way to sample the tilt."""
METHODS: Registry[Declaration] = Registry("method", "tiltflow.guidance", "tiltflow.methods", __name__, _OWN)


def register(name: str, config: FitConfig, fit: Fit, description: str = "", **declared: bool) -> None:
    """Make `name` a method of this process, to `fit` and to the command line as every other.

    `declared` are the other fields of `Declaration`. An installed package offers its method by an entry point
    of the group `tiltflow.methods`. Raises UserError for a name or settings that cannot be.
    """
    if not isinstance(config, FitConfig):
        raise UserError(f"The settings of {name} must be an instance of a FitConfig, not {config!r}.")
    METHODS.register(name, Declaration(config, fit, **declared), fit.__module__, description)

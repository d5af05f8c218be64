"""The methods by name: tiltflow's, those of installed packages, and your own.

A method is a file in this folder, with its settings, its mathematics and the call of `register`, and a line
in `_BUILT_IN`. Naming them imports neither JAX nor NumPy; a file is imported when its settings are asked for.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from tiltflow.errors import UserError, nearest
from tiltflow.guidance.contract import Declaration, Fit, FitConfig

_GROUP = "tiltflow.methods"
"""The entry points by which an installed package offers methods: name = "module that registers it"."""

_BUILT_IN = {
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

_DECLARED: dict[str, Declaration] = {}


@dataclass(frozen=True)
class Method:
    """A way to sample the tilt, by its name on the command line."""

    name: str
    description: str
    module: str
    """The module that registers it."""

    @property
    def declared(self) -> Declaration:
        """What its module says of it. Raises UserError where that cannot be imported or says nothing."""
        if self.name not in _DECLARED:
            try:
                import_module(self.module)
            except ImportError as error:
                raise UserError(f"The method {self.name} cannot be imported: {error}") from error
        if self.name not in _DECLARED:
            raise UserError(
                f"The module {self.module} offers the method {self.name!r} but does not register it: it has "
                "to call tiltflow.guidance.register with that name."
            )
        return _DECLARED[self.name]

    @property
    def config(self) -> FitConfig:
        """Its default settings."""
        return self.declared.config


METHODS = {name: Method(name, text, f"{__name__}.{file}") for name, (file, text) in _BUILT_IN.items()}


def register(name: str, config: FitConfig, fit: Fit, description: str = "", **declared: bool) -> None:
    """Make `name` a method of this process, to `fit` and to the command line as every other.

    `declared` are the other fields of `Declaration`. An installed package offers its method by an entry point
    of the group `tiltflow.methods`. Raises UserError for a name or settings that cannot be.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise UserError(f"The method's name {name!r} must be of small letters, digits and hyphens.")
    if name in _BUILT_IN and not fit.__module__.startswith(__name__):
        raise UserError(f"The method {name!r} is tiltflow's own: give yours another name.")
    if name in _DECLARED and _DECLARED[name].fit.__module__ != fit.__module__:
        raise UserError(f"The method {name!r} is registered already, by {METHODS[name].module}.")
    if not isinstance(config, FitConfig):
        raise UserError(f"The settings of {name} must be an instance of a FitConfig, not {config!r}.")
    _DECLARED[name] = Declaration(config, fit, **declared)
    if name not in _BUILT_IN:
        METHODS[name] = Method(name, description or f"of {fit.__module__}", fit.__module__)


def known_methods() -> dict[str, Method]:
    """Every method by name, those of installed packages among them; nothing of these is imported."""
    return _installed() | METHODS


def find_method(name: str) -> Method:
    """The method of that name. Raises UserError that suggests the nearest one."""
    known = known_methods()
    if name not in known:
        raise UserError(f"There is no method {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return known[name]


@cache
def _installed() -> dict[str, Method]:
    return {
        entry.name: Method(
            entry.name, f"of the package {entry.dist.name if entry.dist else entry.module}", entry.module
        )
        for entry in entry_points(group=_GROUP)
    }

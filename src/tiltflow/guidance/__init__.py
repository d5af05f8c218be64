"""Ways to sample q(x) ∝ p(x)·exp(−β·E(x)) from samples of p: one file per method, one interface.

from tiltflow.guidance import fit

model = fit("efm", points, energy, beta=4.0)
samples = model.sample(10_000, seed=0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltflow.guidance.fitted import Fitted
    from tiltflow.guidance.fitting import fit
    from tiltflow.guidance.methods import Method, register
    from tiltflow.guidance.problem import Problem, make_problem
    from tiltflow.guidance.saved_model import load_model, save_model

__all__ = ["Fitted", "Method", "Problem", "fit", "load_model", "make_problem", "register", "save_model"]

_HOMES = {
    "Fitted": "fitted",
    "Method": "methods",
    "Problem": "problem",
    "fit": "fitting",
    "load_model": "saved_model",
    "make_problem": "problem",
    "register": "methods",
    "save_model": "saved_model",
}


def __getattr__(name: str) -> Any:
    """Import JAX only when something of it is asked for: the command line's help reads the settings alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tiltflow.guidance.{_HOMES[name]}"), name)

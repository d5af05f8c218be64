"""Ways to sample q(x) ∝ p(x)·exp(−β·E(x)) from samples of p: one file per method, one interface.

from tiltflow.guidance import fit

model = fit("efm", points, energy, beta=4.0)
samples = model.sample(10_000, seed=0)
"""

from tiltflow.guidance.fitting import fit
from tiltflow.guidance.problem import Fitted, Problem, make_problem

__all__ = ["Fitted", "Problem", "fit", "make_problem"]

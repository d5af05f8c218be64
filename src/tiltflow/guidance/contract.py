"""What a method is made of: the settings of its fits, what they give, and what it declares; free of JAX."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiltflow.model_settings import NetworkConfig, check_sampler
from tiltflow.settings import (
    AverageDecay,
    Count,
    Decay,
    EnergyLevel,
    FitPrediction,
    PathName,
    Positive,
    RowWeights,
    SolverName,
    SolverSteps,
    check,
)


@dataclass(frozen=True)
class FitConfig:
    """Settings of every method; the class of each adds its own."""

    steps: Count = 10_000
    """Gradient steps of each network."""
    batch_size: Count = 512
    """Rows of one gradient step."""
    learning_rate: Positive = 3e-3
    """Adam's step size at the start."""
    decay: Decay = "cosine"
    """How the step size falls: along half a cosine to zero, or not."""
    ema: AverageDecay = 0.999
    """Decay per step of the averaged parameters, from which every sample is drawn (0: no averaging)."""
    baseline: EnergyLevel = "fitted"
    """With a condition c: whether the weights are exp(−β(E − b(c))), b(c) a regression of E on c. That is
    the same conditional law, and lets every condition count; none is exp(−βE)."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FlowFitConfig(FitConfig):
    """Settings of a method with a generative model, by default a flow on the optimal-transport path."""

    path: PathName = "ot"
    """Conditional path from noise to data: optimal transport, variance preserving, cosine."""
    prediction: FitPrediction = "velocity"
    """What the generative network outputs."""
    network: NetworkConfig = NetworkConfig(width=128)
    """Of the generative model; a second network is equally large."""
    solver: SolverName = "midpoint"
    """Fixed-step integrator of the samples."""
    num_steps: SolverSteps = 20
    """Steps of the solver for one sample (midpoint and Heun evaluate the network twice a step)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampler(self.path, self.prediction, self.solver)


@dataclass(frozen=True)
class DiffusionFitConfig(FlowFitConfig):
    """The same settings, by default of a diffusion on the variance-preserving path."""

    path: PathName = "vp"
    prediction: FitPrediction = "noise"
    solver: SolverName = "dpm-solver++"
    num_steps: SolverSteps = 25


@dataclass(frozen=True)
class RowWeighting:
    """How the weights of the rows enter a fit."""

    weights: RowWeights = "sampled"
    """Use of exp(−βE): normalised over the data set, over each batch (as published; off by O(1/batch)), or as
    the rows' chance to be in a batch, in which they then count alike (the same loss with less variance)."""


@dataclass(frozen=True)
class Outcome:
    """A trained method in the units of the networks."""

    sampler: Callable[[Any, int, Any], Any]
    """(key, n, condition [n, c] or None) -> points [n, d], all in the networks' units."""
    parameters: int
    """Of all networks together."""
    evaluations: int
    """Of networks per sample, gradients counted once."""
    log_density: Callable[..., Any] | None = None
    """(points in units, condition in units) -> nats, where the method has a density."""
    model: Any = None
    """The averaged networks, for whoever wants to look inside; lent to a fit at another β."""


Fit = Callable[..., Outcome]
"""(problem, config, key, trainer) -> what samples; also `previous=` and `energy=` where they are declared."""


@dataclass(frozen=True)
class Declaration:
    """What is true of a method: its settings, its function, and what the rest of the program must know of it.

    Whatever differs between methods is a field here, so that nothing else asks for their names.
    """

    config: FitConfig
    """Its default settings. Their class is the method's own, and the only one that it takes."""
    fit: Fit
    exact: bool = False
    """Whether its law is the tilt where its networks are perfect."""
    auxiliary: bool = False
    """Whether it needs a second model beside the generative one."""
    shares: bool = False
    """Whether some network serves every β. `fit` then gets `previous`, the model of a fit at another β or
    None, and takes that network from it."""
    needs_energy: bool = False
    """Whether it asks for E or ∇E at points that are not rows of the data. `fit` then gets `energy`, a
    function that JAX can differentiate: the user's own, or a network fitted to the energies of the rows."""
    tilts: bool = True
    """Whether the energies of the rows change its law."""
    uses_labels: bool = False
    """Whether it takes classes of the rows in the place of their energies."""
    new_points: bool = True
    """Whether it draws points that the data do not have."""

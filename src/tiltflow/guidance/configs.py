"""The methods by name and the settings of a fit. Standard library only: the command line shows them."""

from dataclasses import dataclass

from tiltflow.errors import UserError, nearest
from tiltflow.model_settings import NetworkConfig, check_sampler
from tiltflow.settings import (
    AverageDecay,
    Contrast,
    Count,
    Decay,
    EnergyLevel,
    FitPrediction,
    FitReading,
    Fraction,
    InnerFraction,
    MethodName,
    NonNegative,
    PathName,
    Positive,
    RowWeights,
    ScheduleName,
    SolverName,
    VelocityFactor,
    check,
)


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit; the networks of a method that needs two are equally large."""

    path: PathName = "ot"
    """Conditional path from noise to data: optimal transport, variance preserving, cosine."""
    prediction: FitPrediction = "velocity"
    """What the generative network outputs."""
    network: NetworkConfig = NetworkConfig(width=128)
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
    weights: RowWeights = "sampled"
    """Use of exp(−βE): normalised over the data set, over each batch (as published; off by O(1/batch)), or as
    the rows' chance to be in a batch, in which they then count alike (the same loss with less variance)."""
    baseline: EnergyLevel = "fitted"
    """With a condition c: whether the weights are exp(−β(E − b(c))), b(c) a regression of E on c. That is
    the same conditional law, and lets every condition count; none is exp(−βE)."""
    solver: SolverName = "midpoint"
    """Fixed-step integrator of the samples."""
    num_steps: Count = 20
    """Steps of the solver for one sample (midpoint and Heun evaluate the network twice a step)."""
    contrast: Contrast = "contrastive"
    """Loss of cep's energy network; mse is not exact."""
    class_temperature: Positive = 1.0
    """τ of the class that cg and cfg guide towards: p(c | x) = exp(−(E − min E)/τ)."""
    unconditional_share: InnerFraction = 0.2
    """Share of rows whose class cfg hides from its network in training."""
    reading: FitReading = "velocity"
    """What flowq guides: its path, displaced against ∇E of the mean, or the velocity, by ∇E of the point."""
    schedule: ScheduleName = "learned"
    """flowq's h(t): t, t², t²/(1 − t) with t up to 1 − 1/num_steps, or learned (reading = velocity)."""
    velocity_factor: VelocityFactor = "score"
    """flowq's factor of ∇E in the velocity: h(t)·(1 − t)/t, by which the score is guided by h(t), or h(t)."""
    hessian: bool = True
    """Whether flowq's path takes the change of ∇E along the path into its velocity (reading = path)."""
    displacement: NonNegative = 1.0
    """Size of flowq's displacement at h = 1, in units of β·∇E (reading = path)."""
    sigma: Fraction = 0.1
    """Standard deviation of the points around flowq's displaced mean (reading = path) and of tilted-path's
    proposals around the data; in units of the data's standard deviation."""
    anneal: Count = 1
    """Steps in which flowq and tilted-path reach β, each tilting samples of the one before."""
    pool: Count = 400_000
    """Points of the unguided model that flow-is draws at most, to choose samples from; particles of smc."""

    def __post_init__(self) -> None:
        check(self)
        check_sampler(self.path, self.prediction, self.solver)


@dataclass(frozen=True)
class Method:
    """A way to sample the tilt."""

    name: str
    description: str
    exact: bool
    """Whether its law is the tilt where its networks are perfect."""
    auxiliary: bool
    """Whether it needs a second model beside the generative one."""
    module: str
    """The module whose `train(method, problem, config, key, progress, previous)` makes its sampler."""
    config: FitConfig = FitConfig()


_DIFFUSION = FitConfig(path="vp", prediction="noise", solver="dpm-solver++", num_steps=25)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "efm",
            "energy-weighted flow matching on the optimal-transport path",
            exact=True,
            auxiliary=False,
            module="tiltflow.guidance.energy_weighted",
        ),
        Method(
            "ed",
            "energy-weighted diffusion on the variance-preserving path",
            exact=True,
            auxiliary=False,
            module="tiltflow.guidance.energy_weighted",
            config=_DIFFUSION,
        ),
        Method(
            "flowq",
            "flow matching guided by the gradient of the energy, in the manner of FlowQ",
            exact=False,
            auxiliary=True,
            module="tiltflow.guidance.flowq",
        ),
        Method(
            "tilted-path",
            "energy-weighted flow matching on points moved down the energy, with exact weights",
            exact=True,
            auxiliary=True,
            module="tiltflow.guidance.tilted_path",
        ),
        Method(
            "cep",
            "contrastive energy prediction: diffusion guided by a learned intermediate energy",
            exact=True,
            auxiliary=True,
            module="tiltflow.guidance.energy_prediction",
            config=_DIFFUSION,
        ),
        Method(
            "cg",
            "classifier guidance: diffusion guided by a noise-conditional classifier of p(c | x) = exp(−E)",
            exact=False,
            auxiliary=True,
            module="tiltflow.guidance.classifier",
            config=_DIFFUSION,
        ),
        Method(
            "cfg",
            "classifier-free guidance: diffusion conditional on a class with p(c | x) = exp(−E)",
            exact=False,
            auxiliary=False,
            module="tiltflow.guidance.classifier_free",
            config=_DIFFUSION,
        ),
        Method(
            "flow-is",
            "flow matching of the data, and samples of it drawn again with probabilities ∝ exp(−βE)",
            exact=True,
            auxiliary=False,
            module="tiltflow.guidance.importance",
        ),
        Method(
            "smc",
            "flow matching of the data, and particles of it selected by exp(−βE) while they flow",
            exact=True,
            auxiliary=False,
            module="tiltflow.guidance.steering",
            config=FitConfig(num_steps=40, pool=50_000),
        ),
        Method(
            "resample",
            "rows of the data, drawn with probabilities ∝ exp(−βE): what the data can give",
            exact=True,
            auxiliary=False,
            module="tiltflow.guidance.resampling",
        ),
        Method(
            "unguided",
            "flow matching of the data, whatever their energies",
            exact=False,
            auxiliary=False,
            module="tiltflow.guidance.energy_weighted",
        ),
    )
}


_FLOWQ = ("reading", "schedule", "velocity_factor", "hessian", "displacement")
_SPECIAL: dict[str, tuple[MethodName, ...]] = {
    **dict.fromkeys(_FLOWQ, ("flowq",)),
    **dict.fromkeys(("sigma", "anneal"), ("flowq", "tilted-path")),
    "weights": ("efm", "ed", "tilted-path", "cep"),
    "contrast": ("cep",),
    "pool": ("flow-is", "smc"),
    "class_temperature": ("cg", "cfg"),
    "unconditional_share": ("cfg",),
}


def unread_settings(method: Method, config: FitConfig) -> list[str]:
    """The settings of other methods that differ from this one's defaults, and that it does not read."""
    return [
        name
        for name, readers in _SPECIAL.items()
        if method.name not in readers and getattr(config, name) != getattr(method.config, name)
    ]


def find_method(name: str) -> Method:
    """The method of that name. Raises UserError that suggests the nearest one."""
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}.{nearest(name, METHODS)} Known: {', '.join(METHODS)}.")
    return METHODS[name]

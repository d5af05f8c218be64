"""Settings of what agents and methods are made of: network, flow, critic, actor. Standard library only.

The text after each field is its help on the command line.
"""

from dataclasses import dataclass
from functools import cached_property

from tiltflow.errors import UserError
from tiltflow.settings import (
    Activation,
    Aggregate,
    AverageDecay,
    AverageStep,
    Count,
    CriticKind,
    Decay,
    Fraction,
    InnerFraction,
    LayerNorm,
    NonNegative,
    PathName,
    Play,
    Positive,
    Prediction,
    Rewards,
    SolverName,
    SolverSteps,
    check,
)


@dataclass(frozen=True)
class NetworkConfig:
    """A multilayer perceptron."""

    width: Count = 256
    """Units of each hidden layer."""
    depth: Count = 3
    """Number of hidden layers."""
    activation: Activation = "silu"
    """Non-linearity of the hidden layers."""
    layer_norm: LayerNorm = "none"
    """Layer normalisation of each hidden layer, before or behind its non-linearity."""

    def __post_init__(self) -> None:
        check(self)


def check_sampler(path: PathName, prediction: Prediction, solver: SolverName) -> None:
    """Raise UserError where a sampler asks for a velocity (or data) that the prediction does not determine.

    At the noise end of ot and cosine a point is all noise, so that its noise and score say nothing of the
    data; at their data end its data says nothing of the noise (see `paths.convert`).
    """
    if path in ("vp", "ot-clipped"):
        return
    if prediction in ("noise", "score"):
        raise UserError(
            f"prediction = {prediction} leaves the velocity undetermined at the noise end of path = {path}: "
            "choose velocity or data, or path = vp or ot-clipped."
        )
    if prediction == "data" and solver in ("heun", "rk4"):
        raise UserError(
            f"solver = {solver} asks for the velocity at the data end of path = {path}, where prediction = "
            "data leaves it undetermined: choose euler, midpoint or dpm-solver++, or another prediction."
        )


@dataclass(frozen=True)
class FlowConfig:
    """The generative model of actions: a path, a network and a sampler."""

    path: PathName = "ot"
    """Conditional path from noise to data: optimal transport (clipped: without its ends, for predictions of
    noise), variance preserving, cosine."""
    prediction: Prediction = "velocity"
    """What the network outputs."""
    network: NetworkConfig = NetworkConfig()
    time_features: Count = 16
    """Numbers that tell the network the time: t, and cosines of it (1: t alone, as in FQL's public code)."""
    learning_rate: NonNegative = 3e-4
    """Adam's step size."""
    batch_size: Count = 256
    """Transitions of one gradient step of the behaviour stage."""
    decay: Decay = "cosine"
    """How the policy's step size falls over each stage: along half a cosine to zero, or not."""
    ema: AverageDecay = 0.999
    """Decay per step of the averaged parameters, from which the actions that are played are drawn
    (0: no averaging)."""
    solver: SolverName = "midpoint"
    """Fixed-step integrator of the samples."""
    num_steps: SolverSteps = 5
    """Steps of the solver for one sample (midpoint and Heun evaluate the network twice a step)."""
    play_noise: NonNegative = 1.0
    """Noise temperature τ of the actions that are played: they start from τ·z, z ~ N(0, I). Below 1 the
    policy is sharper than the law that it has learned."""
    play: Play = "draw"
    """What is played: one draw, or of several the mean around the densest (never between two modes). Where
    an agent plays the best of several candidates, that takes its place; a policy of one step draws once."""
    play_candidates: Count = 32
    """Draws of a mean shift."""
    play_bandwidth: Positive = 0.1
    """Width of the kernel by which a mean shift counts draws as near, in units of actions."""
    play_eta: NonNegative = 0.0
    """η: a mean shift weights its draws by exp(ηQ), Q in the policy's unit of energy where it has one."""

    def __post_init__(self) -> None:
        check(self)
        check_sampler(self.path, self.prediction, self.solver)

    @cached_property
    def average_step(self) -> float:
        """1 − ema."""
        return 1.0 - self.ema


# The score, of which the papers speak, follows from any prediction. A noise prediction has to resolve x/σ
# near the data: on a bandit whose modes have a standard deviation of 0.15, with equal training, its modes
# have 0.24 where those of a velocity prediction have 0.16.
DIFFUSION = FlowConfig(path="vp", prediction="velocity", solver="dpm-solver++", num_steps=15)

SHARP_NOISE = 0.5
"""Noise temperature of the tilts, by default. The settings' own is 1, as published and as in old runs."""


@dataclass(frozen=True)
class CriticConfig:
    """Value learning, before or while the policy is improved."""

    kind: CriticKind = "expectile"
    """Backup: QGPO's softmax over support actions of the next state, IQL's expectile of the data, or Q of an
    action of the policy that is trained beside the critic."""
    ensemble: Count = 2
    """Number of Q networks."""
    aggregate: Aggregate = "min"
    """How the ensemble's values are joined, in the backup, in the policy's weights and in its guidance:
    their minimum, their mean, or their mean less ρ standard deviations over the members."""
    pessimism: NonNegative = 1.0
    """ρ (aggregate = pessimistic)."""
    network: NetworkConfig = NetworkConfig(activation="relu", layer_norm="before")
    learning_rate: NonNegative = 3e-4
    """Adam's step size."""
    batch_size: Count = 256
    """Transitions of one gradient step."""
    discount: Fraction = 0.99
    """Discount γ per environment step."""
    rewards: Rewards = "recorded"
    """Rewards that are learned from: as recorded, r − 1, or 1000·r over the range of the returns of the
    data's episodes. Scores stay in the environment's own."""
    tau: AverageStep = 0.005
    """Step of the target networks towards the trained ones (Polyak averaging)."""
    expectile: InnerFraction = 0.9
    """IQL's expectile (kind = expectile)."""
    beta: NonNegative = 1.0
    """β_Q of the softmax over support actions (kind = in-support-softmax)."""
    num_support_actions: Count = 16
    """Support actions of each next state (kind = in-support-softmax)."""

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def other_expectile(self) -> float:
        """1 − expectile."""
        return 1.0 - self.expectile


@dataclass(frozen=True)
class ActorConfig:
    """A policy that is one network: its action, or the mean of its actions, from an observation."""

    network: NetworkConfig = NetworkConfig(activation="relu")
    learning_rate: NonNegative = 3e-4
    """Adam's step size."""
    decay: Decay = "none"
    """How the step size falls: along half a cosine to zero, or not."""
    batch_size: Count = 256
    """Transitions of one gradient step."""

    def __post_init__(self) -> None:
        check(self)


def check_kind(critic: CriticConfig, *kinds: CriticKind, why: str) -> None:
    """Raise UserError where the critic's backup is none of those that suit an algorithm, and `why`."""
    if critic.kind not in kinds:
        raise UserError(f"critic.kind = {critic.kind}: {why} Choose {' or '.join(kinds)}.")


BESIDE = "it needs a behaviour policy that is finished before the critic."
"""Why a critic that is trained beside its policy is not of the kind in-support-softmax."""
BEFORE = "the critic is finished before the policy."
"""Why a critic that is trained before its policy is not of the kind policy."""

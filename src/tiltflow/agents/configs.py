"""Hyper-parameters of the papers' agents and of the parts of every agent: frozen dataclasses.

They are apart from the mathematics so that the command line can show them without importing JAX.
The text after each field is its help on the command line.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from tiltflow.agents.checks import check_sampler
from tiltflow.errors import UserError
from tiltflow.settings import (
    Activation,
    Aggregate,
    Auto,
    AverageDecay,
    AverageStep,
    Baseline,
    Bounds,
    Count,
    CriticKind,
    Decay,
    EnergyScale,
    Fraction,
    Improvement,
    InnerFraction,
    LayerNorm,
    Matched,
    NonNegative,
    PathName,
    Play,
    Positive,
    Prediction,
    QScale,
    Reading,
    Reference,
    Rewards,
    ScheduleName,
    Shares,
    SolverName,
    SupportDraws,
    SupportWeights,
    VelocityFactor,
    check,
)


@dataclass(frozen=True)
class NetworkConfig:
    """A multilayer perceptron."""

    width: Count = 256
    """ObservationScaler of each hidden layer."""
    depth: Count = 3
    """Number of hidden layers."""
    activation: Activation = "silu"
    """Non-linearity of the hidden layers."""
    layer_norm: LayerNorm = "none"
    """Layer normalisation of each hidden layer, before or behind its non-linearity."""

    def __post_init__(self) -> None:
        check(self)


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
    num_steps: Count = 5
    """Steps of the solver for one sample (midpoint and Heun evaluate the network twice a step)."""
    play_noise: NonNegative = 1.0
    """Noise temperature τ of the actions that are played: they start from τ·z, z ~ N(0, I). Below 1 the
    policy is sharper than the law that it has learned."""
    play: Play = "draw"
    """What is played: one draw, or of several the mean around the densest (never between two modes). Where
    an agent plays the best of several candidates, that takes its place."""
    play_candidates: Count = 32
    """Draws of a mean shift."""
    play_bandwidth: Positive = 0.1
    """Width of the kernel by which a mean shift counts draws as near, in units of actions."""
    play_eta: NonNegative = 0.0
    """η: a mean shift weights its draws by exp(ηQ), Q in the policy's unit of energy where it has one."""

    def __post_init__(self) -> None:
        check(self)
        check_sampler(self.path, self.prediction, self.solver)


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


@dataclass(frozen=True)
class BCConfig:
    """Behaviour cloning with a generative model: QIPO's first stage alone."""

    flow: FlowConfig = FlowConfig()
    behaviour_steps: Count | None = None
    """Gradient steps of the flow; without it the whole of --steps, or a share where it is distilled."""
    distill: bool = False
    """Distil the flow into a policy of a single step, in a last stage."""
    distill_steps: Count | None = None
    """Gradient steps of the distillation; without it a share of --steps."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class QIPOConfig:
    """Q-weighted iterative policy optimisation (Algorithm 2 of arXiv 2503.04975)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig()
    beta: NonNegative | Auto = 1.0
    """Inverse temperature β, in units of `energy_scale`; auto: the best for half of the critic's ensemble,
    when the other half weights, between 0.1 and 20."""
    split_ensemble: bool = False
    """Weight actions by the first half of the critic's ensemble alone."""
    continue_critic: bool = False
    """Train the critic on during the improvement, by the softmax backup over actions of the present policy;
    the weights take it over at each refresh."""
    annealed: bool = True
    """Reach β in equal parts, one a refresh; otherwise each refresh adds the whole of β, as in (5.4)."""
    energy_scale: EnergyScale = "advantage"
    """Unit of E = −Q: the mean spread of Q over the support actions of a state, or Q's own."""
    num_support_actions: Count = 16
    """Support actions of each state (M)."""
    include_data_action: bool = True
    """Whether the data's action joins the M support actions in the weights and in the loss."""
    data_share: InnerFraction | None = None
    """Share of the loss that the data's action has; without it what the M + 1 weights give it."""
    support: SupportDraws = "dataset"
    """Draw support actions at each refresh, for all rows that are used up to the next, or for each batch."""
    reference: Reference = "mixture"
    """Support actions from the present policy (as published), from the behaviour, half from each, or none
    but the data's own."""
    baseline: Baseline = "support"
    """What the weights are relative to: their sum over a state's support, or a value V of the state (the
    expectile critic's, or one that is fitted), with which they are exact for every M."""
    max_weight: Positive = 100.0
    """Largest weight of a support action (baseline = value)."""
    support_noise: NonNegative = 1.0
    """Noise temperature τ of the support actions: they start from τ·z, z ~ N(0, I)."""
    refresh_every: Count | None = None
    """Improvement steps between two refreshes of the support actions (K_renew); without it a quarter."""
    weights: SupportWeights = "sampled"
    """Use of the weights: as each support action's chance to be the one that its state is matched on, or as
    factors of all M + 1 (as published; M + 1 times as many actions a step, of the same states)."""
    improvement_batch_size: Count = 256
    """States of one gradient step of the improvement."""
    improvement_learning_rate: NonNegative = 3e-4
    """Adam's step size in the improvement stage."""
    improvement_ema: AverageDecay = 0.999
    """Decay per step of the averaged policy in the improvement stage."""
    improvement: Improvement = "weighted"
    """Match the support actions as they are, or moved up ∇Q, with weights that account for the move."""
    tilted_sigma: NonNegative = 0.1
    """Standard deviation of the moved actions around the support action (improvement = tilted-path)."""
    shares: Shares = "3:2:3"
    """How --steps are shared out to behaviour, critic and improvement (6:5:1: as published)."""
    behaviour_steps: Count | None = None
    """Gradient steps of the behaviour stage (K1); without it a share of --steps."""
    critic_steps: Count | None = None
    """Gradient steps of the critic stage (K2); without it a share of --steps."""
    improvement_steps: Count | None = None
    """Gradient steps of the improvement stage (K3); without it a share of --steps."""
    distill: bool = False
    """Distil the policy into one of a single step, led up Q, in a last stage."""
    distill_alpha: NonNegative = 100.0
    """α of the distance to the flow's action, beside Q in units of `energy_scale` (distill)."""
    distill_steps: Count | None = None
    """Gradient steps of the distillation; without it a share of --steps."""

    def __post_init__(self) -> None:
        check(self)
        if (self.beta == "auto" or self.split_ensemble) and self.critic.ensemble < 2:
            raise UserError(
                f"critic.ensemble = {self.critic.ensemble}: beta = auto and split_ensemble need two halves. "
                "Raise it to at least 2."
            )
        if self.beta == "auto" and self.energy_scale == "none":
            raise UserError("beta = auto looks for β in spreads of Q: it needs energy_scale = advantage.")
        if self.data_share is not None and not self.include_data_action:
            raise UserError(f"data_share = {self.data_share}: it needs include_data_action.")
        if self.reference == "data" and not (self.include_data_action and self.baseline == "value"):
            raise UserError(
                "reference = data: the data's action alone needs include_data_action, and baseline = value "
                "to compare it with."
            )
        if self.baseline == "value" and self.data_share is not None:
            raise UserError("data_share is a share of weights over the support: it needs baseline = support.")
        fitted = self.baseline == "value" and self.critic.kind != "expectile"
        if fitted and self.reference == "current" and not self.include_data_action:
            raise UserError(
                "baseline = value of this critic is fitted to actions of the behaviour: choose "
                "include_data_action, or another reference."
            )
        if self.reference == "mixture" and self.num_support_actions < 2:
            raise UserError(
                f"num_support_actions = {self.num_support_actions}: a mixture needs at least 2. Raise it, or "
                "choose another reference."
            )
        if self.critic.kind == "policy":
            raise UserError(
                "critic.kind = policy: the critic of QIPO is finished before its policy. Choose expectile or "
                "in-support-softmax."
            )


@dataclass(frozen=True)
class FlowQConfig:
    """Matching of a flow that is guided by ∇Q, with a critic beside it (arXiv 2505.14139)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="policy")
    reading: Reading = "velocity"
    """What is guided: the velocity, by ∇Q of the point; the path, displaced up ∇Q of its mean. Or, in three
    stages with a finished critic (ours): the velocity by ∇Q of the behaviour's estimate of the action, by the
    gradient of a learned intermediate value; the action, shifted up its ∇Q by its covariance."""
    matched: Matched = "data"
    """Actions that are guided and matched: the data's, or draws of the behaviour (reading = intermediate,
    shift)."""
    num_support_actions: Annotated[int, Bounds(3)] = 16
    """Actions drawn of the behaviour at each state, by which Q gets its unit and `shift` its covariance, and
    of which one is matched (matched = support)."""
    support_noise: NonNegative = 1.0
    """Noise temperature τ of these draws: they start from τ·z, z ~ N(0, I)."""
    schedule: ScheduleName = "linear"
    """h(t): t, t², t²/(1 − t) with t up to 1 − 1/next_action_steps, or learned (reading = velocity)."""
    velocity_factor: VelocityFactor = "score"
    """Factor of ∇Q in the velocity: h(t)·(1 − t)/t, by which the score is guided by h(t), or h(t)."""
    hessian: bool = True
    """Whether the change of ∇Q along the path is a part of the velocity (reading = path)."""
    strength: NonNegative = 1.0
    """λ, the strength of the guidance, in units of `energy_scale`."""
    energy_scale: QScale = "size"
    """Unit of Q: how much it differs between actions at a state, or the mean |Q| of the data's actions,
    which changes when a constant is added to every reward."""
    sigma: Annotated[float, Bounds(0, 1)] = 0.1
    """Standard deviation of actions around the path's displaced mean (reading = path)."""
    next_action_steps: Count = 10
    """Euler steps of the next actions by which the critic is trained (critic.kind = policy)."""
    num_candidates: Count = 1
    """Actions drawn where the policy is played, of which the one of highest Q is taken."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic, where there is one stage; without it the whole of --steps."""
    behaviour_steps: Count | None = None
    """Gradient steps of the behaviour stage, where there are three; without it a share of --steps."""
    critic_steps: Count | None = None
    """Gradient steps of the critic stage, where there are three; without it a share of --steps."""
    guidance_steps: Count | None = None
    """Gradient steps of the guided policy, where there are three; without it a share of --steps."""

    @property
    def staged(self) -> bool:
        """Whether the reading guides by a finished critic, in three stages."""
        return self.reading in ("clean", "intermediate", "shift")

    def __post_init__(self) -> None:
        check(self)
        if self.staged:
            if self.critic.kind == "policy":
                raise UserError(
                    f"reading = {self.reading}: its critic is finished before the policy. Choose "
                    "critic.kind = expectile or in-support-softmax."
                )
        else:
            check_actor_critic(self)
        if self.matched == "support" and self.reading not in ("intermediate", "shift"):
            raise UserError(
                f"matched = support is not for reading = {self.reading}, which guides the data's actions. "
                "Choose intermediate or shift."
            )
        if (self.flow.path, self.flow.prediction) != ("ot", "velocity"):
            raise UserError("flowq is defined for flow.path = ot and flow.prediction = velocity.")
        if self.reading != "velocity" and self.schedule == "learned":
            raise UserError(
                "schedule = learned needs reading = velocity: others leave nothing to fit it to. "
                "Choose linear, quadratic or rational."
            )


def check_actor_critic(config: Any) -> None:
    """Raise UserError where the critic does not suit training policy and critic side by side."""
    if config.critic.kind == "in-support-softmax":
        raise UserError(
            "critic.kind = in-support-softmax needs a behaviour policy that is finished before the critic: "
            "choose policy or expectile."
        )

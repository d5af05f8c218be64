"""Settings of QIPO. The text after each field is its help on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tiltflow.errors import UserError
from tiltflow.model_settings import BEFORE, CriticConfig, FlowConfig, check_kind
from tiltflow.settings import (
    Auto,
    AverageDecay,
    Baseline,
    Count,
    EnergyScale,
    ImprovementKind,
    InnerFraction,
    NonNegative,
    Positive,
    Reference,
    Shares,
    SupportDraws,
    SupportWeights,
    check,
)

_REFRESHES = 4


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
    beta_refreshes: Count | None = None
    """Refreshes in which β is reached (annealed), and is kept from then on; without it all of the stage's."""
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
    improvement: ImprovementKind = "weighted"
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
    """Distil the policy into one of a single step, trained to maximise Q too, in a last stage."""
    distill_alpha: NonNegative = 100.0
    """α of the distance to the flow's action, beside Q in units of `energy_scale` (distill)."""
    distill_steps: Count | None = None
    """Gradient steps of the distillation; without it a share of --steps."""

    @cached_property
    def improvement_average_step(self) -> float:
        """1 − improvement_ema."""
        return 1.0 - self.improvement_ema

    @property
    def support_size(self) -> int:
        """Actions that share a state's weights, where some are drawn."""
        return self.num_support_actions + self.include_data_action

    def refreshes(self, steps: int) -> tuple[int, int]:
        """Steps from one refresh to the next in an improvement of so many steps, and how many there are."""
        every = self.refresh_every or max(1, -(-steps // _REFRESHES))
        return every, max(1, -(-steps // every))

    def lengthened(self, steps: Mapping[str, int]) -> "QIPOConfig":
        """The settings with which a finished run goes on, whose stages had so many steps.

        Refreshes come as often as before, and β stays what it has come to.
        """
        every, count = self.refreshes(steps["improvement"])
        return replace(self, refresh_every=every, beta_refreshes=self.beta_refreshes or count)

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
        if self.baseline == "support" and self.support_size < 2:
            raise UserError(
                "num_support_actions = 1 without include_data_action: relative to its own sum the weight of "
                "one action is always 1, and nothing is tilted. Raise it, or choose baseline = value."
            )
        if self.reference == "mixture" and self.num_support_actions < 2:
            raise UserError(
                f"num_support_actions = {self.num_support_actions}: a mixture needs at least 2. Raise it, or "
                "choose another reference."
            )
        check_kind(self.critic, "expectile", "in-support-softmax", why=BEFORE)

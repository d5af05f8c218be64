"""Settings of FlowQ. The text after each field is its help on the command line."""

from dataclasses import dataclass
from typing import Annotated, get_args

from tiltflow.errors import UserError
from tiltflow.model_settings import BEFORE, BESIDE, CriticConfig, FlowConfig, check_kind
from tiltflow.settings import (
    Bounds,
    Count,
    FixedScheduleName,
    Matched,
    NonNegative,
    QScale,
    Reading,
    ScheduleName,
    VelocityFactor,
    check,
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
    """h(t): t, t², t²/(1 − t) with t up to 1 − 1/next_action_steps, or learned (reading = velocity; the fixed
    ones path, too)."""
    velocity_factor: VelocityFactor = "score"
    """Factor of ∇Q in the velocity: h(t)·(1 − t)/t, by which the score is guided by h(t), or h(t)
    (reading = velocity)."""
    hessian: bool = True
    """Whether the change of ∇Q along the path is a part of the velocity (reading = path)."""
    strength: NonNegative = 1.0
    """λ, the strength of the guidance, in units of `energy_scale`."""
    energy_scale: QScale = "size"
    """Unit of Q: how much it differs between actions at a state, or the mean |Q| of the data's actions,
    which changes when a constant is added to every reward (reading = velocity, path). With a finished critic
    it is always the former."""
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
            why = f"with reading = {self.reading} {BEFORE}"
            check_kind(self.critic, "expectile", "in-support-softmax", why=why)
        else:
            check_kind(self.critic, "policy", "expectile", why=BESIDE)
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
                f"Choose {', '.join(get_args(FixedScheduleName))}."
            )

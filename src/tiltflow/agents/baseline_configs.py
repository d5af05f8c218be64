"""Hyper-parameters of the agents that QIPO and FlowQ are compared with: frozen dataclasses.

The text after each field is its help on the command line.
"""

from dataclasses import dataclass
from typing import Annotated

from tiltflow.agents.configs import (
    BCConfig,
    CriticConfig,
    FlowConfig,
    FlowQConfig,
    NetworkConfig,
    QIPOConfig,
    check_actor_critic,
)
from tiltflow.errors import UserError
from tiltflow.settings import (
    Bounds,
    Count,
    Decay,
    Distance,
    EnergyScale,
    MatchingError,
    NonNegative,
    Positive,
    check,
)


@dataclass(frozen=True)
class FlowQLConfig:
    """Behaviour cloning plus Q of the policy's own actions, through its sampler (arXiv 2208.06193)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="policy")
    eta: NonNegative = 1.0
    """η, the weight of Q of the policy's actions, in units of the mean |Q| of the data's actions."""
    error: MatchingError = "prediction"
    """Whose squared error the matching loss is, against which η is weighed: that of the network's prediction
    or of the noise, as in Diffusion-QL (on the variance-preserving path 1/37 of a velocity's)."""
    num_candidates: Count = 1
    """Actions drawn where the policy is played, of which the one of highest Q is taken."""
    grad_norm: Positive | None = None
    """Norm to which the policy's gradient is scaled down where it is larger; without it never."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_actor_critic(self)
        if self.error == "noise" and self.flow.prediction == "data" and self.flow.path != "vp":
            raise UserError(
                f"error = noise is unbounded at the data end of flow.path = {self.flow.path}, where the data "
                "say nothing of the noise: choose flow.prediction = velocity, or error = prediction."
            )


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


@dataclass(frozen=True)
class IQLConfig:
    """Implicit Q-learning: an expectile critic and advantage-weighted regression (arXiv 2110.06169)."""

    actor: ActorConfig = ActorConfig()
    critic: CriticConfig = CriticConfig(kind="expectile")
    alpha: NonNegative = 1.0
    """α, inverse temperature of the weights exp(α·(Q − V)), in units of `energy_scale`."""
    energy_scale: EnergyScale = "advantage"
    """Unit of Q − V in the weights: its standard deviation over the batch, or its own, as published."""
    max_weight: Positive = 100.0
    """Largest weight of a transition."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        if self.critic.kind != "expectile":
            raise UserError(f"critic.kind = {self.critic.kind}: iql has V of the expectile critic alone.")


@dataclass(frozen=True)
class TD3BCConfig:
    """TD3 with a penalty on the distance to the data's actions (arXiv 2106.06860, 2305.09836)."""

    actor: ActorConfig = ActorConfig()
    critic: CriticConfig = CriticConfig(kind="policy")
    actor_penalty: NonNegative = 0.4
    """Weight of the squared distance to the data's action in the actor's loss, beside Q over mean |Q|."""
    critic_penalty: NonNegative = 0.0
    """Weight of the squared distance of the next action to the data's next action, taken off the backup."""
    distance: Distance = "mean"
    """How the squared distances of an action's entries are joined (td3-bc: mean, rebrac: sum)."""
    target_noise: NonNegative = 0.2
    """Standard deviation of the noise on the next action of the backup."""
    target_noise_limit: NonNegative = 0.5
    """Bound of that noise."""
    actor_every: Count = 2
    """Critic steps to one step of the actor."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        if self.critic.kind != "policy":
            raise UserError(
                f"critic.kind = {self.critic.kind}: the critic of td3-bc and rebrac values their own next "
                "actions. Choose policy."
            )


@dataclass(frozen=True)
class FQLConfig:
    """Flow Q-learning: a one-step policy distilled from a behaviour flow, up Q (arXiv 2502.02538)."""

    flow: FlowConfig = FlowConfig(decay="none", ema=0.0, solver="euler", num_steps=10)
    critic: CriticConfig = CriticConfig(kind="policy", aggregate="mean")
    alpha: NonNegative = 1.0
    """Weight of the squared distance to the flow's action of the same noise."""
    normalize_q: bool = True
    """Whether Q in the policy's loss is divided by the mean |Q| of the data's actions."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        if self.critic.kind != "policy":
            raise UserError(
                f"critic.kind = {self.critic.kind}: the critic of fql values the one-step policy's own next "
                "actions. Choose policy."
            )


@dataclass(frozen=True)
class BestOfNConfig:
    """Behaviour cloning beside IQL's critic; the best of N actions by Q is played (ifql, idql)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="expectile")
    num_candidates: Count = 32
    """N, the actions drawn at a state, of which the one of highest Q is taken."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_actor_critic(self)
        if self.critic.kind != "expectile":
            raise UserError(f"critic.kind = {self.critic.kind}: ifql and idql are defined by expectile.")


@dataclass(frozen=True)
class QGPOConfig:
    """Q-guided policy optimisation by contrastive energy prediction (arXiv 2304.12824)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="in-support-softmax")
    beta: NonNegative = 1.0
    """Inverse temperature β, in units of `energy_scale`."""
    energy_scale: EnergyScale = "advantage"
    """Unit of E = −Q: the mean spread of Q over the behaviour's actions of a state, or Q's own."""
    num_support_actions: Annotated[int, Bounds(2)] = 16
    """Support actions of each state (M)."""
    energy: NetworkConfig = NetworkConfig()
    energy_batch_size: Count = 64
    """States of one gradient step of the energy network."""
    energy_learning_rate: NonNegative = 3e-4
    """Adam's step size for the energy network."""
    guidance_scale: NonNegative = 1.0
    """s, the factor of the energy's gradient where actions are sampled; 1 is the tilt by β."""
    behaviour_steps: Count | None = None
    """Gradient steps of the behaviour stage; without it a share of --steps."""
    critic_steps: Count | None = None
    """Gradient steps of the critic stage; without it a share of --steps."""
    energy_steps: Count | None = None
    """Gradient steps of the energy stage; without it a share of --steps."""

    def __post_init__(self) -> None:
        check(self)
        if self.critic.kind == "policy":
            raise UserError(
                "critic.kind = policy: the critic of qgpo is finished before its policy. Choose expectile or "
                "in-support-softmax."
            )


ActorCriticConfig = FlowQConfig | FlowQLConfig | IQLConfig | TD3BCConfig | FQLConfig | BestOfNConfig
AgentConfig = BCConfig | QIPOConfig | QGPOConfig | ActorCriticConfig

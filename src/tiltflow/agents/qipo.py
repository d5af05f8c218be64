"""Q-weighted iterative policy optimisation: QIPO-OT and QIPO-Diff (Algorithm 2 of arXiv 2503.04975).

The policy π(a|s) ∝ μ(a|s)·exp(βQ(s, a)) is a flow (or diffusion) trained by energy-weighted matching on
support actions, without an auxiliary model. Repeating it with support from the policy itself sharpens it:
π_{l+1} ∝ π_l·exp(βQ) ∝ μ·exp((l + 1)βQ)   (5.4).

Departs from the paper, one departure a bullet:
- Noise temperature. Paper: actions start from N(0, I). Here: support and played actions start from N(0, τ²I),
  τ = 0.5 (`support_noise`, `flow.play_noise`). Why: a tilt keeps all of the behaviour's noise along which Q
  is flat, and recorded actions carry noise. The tilt is then one of a narrower μ: for μ = N(m, S) and Q = b·a
  the support is N(m, τ²S) and the policy, drawn with all noise, N(m + βτ²Sb/u, τ²S).
- Length. Paper: not known. Here: the improvement is as long as the behaviour stage, with four refreshes. Why:
  it begins with a fresh step size, which blurs the flow until it has fallen again.
- β. Paper: every refresh adds β, without end. Here: β is what the policy ends at, reached in equal parts over
  the refreshes (`annealed`). Why: a learned critic does not bear more; in our measurements Q of the policy
  rises at every refresh while its success falls, once β exceeds about one spread of Q.
- Unit. Paper: Q's own; β for each task is not known. Here: the mean spread of Q over the support of a state
  at the first refresh (`energy_scale`). Why: one value serves tasks whose rewards differ in scale.
- Support. Paper: all from π_l; reading notes have the data's action in the same softmax, code that seems to
  be the authors' has not. Here: the data's action, half from μ and half from π_l (`reference`), weighted by
  the density of that mixture. Why: one softmax over actions of μ and of π_l is right before the first refresh
  alone.
- Weights. Paper: over their sum at a state, which makes the tilt weaker than asked: exact for M → ∞ alone.
  Here: the same by default (`baseline = "support"`), or over a value of the state (`"value"`,
  qipo_weights.py), exact for every M. Why both: the second has more variance.
- Use of weights. Paper: all M + 1 actions with their weights. Here: one action of each state's support is
  drawn by its weight and counts fully (`weights`). Why: the same loss, from more states at equal cost.
- QIPO-Diff predicts the velocity of its path, not the noise: the same score, learned better near the data.
- The critic is IQL's, an expectile of the data's own actions, where the paper has Q-learning after QGPO,
  inside the support of the behaviour (`critic.kind`): that needs M actions of every next state.
- Q is the target ensemble's; the critic's steps, M, K_renew and each learning rate are our choice, and so are
  the cosine decay of the policy's step size and the average of its parameters.
- Options of ours, off by default: weights from half of the critic's ensemble, and β by the other half
  (judged.py); a critic that goes on learning between refreshes, by the softmax backup over actions of π_l
  (`continue_critic`); a policy of one step, distilled at the end (one_step.py).
- `improvement="tilted-path"` matches no support action z itself but x ~ N(z − δσ²∇E(z), σ²I), δ the part of
  β that is added, drawn anew in every step and weighted exactly (guidance/guided_paths.py): z is drawn (or
  weighted) as above, and its x has the ratio of both weights as a factor. The policy becomes
  (π_l smoothed by σ)·exp(δQ), and σ = 0 is the form above. x is not clipped, which the weights would not
  know of; its energy is that of the action it is played as, −Q(s, clip(x)), so that Q is never asked about
  an action outside its box. Support from the present policy is smooth already: with `current` the smoothing
  adds up over refreshes, with `behaviour` it does not, and with `mixture` the weights neglect it.

The published form is the preset `published` (published.py, each value with its source), in which none of the
above holds but that the weights are those over the support, as published. What it still does not share with
its source:
- networks are plain perceptrons of our size, where the source has QGPO's residual U;
- the weights are by the target critics, which follow the trained ones that the source uses by 200 steps;
- support of the next states is drawn once, not anew every 100 epochs, from the same behaviour;
- the averaged policy is also what is played and what the improvement begins with, with a fresh optimiser;
- DPM-Solver is the multistep one with our spacing, on the OT path from t = 10⁻² on (paths.py);
- support actions are cut off at the actions' box, and observations normalised, as in every agent here.
"""

from dataclasses import replace
from operator import attrgetter

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Stage, flow_parts, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, support_energies
from tiltflow.agents.one_step import (
    ActionValue,
    begin_one_step,
    distillation_stage,
    make_one_step,
    play_one_step,
)
from tiltflow.agents.qipo_improvement import QIPOState, improvement_stage
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.qipo_weights import init_baseline
from tiltflow.agents.registry import register
from tiltflow.agents.sampling import play_actions
from tiltflow.critics import init_critic, q_value
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import DIFFUSION, SHARP_NOISE, FlowConfig
from tiltflow.optimize import Columns, begin

_SHARES = {
    "3:2:3": {"behaviour": 0.375, "critic": 0.25, "improvement": 0.375},
    "6:5:1": {"behaviour": 0.5, "critic": 5 / 12, "improvement": 1 / 12},
}
_DISTILL_SHARE = 0.25


def build(config: QIPOConfig, spec: Spec, steps: int) -> Agent:
    """Algorithm 2: behaviour, critic (then frozen), improvement; and a distillation, if wanted."""
    shares = _SHARES[config.shares] | ({"distill": _DISTILL_SHARE} if config.distill else {})
    count = split_steps(steps, shares, {name: getattr(config, f"{name}_steps") for name in shares})
    rate, decay = config.flow.learning_rate, config.flow.decay
    behaviour_optimizer = make_optimizer(rate, decay, count["behaviour"])
    distillation = make_optimizer(rate, decay, count.get("distill", 1))

    def init(key: PRNGKeyArray) -> QIPOState:
        flow_key, critic_key = jax.random.split(key)
        flow = init_flow(flow_key, spec, config.flow)
        behaviour, reference = (jax.tree.map(jnp.array, flow) for _ in range(2))
        critic = init_critic(critic_key, spec, config.critic)
        one_step = None
        if config.distill:
            network = make_one_step(jax.random.fold_in(key, 3), spec, config.flow)
            one_step = begin_one_step(network, distillation)
        return QIPOState(
            begin(flow, behaviour_optimizer),
            critic,
            behaviour,
            reference,
            refreshes=jnp.zeros(()),
            scale=jnp.ones(()),
            baseline=init_baseline(jax.random.fold_in(key, 2), spec, config),
            beta=jnp.ones(()) if config.beta == "auto" else None,
            learner=jax.tree.map(jnp.array, critic) if config.continue_critic else None,
            one_step=one_step,
        )

    # 1. K1 steps: plain matching of the data's actions.
    # 2. K2 steps: Q-learning, with the configured backup; Q is fixed from then on.

    def keep_behaviour(state: QIPOState, sample: Columns, key: PRNGKeyArray) -> QIPOState:
        return state._replace(behaviour=state.policy.ema)

    stages: tuple[Stage, ...] = behaviour_and_critic(
        config.flow, config.critic, spec, count, behaviour_optimizer, keep_behaviour
    )

    # 3. K3 steps: weighted matching of support actions, which come from the policy anew every K_renew steps.

    stages += (improvement_stage(config, spec, count["improvement"]),)

    # Optionally, K4 steps: the policy becomes one of a single step (one_step.py).

    def value_of(state: QIPOState, observations: Array) -> ActionValue:
        return lambda actions: q_value(state.critic, observations, actions, config.critic) / state.scale

    if config.distill:
        flow_of, alpha = attrgetter("policy.ema"), config.distill_alpha
        last = distillation_stage(count["distill"], config.flow, distillation, flow_of, value_of, alpha)
        stages += (last,)

    def act(state: QIPOState, observations: Array, key: PRNGKeyArray) -> Array:
        def value(actions: Float[Array, "n m a"]) -> Float[Array, "n m"]:
            return -support_energies(state.critic, observations, actions, config.critic) / state.scale

        def of_flow() -> Float[Array, "n a"]:
            return play_actions(state.policy.ema, observations, key, spec, config.flow, value)

        return play_one_step(state.one_step, observations, key, spec.action_size, of_flow)

    return Agent(init, stages, act, flow_parts(config))


def _sharp(flow: FlowConfig) -> QIPOConfig:
    return QIPOConfig(flow=replace(flow, play_noise=SHARP_NOISE), support_noise=SHARP_NOISE)


register("qipo-ot", _sharp(FlowConfig()), build, numbers=True)
register("qipo-diff", _sharp(DIFFUSION), build, numbers=True)

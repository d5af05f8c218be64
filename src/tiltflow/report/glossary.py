"""What the numbers on the page and in the logs mean."""

from typing import NamedTuple

from tiltflow.tasks import ESTIMATED


class Metric(NamedTuple):
    """A logged metric: its heading, the unit on its axis, and what it tells."""

    title: str
    unit: str
    meaning: str


_CRITIC_LOSS = Metric(
    "Critic loss",
    "squared error",
    "Mean over the batch of the squared difference between Q(s, a) and its backup, summed over the ensemble.",
)

_METRICS = {
    "behaviour/loss": Metric(
        "Matching loss",
        "squared error",
        "Mean over the batch of the squared error of what the network predicts of the path from noise to a "
        "data action, averaged over action dimensions. It does not go to zero: noise and data can only be "
        "guessed from a point between them.",
    ),
    "critic/loss": _CRITIC_LOSS,
    "improvement/loss": Metric(
        "Weighted matching loss",
        "squared error",
        "The matching loss on support actions, each weighted by exp(βQ) over its mean at the same state. "
        "Comparable within a stage only.",
    ),
    "actor-critic/loss": Metric(
        "Policy loss",
        "squared error",
        "What the policy minimises beside the critic: mean squared error against the velocity of the guided "
        "path (flowq) or of the data's (ifql, idql), the weighted squared distance to the data's actions "
        "(iql), or a cloning term less Q of the policy's actions (the others), which may be negative.",
    ),
    "critic_loss": _CRITIC_LOSS,
    "matching_loss": Metric(
        "Matching loss",
        "squared error",
        "The part of the policy's loss that clones the data's actions: matching, or a squared distance.",
    ),
    "behaviour_loss": Metric(
        "Behaviour's matching loss",
        "squared error",
        "Matching loss of the behaviour flow that a learned schedule is fitted beside.",
    ),
    "schedule_loss": Metric(
        "Schedule's residual",
        "squared error",
        "Weighted mean square of what the guided velocity leaves unexplained of the data's, which the "
        "learned schedule h(t) minimises.",
    ),
    "energy/loss": Metric(
        "Contrastive loss",
        "nats",
        "Cross-entropy between the weights of a state's support actions and the softmax of the energy "
        "network at their noised forms, divided by M. It does not go to zero: noise hides which is which.",
    ),
    "distillation_loss": Metric(
        "Distillation loss",
        "squared error",
        "Mean squared distance of the one-step policy's action to the flow's action of the same noise.",
    ),
    "weight": Metric(
        "Advantage weight",
        "",
        "Mean over the batch of min(exp(α·advantage), w_max), the weight of the data's actions in the "
        "regression.",
    ),
    "q_policy": Metric("Q of the policy's actions", "return", "Mean of Q over actions of the policy."),
    "value_loss": Metric(
        "Value loss", "squared error", "Expectile regression of V(s) on Q(s, a) over the data's actions."
    ),
    "q_mean": Metric("Q of the data", "return", "Mean of Q(s, a) over the batch, in discounted return."),
    "target_mean": Metric(
        "Backup",
        "return",
        "Mean of what Q is fitted to: r + γ·V(s'), in discounted return. Where it runs away from Q, the "
        "critic diverges.",
    ),
    "ess": Metric(
        "Effective sample size",
        "actions",
        "(Σw)²/Σw² of the weights at a state, averaged over states: how many of the M support actions and "
        "the data's action share the weight. At its limit the policy is not improved; near 1 a single "
        "action decides.",
    ),
    "q_data": Metric("Q of data actions", "return", "Mean of Q over the data's actions."),
    "q_support": Metric("Q of support actions", "return", "Mean of Q over the support actions of a state."),
    "q_weighted": Metric(
        "Q of weighted actions",
        "return",
        "Mean of Q over support actions by weight: what the policy would reach if it matched the weighted "
        "actions exactly.",
    ),
    "beta": Metric(
        "Inverse temperature",
        "1 / spread of Q",
        "β that the policy reaches in the improvement under way; one unit is the mean spread of Q over the "
        "behaviour's actions of a state (or one unit of Q, by configuration).",
    ),
    "refreshes": Metric(
        "Refreshes",
        "count",
        "How often support actions have been drawn from the policy as it then was. A triangle and a dotted "
        "line mark each refresh in the curves.",
    ),
}

HELD_OUT = {
    "matching_loss": "matching loss of the policy's flow",
    "wasserstein": "W₁ of sampled to recorded actions",
    "energy_distance": "energy distance of sampled to recorded actions",
    "critic_value": "value by the critic",
    "importance_value": "value by weighted importance sampling, to the end of the recordings",
}
"""What an estimate says of the held-out episodes, by its name in evaluations.jsonl."""

TERMS = {
    "success": "An episode succeeds if the environment reports success at any of its steps. In percent of "
    "episodes.",
    "normalized return": "100·(return − low)/(high − low), where low and high are the reference returns "
    "of the task (for D4RL names, those of a random and an expert policy). In points.",
    "return": "Sum of rewards over one episode, not discounted.",
    ESTIMATED: "The discounted return of the policy from the first states of the recorded episodes, by "
    "fitted Q evaluation on these episodes. Nobody has played it: where the policy leaves the recorded "
    "actions, the estimate can be far off.",
    "score": "Mean over the episodes of the last three evaluations of the final stage; never the best "
    "evaluation. Seeds count alike.",
    "95 % interval": "Percentile interval of the mean by a three-level bootstrap: seeds are drawn with "
    "replacement, then evaluations of each drawn seed, then episodes of these, 10 000 times.",
    "IQM": "Interquartile mean over seeds: the mean without the lowest and the highest quarter; with fewer "
    "than four seeds, the mean.",
    "W₁": "Wasserstein distance between the policy's and the data's actions in one dimension: how far, on "
    "average, one would have to shift the one to get the other. Actions span −1 to 1.",
    "steps/s": "Gradient steps a second of wall time, of the slowest where seeds run side by side.",
}


def find_metric(stage: str, name: str) -> Metric:
    """The description of a metric logged in a stage; one that is unknown goes by its own name."""
    unknown = Metric(name.replace("_", " "), "", "No description.")
    return _METRICS.get(f"{stage}/{name}") or _METRICS.get(name) or unknown

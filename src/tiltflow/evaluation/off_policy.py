"""The value of a policy from recorded transitions, without playing it. NumPy alone.

Fitted Q evaluation in its closed form: among Q = φᵀw, with random Fourier features φ of (s, a), the one that
satisfies Bellman's equation of the policy on the data (Duan, Jia and Wang 2020, arXiv 2002.09516):
    w = (Σ_i φ_i (φ_i − γ(1 − d_i)·φ'_i)ᵀ + λI)⁻¹ Σ_i φ_i r_i,   φ'_i = E_{a' ~ π(·|s'_i)} φ(s'_i, a'),
and the value is the mean of φᵀw at the first states of episodes. Its interval is that of a bootstrap over
episodes (Hao et al. 2021, arXiv 2102.03607): each replicate solves for w on a resample of them.

Weighted importance sampling, decision by decision (Precup, Sutton and Singh 2000; the weights of a step sum
to one, as in Thomas 2015):
    V = Σ_t γᵗ·Σ_e ρ_et·r_et / Σ_e ρ_et,   ρ_et = Π_{k ≤ t} π(a_ek|s_ek) / μ(a_ek|s_ek).

Departs from the papers:
- *Paper*: features are given, or a network. *Here*: random Fourier features (Rahimi and Recht 2007), with 1
  and the entries themselves among them. *Why*: one linear system has no training that could stop too early,
  which at γ = 0.99 a network's does within any short time.
- *Paper*: λ is on all features. *Here*: not on the feature 1. *Why*: a constant added to all rewards is to
  add its value.
- *Paper*: Q is what the system gives. *Here*: no more, and no less, than rewards of the data can add up to.
  *Why*: where the policy leaves the data the system is near singular, and its solution any number.
- *Paper*: the value is that of all episodes. *Here*: the median of the replicates. *Why*: it is steadier.
- *Paper*: replicates resample episodes. *Here*: groups of neighbouring episodes, where there are more than
  `GROUPS`. *Why*: the sums of a group are computed once.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

GROUPS = 64
"""Groups of episodes that a bootstrap resamples, at the most."""
RIDGE = 1e-2
"""λ. It does not grow with the number of transitions: the system is not symmetric, so that a large λ does not
make it regular, but gives a wrong value where a small one lets the resamples disagree."""
_BLOCK = 4096


class RandomFeatures(NamedTuple):
    """φ(x) = (1, z, √(2/D)·cos(Wz + b)) with z the standardised x and W of the scale 1/√(size of x)."""

    mean: Float[np.ndarray, " x"]
    std: Float[np.ndarray, " x"]
    frequencies: Float[np.ndarray, "x D"]
    phases: Float[np.ndarray, " D"]

    @classmethod
    def of(cls, inputs: Float[np.ndarray, "n x"], count: int, seed: int = 0) -> "RandomFeatures":
        """`count` features for inputs like these."""
        rng = np.random.default_rng(seed)
        inputs, size = inputs.astype(np.float64), inputs.shape[1]
        std = inputs.std(axis=0)
        frequencies = rng.standard_normal((size, count)) / np.sqrt(size)
        phases = rng.uniform(0, 2 * np.pi, count)
        return cls(inputs.mean(axis=0), np.where(std > 0, std, 1.0), frequencies, phases)

    def __call__(
        self, states: Float[np.ndarray, "n s"], actions: Float[np.ndarray, "*samples n a"]
    ) -> Float[np.ndarray, "n f"]:
        """The features of states and actions, as their mean over the samples of an action where there are."""
        samples = actions.reshape(-1, *actions.shape[-2:])
        total: Float[np.ndarray, "n f"] | float = 0.0
        for of_states in samples:
            z = (np.concatenate([states, of_states], axis=-1) - self.mean) / self.std
            waves = np.sqrt(2 / len(self.phases)) * np.cos(z @ self.frequencies + self.phases)
            total = total + np.concatenate([np.ones((len(z), 1)), z, waves], axis=1)
        return np.asarray(total / len(samples))


class RecordedEpisodes(NamedTuple):
    """Transitions of whole episodes in order, and actions of the policy to be valued at their states.

    A time limit is no termination: the value goes on behind it.
    """

    states: Float[np.ndarray, "n s"]
    actions: Float[np.ndarray, "n a"]
    rewards: Float[np.ndarray, " n"]
    next_states: Float[np.ndarray, "n s"]
    terminations: Float[np.ndarray, " n"]
    episodes: Int[np.ndarray, " n"]
    """The number of each row's episode: 0, 1, … without gaps."""
    next_actions: Float[np.ndarray, "m n a"]
    """m actions of the policy at each next state."""
    first_states: Float[np.ndarray, "e s"]
    """The state that each episode begins in."""
    first_actions: Float[np.ndarray, "m e a"]
    """m actions of the policy at each of them."""


class PolicyValue(NamedTuple):
    """An estimate of a policy's discounted return, and its bootstrap replicates."""

    value: float
    replicates: Float[np.ndarray, " b"]
    beyond: float = 0.0
    """Share of the replicates whose Q goes far beyond what rewards can add up to: by a twentieth of that
    range, in the mean over first states. Where it is not small the data do not determine Q."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The percentile interval."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.replicates, [tail, 1 - tail])
        return float(low), float(high)


def fitted_q_value(
    recorded: RecordedEpisodes, discount: float, *, features: int = 512, replicates: int = 100, seed: int = 0
) -> PolicyValue:
    """The discounted return of the policy from the first states of the episodes, as above.

    `discount` is below 1; `features` is D. The bootstrap's resamples depend on `seed` and the episodes alone,
    so that they are the same for several policies.
    """
    r, groups = recorded, _groups(len(recorded.first_states))
    phi = RandomFeatures.of(np.concatenate([r.states, r.actions], axis=1), features, seed)
    size = 1 + len(phi.mean) + features
    group_of = groups[r.episodes]
    matrices = np.zeros((groups[-1] + 1, size, size))
    vectors = np.zeros((groups[-1] + 1, size))
    for group in range(groups[-1] + 1):
        rows = np.flatnonzero(group_of == group)
        for block in (rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)):
            now = phi(r.states[block], r.actions[block])
            following = phi(r.next_states[block], r.next_actions[:, block])
            goes_on = discount * (1.0 - r.terminations[block, None])
            matrices[group] += now.T @ (now - goes_on * following)
            vectors[group] += now.T @ r.rewards[block]
    first = phi(r.first_states, r.first_actions)
    ridge = RIDGE * np.diag(np.arange(size) > 0)
    reach = 1.0 / (1.0 - discount)
    lowest, highest = (float(end) for end in (r.rewards.min(), r.rewards.max()))
    lowest, highest = min(lowest, lowest * reach), max(highest, highest * reach)

    excess = list[float]()

    def value(draws: Float[np.ndarray, " g"]) -> float:
        weights = np.linalg.solve(np.tensordot(draws, matrices, 1) + ridge, draws @ vectors)
        values = first @ weights
        inside = np.clip(values, lowest, highest)
        excess.append(float(np.abs(values - inside).mean()))
        return float(np.average(inside, weights=draws[groups]))

    found = bootstrapped(value, int(groups[-1]) + 1, replicates, seed)
    beyond = float(np.mean(np.array(excess[1:]) > 0.05 * (highest - lowest)))
    return PolicyValue(float(np.median(found.replicates)), found.replicates, beyond)


def recorded_value(
    rewards: Float[np.ndarray, " n"],
    terminations: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    episodes: Int[np.ndarray, " n"],
    discount: float,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> PolicyValue:
    """The discounted return of the recorded episodes themselves, on the resamples of `fitted_q_value`.

    Behind a time limit the mean reward of the data is taken to go on: after T steps, γᵀ/(1 − γ) of it.
    """
    lengths = np.bincount(episodes)
    ends, groups = np.cumsum(lengths), _groups(len(lengths))
    powers = discount ** (np.arange(len(rewards)) - np.repeat(ends - lengths, lengths))
    returns, sums = (np.bincount(episodes, weights=weights) for weights in (powers * rewards, rewards))
    ahead = discount**lengths / (1.0 - discount) * (1.0 - terminations[ends - 1])

    def value(draws: Float[np.ndarray, " g"]) -> float:
        of_episode = draws[groups]
        mean_reward = of_episode @ sums / (of_episode @ lengths)
        return float(np.average(returns + ahead * mean_reward, weights=of_episode))

    return bootstrapped(value, int(groups[-1]) + 1, replicates, seed)


def importance_value(
    rewards: Float[np.ndarray, " n"],
    log_ratios: Float[np.ndarray, " n"],
    episodes: Int[np.ndarray, " n"],
    discount: float,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> tuple[PolicyValue, float]:
    """Weighted importance sampling as above, and the effective number of episodes behind its last step.

    `log_ratios` are log π(a|s) − log μ(a|s) of each row; an episode that has ended keeps its ratio. The
    effective number is (Σρ)²/Σρ²: near 1, the estimate is one episode's return.
    """
    number, lengths = episodes[-1] + 1, np.bincount(episodes)
    at = np.arange(len(rewards)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rewarded = np.zeros((number, lengths.max()))
    rewarded[episodes, at] = rewards
    logs = np.zeros_like(rewarded)
    logs[episodes, at] = log_ratios
    logs = np.cumsum(logs, axis=1)
    ratios = np.exp(logs - logs.max(axis=0))  # a common factor of a step's ratios leaves their shares
    powers = discount ** np.arange(lengths.max())

    def value(draws: Float[np.ndarray, " e"]) -> float:
        shares = draws[:, None] * ratios
        total = shares.sum(axis=0)
        # Where all that was drawn has a ratio of 0, in doubles, the step counts 0.
        mean = np.divide((shares * rewarded).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
        return float(powers @ mean)

    last = ratios[:, -1]
    return bootstrapped(value, number, replicates, seed), float(last.sum() ** 2 / (last**2).sum())


def mean_value(values: Float[np.ndarray, " e"], *, replicates: int = 100, seed: int = 0) -> PolicyValue:
    """The mean of one value an episode, and its bootstrap over episodes."""
    return bootstrapped(lambda draws: float(draws @ values / draws.sum()), len(values), replicates, seed)


def _groups(episodes: int) -> Int[np.ndarray, " e"]:
    """The group of each episode."""
    return np.arange(episodes) * min(episodes, GROUPS) // episodes


def bootstrapped(
    value: Callable[[Float[np.ndarray, " u"]], float], units: int, replicates: int = 100, seed: int = 0
) -> PolicyValue:
    """The value of all units once, and of resamples of them: `value` gets how often each unit counts."""
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=replicates)
    return PolicyValue(value(np.ones(units)), np.array([value(row.astype(np.float64)) for row in draws]))

"""Scores on several tasks joined into one number with an interval (Agarwal et al. 2021, arXiv 2108.13264).

`scores` is a sequence with one array for each task, whose last axis runs over the seeds (the paper's runs);
tasks may have different numbers of seeds and count alike. Axes before the last are batches: the bootstrap
uses them for its resamples. All scores must be in one unit, and so is what is returned.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation.statistics import iqm

TaskScores = Sequence[Float[np.ndarray, "*batch seeds"]]
BLOCK = 1000


def mean(scores: TaskScores) -> Float[np.ndarray, "*batch"]:
    """Mean over tasks of each task's mean over seeds."""
    return np.mean(_task_means(scores), axis=0)


def median(scores: TaskScores) -> Float[np.ndarray, "*batch"]:
    """Median over tasks of each task's mean over seeds."""
    return np.median(_task_means(scores), axis=0)


def interquartile_mean(scores: TaskScores) -> Float[np.ndarray, "*batch"]:
    """Mean of the middle half of all seeds of all tasks (section 4.3); of one task, `statistics.iqm`.

    Where tasks have different numbers of seeds, each score counts as if it were repeated until all have as
    many.
    """
    counts = [np.shape(task)[-1] for task in scores]
    joined = np.concatenate(scores, axis=-1)
    if len(set(counts)) == 1:
        return iqm(joined)
    # Counted, not repeated: with 17 to 20 seeds a task each score would stand there some 3000 times.
    order = np.argsort(joined, axis=-1)
    times = np.repeat([math.lcm(*counts) // count for count in counts], counts)[order]
    ends = np.cumsum(times, axis=-1)
    quarter = ends[..., -1:] // 4
    kept = np.minimum(ends, ends[..., -1:] - quarter) - np.maximum(ends - times, quarter)
    return np.average(np.take_along_axis(joined, order, axis=-1), axis=-1, weights=np.maximum(kept, 0))


def optimality_gap(scores: TaskScores, gamma: float = 100.0) -> Float[np.ndarray, "*batch"]:
    """How far scores fall short of `gamma` on average, where what lies above counts as `gamma`."""
    return gamma - mean([np.minimum(task, gamma) for task in scores])


def performance_profile(
    scores: TaskScores, thresholds: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*batch n"]:
    """Share in [0, 1] of seeds that score above each threshold, averaged over tasks (score distribution)."""
    above = [(np.asarray(task)[..., None] > thresholds).mean(axis=-2) for task in scores]
    return np.mean(above, axis=0)


def probability_of_improvement(one: TaskScores, other: TaskScores) -> Float[np.ndarray, "*batch"]:
    """Chance that a seed of `one` scores above a seed of `other` on the same task, averaged over tasks.

    On each task the Mann–Whitney statistic over its maximum: ties count half. It depends on the order of
    scores alone, so tasks may have different units. Raises ValueError where the tasks are not as many.
    """
    pairs = zip(one, other, strict=True)
    signs = [np.sign(np.asarray(x)[..., :, None] - np.asarray(y)[..., None, :]) for x, y in pairs]
    return 0.5 + 0.5 * np.mean([sign.mean(axis=(-2, -1)) for sign in signs], axis=0)


def stratified_interval(
    statistic: Callable[..., Float[np.ndarray, "..."]],
    *samples: TaskScores,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Percentile interval of `statistic(*samples)` by the stratified bootstrap (section 4.1).

    Each resample draws seeds with replacement within each task; tasks are never resampled, so the interval
    is about these tasks and not about others. Samples are drawn independently of each other. Where each
    task has one seed it has no width, which is no certainty. Raises ValueError for a task without seeds.
    """
    if any(np.shape(task)[-1] == 0 for scores in samples for task in scores):
        raise ValueError("a stratified bootstrap needs at least one seed on each task")
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, BLOCK):  # in blocks, for the sake of memory
        size = min(BLOCK, resamples - start)
        drawn.append(statistic(*([rng.choice(task, (size, len(task))) for task in s] for s in samples)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return low, high


def _task_means(scores: TaskScores) -> Float[np.ndarray, "tasks *batch"]:
    return np.array([np.mean(task, axis=-1) for task in scores])

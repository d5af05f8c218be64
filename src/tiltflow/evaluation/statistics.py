"""Scores of several seeds joined into one number with an interval."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation.rollouts import Episodes
from tiltflow.evaluation.task_score import score
from tiltflow.tasks import Task

LAST_EVALUATIONS = 3
_DRAWN_AT_ONCE = 10_000_000
"""Episodes, for the sake of memory; the draws are the same for any number."""
UNDETERMINED = 0.05
"""Share of an estimate's resamples beyond all bounds, from which on it is no estimate."""


def iqm(values: Sequence[float] | Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """Interquartile mean: the mean without the lowest and the highest quarter (Agarwal et al. 2021).

    With fewer than four values it is the mean.
    """
    # Not by scipy.stats, which takes half a second to import, in every process that ends a training.
    values = np.asarray(values, np.float64)
    quarter = values.shape[-1] // 4
    first, last = quarter, values.shape[-1] - quarter - 1
    return np.partition(values, (first, last), axis=-1)[..., first : last + 1].mean(axis=-1)


def bootstrap_interval(
    per_seed: Sequence[Float[np.ndarray, "_ _"]],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean over seeds, by a three-level bootstrap.

    `per_seed` holds the scores of each seed's episodes, a row for each evaluation. Each resample draws
    seeds with replacement, within each drawn seed evaluations, and within each of these episodes: the
    policy moves between two evaluations by more than the chance of the episodes, which a pool of all
    episodes would hide. Seeds count alike however many episodes they have. With one seed the interval
    tells of the policies of that one training, not of what another seed would have given. Raises
    ValueError without episodes.
    """
    if not per_seed or any(np.size(values) == 0 for values in per_seed):
        raise ValueError("a bootstrap needs at least one seed, and at least one episode in each")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(per_seed), size=(resamples, len(per_seed)))
    means = np.empty(drawn.shape)
    for index, values in enumerate(per_seed):
        chosen = drawn == index
        evaluations, episodes = np.shape(values)
        rows = rng.integers(evaluations, size=(int(chosen.sum()), evaluations, 1))
        parts, size = [np.empty(0)], max(1, _DRAWN_AT_ONCE // (evaluations * episodes))
        for part in (rows[start : start + size] for start in range(0, len(rows), size)):
            columns = rng.integers(episodes, size=(*part.shape[:2], episodes))
            parts.append(np.asarray(values, np.float64)[part, columns].mean(axis=(1, 2)))
        means[chosen] = np.concatenate(parts)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means.mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def score_interval(
    task: Task, evaluations: Sequence[dict[str, Any]], resamples: int = 10_000
) -> tuple[float, float]:
    """The 95 % interval of the score of these lines of evaluations.jsonl.

    Of episodes that were played, by `bootstrap_interval`. Of an estimate: seeds are drawn with replacement,
    within each one evaluation, and for all of them, which share the data, one resample of its episodes.
    """
    if task.played:
        per_evaluation = [[score(task, of_seed) for of_seed in episodes_of_seeds([r])] for r in evaluations]
        scores = [np.stack(rows) for rows in zip(*per_evaluation, strict=True)]
        return bootstrap_interval(scores, resamples=resamples)
    values = np.array([record["replicates"] for record in evaluations])  # [evaluations, seeds, replicates]
    evaluation_count, seeds, replicates = values.shape
    rng = np.random.default_rng(0)
    shape = (resamples, seeds)
    drawn = values[
        rng.integers(evaluation_count, size=shape),
        rng.integers(seeds, size=shape),
        rng.integers(replicates, size=(resamples, 1)),
    ]
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def seed_scores(task: Task, record: dict[str, Any]) -> list[float]:
    """The score of each seed in a line of evaluations.jsonl."""
    if task.played:
        return [float(score(task, of_seed).mean()) for of_seed in episodes_of_seeds([record])]
    return record["score"]


def last_evaluations(evaluations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last three evaluations of the final stage, or as many as there are.

    `evaluations` are lines of evaluations.jsonl. Those of an earlier stage (the behaviour policy of
    qipo-ot, say) are evaluations of another policy and are never mixed in; nor are those from before the
    run was lengthened.
    """

    def part(record: dict[str, Any]) -> tuple[str, int]:
        return record["stage"], record.get("lengthened_from", 0)

    final = [record for record in evaluations if part(record) == part(evaluations[-1])]
    return final[-LAST_EVALUATIONS:]


def undetermined_share(evaluations: Sequence[dict[str, Any]]) -> float:
    """The share of an estimate's resamples beyond all bounds, of the worst seed in the last evaluations.

    0 where it is an estimate: one seed that is none makes a mean over seeds none either.
    """
    share = max(float(np.max(record.get("beyond", 0.0))) for record in last_evaluations(evaluations))
    return share if share > UNDETERMINED else 0.0


def episodes_of_seeds(evaluations: Sequence[dict[str, Any]]) -> list[Episodes]:
    """The episodes of each seed in these lines of evaluations.jsonl, one evaluation behind the other."""
    joined = (
        [list(chain.from_iterable(values)) for values in zip(*(r[key] for r in evaluations), strict=True)]
        for key in ("returns", "successes", "lengths")
    )
    return [Episodes(*columns) for columns in zip(*joined, strict=True)]


def result_record(
    task: Task,
    algorithm: str,
    evaluations: Sequence[dict[str, Any]],
    steps: int,
    train_seconds: float,
) -> dict[str, Any]:
    """The content of result.json: the score of a run, over its last three evaluations, never the best.

    `evaluations` are lines of evaluations.jsonl. `seeds` is their number, `episodes` the number behind
    each seed's score, `evaluated_steps` the gradient steps at which they were played, `mean_return` their
    mean undiscounted return; of an estimate, the recorded episodes, and its mean. `mean`, `iqm` and `ci95`
    (`score_interval`) are over seeds, and so is `std` (n − 1 in the denominator; null for one seed).
    `undetermined` is there where an estimate is none (`undetermined_share`);
    `recorded` where the estimate knows it: the return of the recorded episodes themselves, in the same unit,
    and its 95 % interval. Raises ValueError without evaluations.
    """
    if not evaluations:
        raise ValueError("a result needs at least one evaluation")
    last = last_evaluations(evaluations)
    per_seed = np.mean([seed_scores(task, record) for record in last], axis=0)
    if task.played:
        episodes = sum(len(record["returns"][0]) for record in last)
        mean_return = float(np.mean([record["returns"] for record in last]))
    else:
        episodes, mean_return = last[-1]["episodes"], float(per_seed.mean())
    return {
        "algorithm": algorithm,
        "task": task.name,
        "metric": task.metric,
        "unit": task.unit,
        "seeds": len(per_seed),
        "episodes": episodes,
        "evaluated_steps": [record["step"] for record in last],
        "per_seed": per_seed.tolist(),
        "mean": float(per_seed.mean()),
        "std": float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None,
        "iqm": float(iqm(per_seed)),
        "ci95": list(score_interval(task, last)),
        "mean_return": mean_return,
        "steps": steps,
        "train_seconds": train_seconds,
        "steps_per_second": steps / train_seconds if train_seconds > 0 else None,
        **({"undetermined": share} if (share := undetermined_share(last)) else {}),
        **({"recorded": last[-1]["recorded"][0]} if "recorded" in last[-1] else {}),
    }

"""Makes rliable_reference.json, the aggregates that rliable gives; run where rliable is installed.

    python -m venv rliable-venv
    rliable-venv/bin/pip install rliable==1.2.0 'numpy<2' 'scipy<1.14' 'pandas<3'
    rliable-venv/bin/python tests/evaluation/rliable_reference.py

rliable is no dependency: the file is stored.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

GAMMA, REPETITIONS = 100.0, 5_000
THRESHOLDS = [0.0, 12.5, 25.0, 50.0, 75.0, 100.0, 125.0]


def matrix(seed, runs, tasks):
    """Normalised scores; a third of the tasks is in steps of 10 points, so that there are ties."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(rng.uniform(5, 105, tasks), rng.uniform(2, 25, tasks), (runs, tasks))
    scores[:, ::3] = np.round(scores[:, ::3], -1)
    return np.round(scores, 3)


def aggregates(scores):
    return np.array(
        [
            metrics.aggregate_mean(scores),
            metrics.aggregate_median(scores),
            metrics.aggregate_iqm(scores),
            metrics.aggregate_optimality_gap(scores, GAMMA),
        ]
    )


def case(one, other, seed):
    def intervals(scores, function):
        state = np.random.RandomState(seed)
        np.random.seed(seed)
        found = library.get_interval_estimates({"x": scores}, function, reps=REPETITIONS, random_state=state)
        return found[0]["x"], found[1]["x"]

    points, bounds = intervals(one, aggregates)
    names = ("mean", "median", "interquartile_mean", "optimality_gap")
    chance, chance_bounds = intervals(
        [one, other], lambda x, y: np.array([metrics.probability_of_improvement(x, y)])
    )
    return {
        "one": one.tolist(),
        "other": other.tolist(),
        "points": dict(zip(names, points.tolist(), strict=True)) | {"probability_of_improvement": chance[0]},
        "intervals": dict(zip(names, bounds.T.tolist(), strict=True))
        | {"probability_of_improvement": chance_bounds[:, 0].tolist()},
        "profile": library.score_distributions(one, np.array(THRESHOLDS)).tolist(),
    }


if __name__ == "__main__":
    cases = [
        case(matrix(1, 5, 9), matrix(2, 5, 9), 1),
        case(matrix(3, 10, 4), matrix(4, 7, 4), 2),
        case(matrix(5, 3, 26), matrix(6, 8, 26), 3),
    ]
    content = {
        "rliable": version("rliable"),
        "repetitions": REPETITIONS,
        "gamma": GAMMA,
        "thresholds": THRESHOLDS,
        "cases": cases,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(content) + "\n")

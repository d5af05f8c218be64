"""Estimated against played returns: whether policies rank alike without a simulator and in it.

    tiltflow train iql --task TASK --data DATA --steps 20000 --evaluations 4 --no-play --out runs/iql
    python benchmarks/off_policy.py OUT runs/iql runs/bc ... --episodes 20

Of every checkpoint that `--no-play` has kept: fitted Q evaluation on the run's own data, with its 95 %
interval, and the discounted return of episodes that are played, from their own first states. Writes OUT.json
and, of the policies that have an estimate, OUT.png and the rank correlation. The policies were trained on all
episodes: nothing is held out.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import spearmanr

from tiltflow.evaluation.rollouts import rollout
from tiltflow.evaluation.statistics import UNDETERMINED, bootstrap_interval
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.estimator import Estimator
from tiltflow.training.policy import EVALUATE, make_act, of_one_seed, rollout_policy, seed_keys
from tiltflow.training.prepare import prepare, prepare_folder, seed_groups
from tiltflow.training.progress import ignore_event

matplotlib.use("agg")


class Discounted:
    """An environment whose rewards are discounted, so that their sum is the discounted return."""

    def __init__(self, environment, discount):
        self.environment, self.discount, self.factor = environment, discount, 1.0

    def reset(self, seed):
        self.factor = 1.0
        return self.environment.reset(seed)

    def step(self, action):
        observation, reward, *rest = self.environment.step(action)
        reward, self.factor = self.factor * reward, self.factor * self.discount
        return observation, reward, *rest


def of_run(folder, episodes):
    """A record of every kept checkpoint of every seed."""
    run, stop = RunFolder(folder), StopFlag()
    played = prepare_folder(run, to_play=True)
    estimated, dataset = prepare(replace(played.config, env="none", play=True))
    discount = played.config.estimate.discount
    environments = [Discounted(played.make_environment(), discount) for _ in range(min(8, episodes))]
    records = []
    for seeds in seed_groups(played.config, run):
        estimator = Estimator(estimated, dataset.held_out, seeds, ignore_event, stop)
        act = make_act(played.agent)
        for path in run.group(seeds).checkpoints():
            like, expected = played.init(seeds), played.fingerprint(seeds)
            state, head = checkpoints.restore(path, like, expected)
            if head["step"] not in played.schedule.evaluated:
                continue
            line = estimator.scheduled(state, head["step"])
            for index, key in enumerate(seed_keys(seeds, EVALUATE)):
                policy = rollout_policy(act, of_one_seed(state, seeds, index), key)
                returns = np.array(rollout(environments, policy, range(episodes)).returns)
                records.append(
                    {
                        "algorithm": played.config.algorithm,
                        "seed": seeds[index],
                        "step": head["step"],
                        "estimated": line["score"][index],
                        "beyond": line["beyond"][index],
                        "recorded": line["recorded"][index],
                        "interval": np.quantile(line["replicates"][index], [0.025, 0.975]).tolist(),
                        "played": returns.mean(),
                        "played_interval": bootstrap_interval([returns[None]]),
                    }
                )
                print(json.dumps(records[-1]), flush=True)
    return records


def draw(records, path, correlation):
    """Played over estimated, a mark for each algorithm."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    names = list(dict.fromkeys(record["algorithm"] for record in records))
    for name, mark in zip(names, "osD^v<>", strict=False):
        own = [record for record in records if record["algorithm"] == name]
        x, y = (np.array([record[key] for record in own]) for key in ("estimated", "played"))
        bars = [
            np.abs(np.array([record[key] for record in own]).T - value)
            for key, value in (("interval", x), ("played_interval", y))
        ]
        axes.errorbar(x, y, bars[1], bars[0], fmt=mark, label=name, capsize=2, markerfacecolor="white")
    low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=0)
    axes.set(
        xlabel="estimated discounted return (fitted Q evaluation)",
        ylabel="played discounted return",
        title=f"{len(records)} policies, rank correlation {correlation:.2f}; bars: 95 % intervals",
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=20)
    given = parser.parse_args()
    records = [record for folder in given.runs for record in of_run(folder, given.episodes)]
    known = [record for record in records if record["beyond"] <= UNDETERMINED]
    summary = {"policies": records}
    if len(known) > 1:
        correlation = float(spearmanr([(r["estimated"], r["played"]) for r in known]).statistic)
        inside = float(np.mean([r["interval"][0] <= r["played"] <= r["interval"][1] for r in known]))
        summary = {"rank_correlation": correlation, "played_inside_interval": inside, **summary}
        draw(known, given.out.with_suffix(".png"), correlation)
        print(f"rank correlation {correlation:.3f}; {inside:.0%} were played inside their interval")
    given.out.with_suffix(".json").write_text(json.dumps(summary, indent=1))
    print(f"{len(known)} of {len(records)} policies have an estimate")


if __name__ == "__main__":
    main()

"""The search alone, on a criterion that is a formula: the same trials again, halving, failures."""

import math
from dataclasses import replace

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.train_config import TrainConfig
from tiltflow.tuning.search import search
from tiltflow.tuning.space import Choices, Range
from tiltflow.tuning.sweep import SearchConfig, Sweep, best_preset, ranked

SPACE = {"alpha": Range(0.1, 10.0, log=True), "critic.aggregate": Choices(("min", "mean"))}
CONFIG = TrainConfig("iql", "pointmaze/umaze-v0", ALGORITHMS.find("iql").config, seeds=2, evaluations=10)


def sweep(**how):
    return Sweep(CONFIG, SPACE, "estimate", SearchConfig(**{"budget": 12, "batch": 4, **how}))


def quality(settings):
    return -abs(math.log(settings.get("alpha", 2.0) / 2.0)) - (settings.get("critic.aggregate") == "min")


class Formula:
    """Trains nothing: the criterion grows with the evaluations towards the quality of the settings."""

    def __init__(self, evaluations=10, seeds=2, spoil=lambda trial: {}):
        self.evaluations, self.seeds, self.spoil, self.trained = evaluations, seeds, spoil, []

    def __call__(self, trials, until):
        self.trained += [(trial.number, until) for trial in trials]
        return {trial.number: [self._seed(trial, until)] * self.seeds for trial in trials}

    def _seed(self, trial, until):
        count = min(until or self.evaluations, self.evaluations)
        values = [quality(trial.settings) - 1 / (step + 1) for step in range(count)]
        steps = [100 * (step + 1) for step in range(count)]
        done = count == self.evaluations
        return {"steps": steps, "values": values, "finished": done, **self.spoil(trial)}


def found(trials):
    return [(trial.settings, trial.state, trial.steps, trial.criterion) for trial in trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_gives_the_same_trials_and_a_greater_budget_adds_some(sampler):
    one, again, more = (
        search(sweep(budget=budget, sampler=sampler), Formula(), lambda trials: None)
        for budget in (14, 14, 20)
    )
    assert found(one) == found(again)
    assert found(more)[:14] == found(one)
    other = replace(sweep(sampler=sampler), config=replace(CONFIG, seed=1))
    assert found(search(other, Formula(), lambda trials: None)) != found(one)[:12]


class Kept(Formula):
    """The same, but nothing goes back: each run stands where it ever came to; two diverge on their way."""

    def __init__(self):
        super().__init__()
        self.runs = {}

    def __call__(self, trials, until):
        for trial in trials:
            run = self.runs.get(trial.number, {"values": [], "finished": False})
            if not (run["finished"] or "failed" in run or (until and len(run["values"]) >= until)):
                fails = until == {0: None, 2: 3}.get(trial.number, 0)
                run |= {"failed": "Training diverged"} if fails else self._seed(trial, until)
            self.runs[trial.number] = run
        return {trial.number: [self.runs[trial.number]] * self.seeds for trial in trials}


def test_the_same_command_again_comes_to_the_same():
    """Though all runs are at their end already, and their last evaluations are known."""
    kept = Kept()
    once = search(sweep(), kept, lambda trials: None)
    assert {trial.state for trial in once} == {"finished", "pruned", "failed"}
    assert found(search(sweep(), kept, lambda trials: None)) == found(once)
    assert found(search(sweep(budget=16), kept, lambda trials: None))[:12] == found(once)


def test_only_what_is_not_random_learns_from_results_and_only_from_earlier_batches():
    def settings(sampler, spoil, batch=4):
        trials = search(
            sweep(budget=24, sampler=sampler, batch=batch), Formula(spoil=spoil), lambda trials: None
        )
        return [trial.settings for trial in trials]

    def good(trial):
        return {}

    def bad(trial):
        return {"values": [trial.settings["alpha"]] * 10}

    assert settings("random", good) == settings("random", bad)
    assert settings("tpe", good)[:12] == settings("tpe", bad)[:12]  # ten at random, and what they come with
    assert settings("tpe", good)[12:] != settings("tpe", bad)[12:]
    assert settings("tpe", good, batch=24) == settings("tpe", bad, batch=24)


def test_a_batch_goes_on_together():
    formula = Formula()
    search(sweep(budget=8), formula, lambda trials: None)
    assert formula.trained[:4] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    second = formula.trained.index((4, 1))
    assert {number for number, _ in formula.trained[:second]} == {0, 1, 2, 3}


def test_what_is_behind_is_stopped_and_the_best_is_at_its_end():
    formula = Formula()
    trials = search(sweep(budget=24), formula, lambda trials: None)
    assert {until for _, until in formula.trained} == {1, 3, 9, None}
    stopped = [trial for trial in trials if trial.state == "pruned"]
    assert len(stopped) >= 12
    assert all(len(trial.values) in (1, 3, 9) for trial in stopped)
    best = ranked(trials, maximise=True)[0]
    assert best.state == "finished"
    assert best.criterion == pytest.approx(quality(best.settings) - (1 / 8 + 1 / 9 + 1 / 10) / 3)
    assert best.criterion == max(t.criterion for t in trials if t.state == "finished")
    whole = search(sweep(budget=24, prune=False), Formula(), lambda trials: None)
    assert {trial.state for trial in whole} == {"finished"}


def test_a_trial_that_fails_or_has_no_estimate_stops_no_other():
    def spoil(trial):
        if trial.number == 1:
            return {"failed": "Training diverged:\n loss became nan"}
        return {"values": [None] * 10} if trial.number == 2 else {}

    trials = search(sweep(budget=6), Formula(spoil=spoil), lambda trials: None)
    assert (trials[1].state, trials[1].reason) == ("failed", "Training diverged: loss became nan")
    assert trials[2].state == "failed"
    assert "no estimate" in trials[2].reason
    assert {trial.number for trial in ranked(trials, maximise=True)[-2:]} == {1, 2}


def test_settings_that_do_not_suit_each_other_fail_without_training():
    space = {"flow.path": Choices(("ot", "vp")), "flow.prediction": Choices(("velocity", "noise"))}
    config = TrainConfig("bc-flow", "pointmaze/umaze-v0", ALGORITHMS.find("bc-flow").config)
    wanted = Sweep(config, space, "loss", SearchConfig(budget=8, batch=8))
    formula = Formula(seeds=1)
    trials = search(wanted, formula, lambda trials: None)
    refused = [trial for trial in trials if trial.state == "failed"]
    assert {tuple(trial.settings.values()) for trial in refused} == {("ot", "noise")}
    assert all(trial.number not in {number for number, _ in formula.trained} for trial in refused)


def test_the_preset_of_a_trial_is_all_that_differs_from_the_defaults():
    trials = search(sweep(budget=2, prune=False), Formula(), lambda trials: None)
    preset = best_preset(sweep(), trials[0])
    assert preset.config.alpha == trials[0].settings["alpha"]
    assert set(preset.rows) <= set(SPACE)
    assert "tuned on the estimated return" in preset.source
    assert "tuned on the test return" in best_preset(replace(sweep(), objective="return"), trials[0]).source

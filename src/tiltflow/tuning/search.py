"""Which configurations are tried, and which of them go on: Optuna's samplers and its successive halving.

Trials are proposed in batches, and a batch goes from one rung of evaluations to the next together; its
results are told in the order of its trials. So the trials are a function of the space, the seed and the size
of a batch, whatever runs them and however often the sweep was stopped.

Departs from ASHA (Li et al. 2020, arXiv 1810.05934):
- *Paper*: workers ask whenever they are free. *Here*: a batch waits for its slowest. *Why*: otherwise chance
  decides which results a proposal knows, and no two sweeps are alike.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tiltflow.errors import UserError
from tiltflow.evaluation.statistics import LAST_EVALUATIONS
from tiltflow.packages import require
from tiltflow.tuning.space import Choices, Range
from tiltflow.tuning.sweep import Sweep, Trial

_FACTOR = 3
TrainTrials = Callable[[list[Trial], int | None], dict[int, list[dict[str, Any]]]]
"""(trials, until so many evaluations) -> what each seed of each trial has come to, by the trial's number."""
TellTrials = Callable[[list[Trial]], None]


def search(sweep: Sweep, train: TrainTrials, tell: TellTrials) -> list[Trial]:
    """Try the configurations of a sweep; `tell` gets all trials after each rung. Returns them."""
    optuna = require("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config, how = sweep.config, sweep.search
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(
        direction="maximize" if sweep.maximise else "minimize",
        sampler=samplers[how.sampler](seed=config.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_FACTOR),
    )
    distributions = {key: _distribution(optuna, axis) for key, axis in sweep.space.items()}
    trials: list[Trial] = []
    for first in range(0, how.budget, how.batch):
        batch = {}
        for number in range(first, min(first + how.batch, how.budget)):
            batch[number] = study.ask(fixed_distributions=distributions)
            trials.append(Trial(number, {key: batch[number].params[key] for key in distributions}))
            try:
                sweep.trial_config(trials[-1].settings, config.seed)
            except UserError as error:
                _fail(trials[-1], str(error))
        for until in (*_rungs(config.evaluations), None) if how.prune else (None,):
            alive = [trials[number] for number in batch if trials[number].state == "running"]
            found = train(alive, until) if alive else {}
            for trial in alive:
                _advance(trial, found[trial.number], until)
                if trial.state == "running" and trial.criterion is not None:
                    batch[trial.number].report(trial.criterion, until)
                    if batch[trial.number].should_prune():
                        trial.state = "pruned"
            tell(trials)
        for number, asked in batch.items():
            _close(optuna, study, asked, trials[number])
    return trials


def _rungs(evaluations: int) -> list[int]:
    """1, 3, 9, … evaluations, below all of them."""
    rungs = [1]
    while rungs[-1] * _FACTOR < evaluations:
        rungs.append(rungs[-1] * _FACTOR)
    return [rung for rung in rungs if rung < evaluations]


def _distribution(optuna: Any, axis: Choices | Range) -> Any:
    if isinstance(axis, Choices):
        return optuna.distributions.CategoricalDistribution(axis.values)
    if axis.whole:
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def _advance(trial: Trial, seeds: list[dict[str, Any]], until: int | None) -> None:
    """What the seeds of a trial have come to, after `until` evaluations: the mean over them.

    What an earlier command has brought further stands where it stood then: it may be stopped here.
    """

    def ended(seed: dict[str, Any]) -> bool:
        return until is None or len(seed.get("values", ())) < until

    if failed := [seed["failed"] for seed in seeds if "failed" in seed and ended(seed)]:
        _fail(trial, failed[0])
        return
    count = min(len(seed["values"][:until]) for seed in seeds)
    trial.steps = seeds[0]["steps"][:count]
    columns = list(zip(*(seed["values"][:count] for seed in seeds), strict=True))
    trial.values = [None if None in column else float(np.mean(column)) for column in columns]
    last = trial.values[-LAST_EVALUATIONS:]
    trial.criterion = None if None in last else float(np.mean([value for value in last if value is not None]))
    if until is None or all(seed["finished"] and ended(seed) for seed in seeds):
        trial.state = "finished"
        if trial.criterion is None:
            _fail(trial, "no estimate: the data do not determine what its actions lead to")


def _fail(trial: Trial, reason: str) -> None:
    trial.state, trial.reason, trial.criterion = "failed", " ".join(reason.split()), None


def _close(optuna: Any, study: Any, asked: Any, trial: Trial) -> None:
    states = optuna.trial.TrialState
    if trial.state == "finished":
        study.tell(asked, trial.criterion)
    else:
        study.tell(asked, state=states.PRUNED if trial.state == "pruned" else states.FAIL)

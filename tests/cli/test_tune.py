"""`tiltflow tune` from the command line to its preset and its page."""

import json
import shlex
from pathlib import Path

import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.cli import train as train_verb
from tiltflow.cli.main import main
from tiltflow.cli.tune import _train_text, parse
from tiltflow.errors import UserError
from tiltflow.tuning.sweep import Trial, best_preset, read_runs, write_sweep
from tiltflow.tuning.trial_job import train_trials

pytestmark = pytest.mark.usefixtures("quickly_compiled")
SPACE = "flow.learning-rate = { log-uniform = [1e-4, 1e-2] }\nflow.batch_size = [8, 16]\n"


def command(folder, small_training):
    (folder / "space.toml").write_text(SPACE)
    small = ["--estimate.rows", "500", "--estimate.features", "8", "--estimate.held-out", "0.5"]
    names = ["--space", str(folder / "space.toml"), "--out", str(folder / "sweep")]
    return ["tune", "bc-flow", *small_training, *small, *names]


@pytest.fixture
def words(small_training, tmp_path):
    return command(tmp_path, small_training)


@pytest.fixture(scope="module")
def swept(small_training, tmp_path_factory):
    """A sweep of one configuration, and its command."""
    folder = tmp_path_factory.mktemp("swept")
    words = command(folder, small_training)
    assert main([*words, "--budget", "1", "--no-prune"]) == 0
    return words, folder / "sweep"


def test_a_run_that_waits_at_an_evaluation_goes_on_to_the_same_bits(swept, tmp_path):
    whole = swept[1] / "trial-000" / "seed-0"
    outcome = json.loads((swept[1] / "tune.json").read_text())["runs"]["trial-000/seed-0"]
    config, parts = json.loads((whole / "config.json").read_text()), tmp_path / "parts"
    (first,) = train_trials(lambda event: None, [config], [str(parts)], "loss", 1)
    assert not first["finished"]
    assert not (parts / "result.json").exists()
    assert first["values"] == outcome["values"][:1]
    assert train_trials(lambda event: None, [config], [str(parts)], "loss", None) == [outcome]
    assert outcome["finished"]
    assert final_bodies(parts) == final_bodies(whole)
    assert logged(parts) == logged(whole)


def test_runs_side_by_side_come_to_what_each_comes_to_alone(swept, tmp_path):
    config = json.loads((swept[1] / "trial-000" / "seed-0" / "config.json").read_text())
    outcome = json.loads((swept[1] / "tune.json").read_text())["runs"]["trial-000/seed-0"]
    folders = [str(tmp_path / name) for name in ("one", "other")]
    one, other = train_trials(lambda event: None, [config, {**config, "seed": 1}], folders, "loss", 1)
    assert not one["finished"]
    assert one["steps"] == other["steps"] == outcome["steps"][:1]
    assert one["values"] == pytest.approx(outcome["values"][:1], rel=1e-3)
    assert other["values"] != one["values"]
    assert "seed 1, step 30: estimated return" in (tmp_path / "other" / "log.txt").read_text()


def test_a_sweep_ends_in_a_preset_and_a_page_and_goes_on_with_a_greater_budget(swept, capsys):
    words, out = swept
    run = out / "trial-000" / "seed-0"
    before = {path.name: path.read_bytes() for path in (run / "result.json", run / "log.txt")}
    best = json.loads((out / "best.json").read_text())
    config = json.loads((run / "config.json").read_text())
    assert config["env"] == "none"
    assert best["settings"]["flow.batch_size"] == config["agent"]["flow"]["batch_size"]
    assert best["settings"]["flow.network.width"] == 16  # what all have in common
    page = (out / "tune.html").read_text()
    assert all(text in page for text in ("flow.learning_rate", "matching loss on held-out", "finished"))

    assert main([*words, "--budget", "2", "--no-prune", "--objective", "estimate"]) == 2
    assert "objective: 'loss' ≠ 'estimate'" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--budget", "2", "--no-prune"]) == 0
    assert "Tuned on the matching loss on held-out episodes." in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in before} == before
    record = json.loads((out / "tune.json").read_text())
    assert [trial["state"] for trial in record["trials"]] == ["finished", "finished"]
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    losses = [line["held_out"]["matching_loss"][0] for line in lines]
    assert record["trials"][0]["criterion"] == pytest.approx(sum(losses) / len(losses))


def test_a_smaller_budget_than_was_tried_takes_nothing_from_the_best(words, tmp_path):
    sweep = parse([*words[1:], "--budget", "2"]).sweep
    trials = [Trial(0, {}), Trial(1, {})]
    write_sweep(sweep, trials, {"trial-001/seed-0": {}}, tmp_path)
    assert read_runs(sweep, tmp_path) == {"trial-001/seed-0": {}}
    with pytest.raises(UserError, match="has tried 2 configurations already, more than --budget 1"):
        read_runs(parse([*words[1:], "--budget", "1"]).sweep, tmp_path)


def test_the_command_that_trains_the_preset_can_be_copied(words):
    bounds = ("--action-bounds", "-2", "2")
    tune = parse(["iql", "--task", "file/arm", "--data", "the log.npz", *bounds, "--space", "s.toml"])
    command = _train_text(tune.config, Path("a b/best.json"))
    (verb, *rest) = shlex.split(command)[1:]
    assert verb == "train"
    assert rest[-2:] == ["--preset", "a b/best.json"]
    assert train_verb.parse(rest[:-2]).config == tune.config


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--objective", "regret"], "--objective regret: it must be one of estimate, loss, return"),
        (["--env", "none", "--objective", "return"], "--objective return needs a simulator"),
        (["--no-play"], "--no-play: leave it out"),
        (["--profile"], "--profile: not for tune"),
        (["--budget", "0"], "budget = 0"),
        (["--executor", "rey"], "Did you mean 'ray'"),
    ],
)
def test_bad_input_is_one_paragraph_before_any_work(words, tmp_path, capsys, more, text):
    assert main([*words, *more]) == 2
    assert text in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sweep").exists()


def test_what_is_tuned_on_the_test_return_says_so(words, tmp_path, capsys):
    from tiltflow.report.tune_page import write_tune_page

    sweep = parse([*words[1:], "--objective", "return"]).sweep
    assert sweep.config.env is None
    trial = Trial(0, {"flow.learning_rate": 1e-3, "flow.batch_size": 8}, "finished", [60], [50.0], 50.0)
    record = write_sweep(sweep, [trial], {}, tmp_path)
    page = write_tune_page(record, [0], tmp_path).read_text()
    assert "Tuned on the test return" in page
    assert "tuned on the test return" in best_preset(sweep, trial).source

"""Runs trained without playing, and played afterwards."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.errors import Interrupted, UserError
from tiltflow.files import read_json_lines
from tiltflow.run_folder import RunFolder
from tiltflow.training.progress import ignore_event
from tiltflow.training.run import resume, train
from tiltflow.training.unplayed import play_kept, unplayed


def score_of(run: Path) -> dict:
    """The result without what depends on the clock."""
    result = json.loads((run / "result.json").read_text())
    return {key: value for key, value in result.items() if "second" not in key}


@pytest.fixture(scope="module")
def whole(small_config, trained) -> Path:
    """The run that plays while it trains."""
    return trained(small_config("bc-flow", seeds=2, evaluations=3))


@pytest.fixture(scope="module")
def not_played(small_config, tmp_path_factory) -> Path:
    """The run that does not, and keeps no other checkpoint but the last besides those to be played."""
    config = small_config("bc-flow", seeds=2, evaluations=3, play=False, keep=1, checkpoint_every=1000)
    return train(config, tmp_path_factory.mktemp("unplayed") / "run", in_this_process=True)


@pytest.mark.slow
def test_a_run_played_afterwards_is_to_the_bit_one_that_played_while_it_trained(whole, not_played, tmp_path):
    run = shutil.copytree(not_played, tmp_path / "run")
    assert unplayed(run)
    assert not (run / "evaluations.jsonl").read_text()
    assert not (run / "result.json").exists()

    def interrupt(event):
        if event["event"] == "evaluation":
            raise Interrupted("after the first evaluation")

    with pytest.raises(Interrupted):
        play_kept(run, interrupt)
    assert unplayed(run)
    told = []
    assert play_kept(run, told.append)
    steps = [event["step"] for event in told if event["event"] == "evaluation"]
    assert steps == [line["step"] for line in read_json_lines(whole / "evaluations.jsonl")[1:]]
    assert final_bodies(run) == final_bodies(whole)
    assert logged(run) == logged(whole)
    assert score_of(run) == score_of(whole)
    assert (run / "actions.npz").read_bytes() == (whole / "actions.npz").read_bytes()
    assert (run / "report.html").exists()
    kept = {"keep": 1, "checkpoint_every": 1000}
    assert RunFolder(run).read_config() == replace(RunFolder(whole).read_config(), **kept)
    resume(run, in_this_process=True)  # an ordinary run by now
    assert score_of(run) == score_of(whole)


def test_a_run_begun_without_playing_goes_on_with_it_once_its_past_is_played(whole, not_played, tmp_path):
    run = shutil.copytree(not_played, tmp_path / "run")
    for path in RunFolder(run).group([0, 1]).checkpoints()[-2:]:
        path.unlink()  # as if it had been stopped before
    assert not play_kept(run, ignore_event)
    assert unplayed(run)
    resume(run, config=replace(RunFolder(run).read_config(), play=True), in_this_process=True)
    assert logged(run) == logged(whole)
    assert score_of(run) == score_of(whole)


def test_a_run_that_was_lengthened_is_scored_by_what_it_has_become(small_config, tmp_path):
    config = small_config("bc-flow", play=False, steps=20, evaluations=1, episodes=1)
    run = train(config, tmp_path / "run", in_this_process=True)
    resume(run, steps=40, in_this_process=True)
    assert play_kept(run, ignore_event)
    lines = read_json_lines(run / "evaluations.jsonl")
    assert [(line["step"], line.get("lengthened_from")) for line in lines] == [(20, None), (40, 20)]
    assert score_of(run)["evaluated_steps"] == [40]


def test_a_checkpoint_that_is_missing_or_damaged_is_named(not_played, tmp_path):
    run = shutil.copytree(not_played, tmp_path / "run")
    first = RunFolder(run).group([0, 1]).checkpoints()[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{first} is damaged"):
        play_kept(run, ignore_event)
    first.unlink()
    with pytest.raises(UserError, match=f"{first} is missing"):
        play_kept(run, ignore_event)

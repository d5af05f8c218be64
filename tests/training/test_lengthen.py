"""A run made longer: nothing before its end changes, and the last stage goes on from there."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from tiltflow.errors import UserError
from tiltflow.files import read_json
from tiltflow.report.command import train_command
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.run import resume


def lines(run, name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def test_a_lengthened_run_goes_on_from_its_end(small_config, trained, tmp_path):
    short = trained(small_config("qipo-ot"))
    run = tmp_path / "run"
    shutil.copytree(short, run)
    told = []
    resume(run, told.append, steps=240, in_this_process=True)
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        before = lines(short, name)
        assert lines(run, name)[: len(before)] == before
    old_end = RunFolder(run).group([0]).checkpoint(200)
    assert checkpoints.read(old_end)[1] == checkpoints.read(RunFolder(short).group([0]).checkpoint(200))[1]
    result, config = (read_json(run / name) for name in ("result.json", "config.json"))
    assert result["steps"] == 240
    assert [line["step"] for line in lines(run, "evaluations.jsonl")][-2:] == [220, 240]
    assert result["evaluated_steps"] == [220, 240]
    assert config["ends"] == [200, 240]
    assert train_command(config).endswith("\ntiltflow train --resume RUN --steps 240")
    improvement = [line for line in lines(run, "metrics.jsonl") if line["stage"] == "improvement"]
    assert {line["metrics"]["beta"][0] for line in improvement if line["step"] > 200} == {1.0}
    assert improvement[-1]["metrics"]["refreshes"] == [3.0]  # every 30 of 80 steps
    text = next(event["text"] for event in told if event["event"] == "message" and "stage" in event["text"])
    assert "from 40 to 80 gradient steps" in text
    assert f"from {50 * (1 + math.cos(math.pi / 2)):.0f} % of their start" in text
    with pytest.raises(UserError, match="240 gradient steps already"):
        resume(run, steps=240)


def test_a_run_that_is_not_trained_to_its_end_is_finished_first(small_config, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained(small_config("qipo-ot")), run)
    RunFolder(run).group([0]).checkpoint(200).unlink()
    before = (run / "config.json").read_bytes()
    with pytest.raises(UserError, match="of 200: a run is lengthened when it is trained"):
        resume(run, steps=300)
    assert (run / "config.json").read_bytes() == before


def test_ends_are_checked(small_config):
    with pytest.raises(UserError, match="each above the one before"):
        replace(small_config("bc-flow"), ends=(300, 200))

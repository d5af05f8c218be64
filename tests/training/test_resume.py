"""Stopping and resuming: the same bits as a run that nothing disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiltflow.data.arrays import write_npz
from tiltflow.errors import Interrupted, TrainingDiverged, UserError
from tiltflow.files import write_json
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import to_dict
from tiltflow.training import checkpoints
from tiltflow.training.evaluate import evaluate
from tiltflow.training.run import resume, train
from tiltflow.training.test_time_guidance import Guidance


def final_bodies(run: Path) -> dict[str, bytes]:
    """The arrays of the newest checkpoint of every group of seeds."""
    groups = [RunFolder(path) for path in sorted(run.glob("seeds/*"))]
    return {group.path.name: checkpoints.read(group.checkpoints()[-1])[1] for group in groups}


def logged(run: Path) -> list:
    """What the logs say, without times."""
    records = []
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        for line in (run / name).read_text().splitlines():
            record = json.loads(line)
            records.append({k: v for k, v in record.items() if k not in ("seconds", "steps_per_second")})
    return records


TRAIN = """
import os, signal, sys, threading
from pathlib import Path
from tiltflow.files import read_json
from tiltflow.train_config import from_dict
from tiltflow.training.run import resume, train

run, config, chunks, delay = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def kill_later(event):
    global chunks
    chunks -= event["event"] == "chunk"
    if event["event"] == "chunk" and chunks == 0:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

if (run / "config.json").exists():
    resume(run, kill_later)
else:
    train(from_dict(read_json(config), str(config)), run, kill_later)
"""


TWO_SEEDS = {"seeds": 2, "evaluations": 5}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, TWO_SEEDS], ids=["one seed", "two seeds"])
def test_a_run_killed_at_a_random_moment_ends_with_the_bits_of_an_undisturbed_one(
    small_config, trained, tmp_path, changes
):
    """One seed in a process of its own, and two that are trained as one."""
    config = small_config("bc-flow", **changes)
    whole = trained(config)
    broken = tmp_path / "broken"
    write_json(tmp_path / "config.json", to_dict(config))
    # so many chunks of training, and then a while that ends anywhere: in a step, a write, a rollout
    draw = random.Random(len(changes))
    moment = [str(draw.randint(1, 6)), str(draw.uniform(0, 0.3))]
    command = [sys.executable, "-c", TRAIN, str(broken), str(tmp_path / "config.json"), *moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    resume(broken, in_this_process=True)
    assert final_bodies(broken) == final_bodies(whole)
    assert logged(broken) == logged(whole)


@pytest.mark.slow
def test_a_run_stopped_between_chunks_resumes_bit_for_bit(small_config, trained, tmp_path):
    config = small_config("qipo-ot")
    whole = trained(config)

    stopped = tmp_path / "stopped"
    asked = []

    def ask_to_stop(event):
        between_refreshes = 180
        if event["event"] == "chunk" and event["step"] >= between_refreshes and not asked:
            asked.append(event["step"])
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="after a checkpoint"):
        train(config, stopped, ask_to_stop, in_this_process=True)
    assert not (stopped / "result.json").exists()
    resume(stopped, in_this_process=True)
    assert final_bodies(stopped) == final_bodies(whole)
    assert logged(stopped) == logged(whole)


def test_a_training_stopped_while_its_processes_start_is_interrupted_and_resumes(
    small_config, trained, tmp_path
):
    config, run = small_config("bc-flow"), tmp_path / "run"

    def stop_soon(event):
        if event["event"] == "started":
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with pytest.raises(Interrupted):
        train(config, run, stop_soon)
    resume(run, in_this_process=True)
    assert final_bodies(run) == final_bodies(trained(config))


@pytest.mark.slow
def test_the_same_config_and_seed_give_the_same_bits(small_config, trained, tmp_path, monkeypatch):
    """In another process, compiled anew. That another seed gives others is in test_shared_data."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    again = train(small_config("bc-flow"), tmp_path / "b")
    monkeypatch.undo()
    assert final_bodies(again) == final_bodies(trained(small_config("bc-flow")))


def test_a_checkpoint_of_another_config_is_refused_naming_the_key(small_config, trained, tmp_path):
    run = shutil.copytree(trained(small_config("bc-flow")), tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    record["agent"]["flow"]["network"]["width"] = 8
    write_json(run / "config.json", record)
    with pytest.raises(UserError, match=r"agent\.flow\.network\.width: 16 ≠ 8"):
        resume(run)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(small_config, trained, tmp_path):
    run = trained(small_config("bc-flow"))
    whole = final_bodies(run)
    shutil.copytree(run, tmp_path / "run")
    newest = RunFolder(tmp_path / "run/seeds/0").checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    messages = []
    resume(tmp_path / "run", messages.append, in_this_process=True)
    warnings = [event["text"] for event in messages if event["event"] == "message"]
    assert any("damaged" in text and newest.name in text for text in warnings)
    assert final_bodies(tmp_path / "run") == whole


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_run_whose_checkpoints_cannot_be_read_is_left_as_it_is(small_config, trained, tmp_path, damage):
    run = shutil.copytree(trained(small_config("bc-flow")), tmp_path / "run")
    for path in RunFolder(run / "seeds/0").checkpoints():
        path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-100])
    kept = {path: path.read_bytes() for path in run.rglob("*.json*")}
    with pytest.raises(UserError, match=r"No checkpoint of .* can be read"):
        resume(run, in_this_process=True)
    with pytest.raises(UserError, match=r"No checkpoint of .* can be read"):
        evaluate(run)
    assert {path: path.read_bytes() for path in run.rglob("*.json*")} == kept


def test_a_run_whose_data_have_changed_is_left_as_it_is(small_config, trained, tmp_path, pendulum):
    run = shutil.copytree(trained(small_config("bc-flow")), tmp_path / "run")
    with np.load(pendulum) as file:
        columns = dict(file)
    columns["rewards"] = columns["rewards"] + 1.0
    write_npz(tmp_path / "other.npz", columns)
    config = small_config("bc-flow", data=str(tmp_path / "other.npz"))
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"other\.npz is not what .* was trained on: its checksum is"):
        resume(run, config=config)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == kept


def test_a_critic_that_is_not_finished_improves_no_policy(small_config, trained, tmp_path):
    """Of QIPO after its behaviour stage, whose critic is as it was drawn."""
    run = shutil.copytree(trained(small_config("qipo-ot")), tmp_path / "run")
    for path in RunFolder(run / "seeds/0").checkpoints()[1:]:
        path.unlink()
    messages = []
    with pytest.raises(UserError, match=r"not trained: it is finished after step 160, .* is of step 100"):
        evaluate(run, 1, messages.append, Guidance("best-of-n", (4.0,)))
    assert "not finished: this is its state after step 100 of 200" in messages[0]["text"]


def test_pruning_leaves_the_checkpoint_that_was_just_written(tmp_path):
    """A damaged one of a later step, passed over at the start, is no reason to delete the new one."""
    state, group = np.arange(3.0), RunFolder(tmp_path)
    for step in (10, 40, 20, 30):
        checkpoints.save(group, state, {"step": step}, keep=1)
        assert group.checkpoint(step).exists()
    assert group.checkpoints() == [group.checkpoint(30), group.checkpoint(40)]


def test_a_diverging_run_names_stage_step_and_metric_and_keeps_the_last_good_checkpoint(
    small_config, pendulum, tmp_path
):
    config = small_config("qipo-ot")
    agent = replace(config.agent, critic=replace(config.agent.critic, learning_rate=1e30))
    run = tmp_path / "run"
    text = r"(loss|q_mean|target_mean) became .* stage critic .*Its batch has the rows \d.*largest reward is"
    with pytest.raises(TrainingDiverged, match=text):
        train(replace(config, agent=agent), run, in_this_process=True)
    kept = RunFolder(run / "seeds/0").checkpoints()
    assert kept[-1].name == "step-0000000100.ckpt"  # the end of the behaviour stage
    for line in (run / "seeds/0/metrics.jsonl").read_text().splitlines():
        assert np.isfinite(json.loads(line)["metrics"]["loss"]).all()


def test_a_loss_that_explodes_and_stays_finite_is_warned_of(small_config, tmp_path):
    config = small_config("bc-flow", steps=40, evaluations=1, episodes=1)
    flow, messages = replace(config.agent.flow, learning_rate=1e3, decay="none"), []
    config = replace(config, agent=replace(config.agent, flow=flow))
    train(config, tmp_path / "run", messages.append, in_this_process=True)
    texts = [event["text"] for event in messages if event["event"] == "message"]
    assert sum("it explodes, though it is finite" in text for text in texts) == 1, texts


def test_a_second_training_of_the_same_folder_is_refused(small_config, trained):
    config = small_config("bc-flow")
    run = trained(config)
    with pytest.raises(UserError, match="--resume"):
        train(config, run)


def test_the_result_is_the_mean_of_the_last_three_evaluations(small_config, trained):
    run = trained(small_config("bc-flow", **TWO_SEEDS))
    evaluations = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [len(record["returns"]) for record in evaluations] == [2] * 5
    result = json.loads((run / "result.json").read_text())
    for seed in range(2):
        expected = np.mean([record["returns"][seed] for record in evaluations[-3:]])
        np.testing.assert_allclose(result["per_seed"][seed], expected)

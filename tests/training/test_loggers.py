"""The numbers of a run, as TensorBoard and Weights & Biases read them."""

import struct

import pytest

from tiltflow.files import write_json
from tiltflow.train_config import to_dict
from tiltflow.training.loggers import logging_to

CHUNK = {
    "event": "chunk", "seeds": [3, 4], "step": 20, "stage": "critic", "stage_step": 20, "stage_steps": 60,
    "seconds": 1.0, "steps_per_second": 20.0, "metrics": {"value_loss": [0.5, 0.25]},
}  # fmt: skip
EVALUATION = {"event": "evaluation", "seeds": [4], "step": 40, "score": [75.0]}


def test_tensorboard_files_hold_every_number_of_each_seed(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    seen = []
    with logging_to("tensorboard", tmp_path, seen.append) as observe:
        for event in ({"event": "started", "seeds": [3, 4]}, CHUNK, EVALUATION, {"event": "finished"}):
            observe(event)
    assert [event["event"] for event in seen] == ["started", "chunk", "evaluation", "finished"]
    found = {}
    for file in sorted(tmp_path.glob("tensorboard/*/events*")):
        data = file.read_bytes()
        while data:  # a record: its length, a checksum, the event, a checksum
            (length,) = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
            for value in event.summary.value:
                found[file.parent.name, value.tag, event.step] = value.simple_value
    assert found == {
        ("seed-3", "critic/value_loss", 20): 0.5,
        ("seed-4", "critic/value_loss", 20): 0.25,
        ("seed-3", "critic/steps_per_second", 20): 20.0,
        ("seed-4", "critic/steps_per_second", 20): 20.0,
        ("seed-4", "evaluation/score", 40): 75.0,
    }


def test_wandb_logs_offline(tmp_path, small_config, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_json(tmp_path / "config.json", to_dict(small_config("bc-flow")))
    with logging_to("wandb", tmp_path, lambda event: None) as observe:
        observe(CHUNK)
        observe(EVALUATION)
    wandb.teardown()  # its own process writes the file
    (record,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = record.read_bytes()
    assert b"seed-4/evaluation/score" in data
    assert b"gradient step" in data

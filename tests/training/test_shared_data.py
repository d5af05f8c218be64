"""Processes of seeds train on rows that their parent has loaded once."""

import shutil
import sys
from pathlib import Path

from tests.training.test_resume import final_bodies

from tiltflow.training.prepare import prepare
from tiltflow.training.run import train

_OPENED: list[str] = []
sys.addaudithook(lambda event, words: _OPENED.append(str(words[0])) if event == "open" else None)


def test_the_data_are_read_once_whatever_the_number_of_seeds(small_config, trained, pendulum, tmp_path):
    """The file is gone when the processes begin. The first has the bits of one trained here on the device."""
    data = Path(shutil.copy(pendulum, tmp_path / "pendulum.npz"))
    config = small_config("bc-flow", seeds=2, parallel="process", data=str(data), data_on="host")
    before = _OPENED.count(str(data))
    prepare(config)
    once = _OPENED.count(str(data)) - before

    def delete_data(event):
        if event["event"] == "started":
            data.unlink()
            assert not shared.exists()

    run = tmp_path / "run"
    shared = run / ".data"
    shared.mkdir(parents=True)  # as a training leaves it that was killed
    (shared / "rewards.npy").write_bytes(b"half")
    train(config, run, delete_data)
    assert once > 0
    assert _OPENED.count(str(data)) - before == 2 * once
    assert not shared.exists()
    bodies = final_bodies(run)
    assert bodies["0"] == final_bodies(trained(small_config("bc-flow")))["0"] != bodies["1"]

"""Processes whose events are one stream."""

from contextlib import closing

from tiltflow.training.pool import Job, run_jobs
from tiltflow.training.stopping import StopFlag

KILLED = """
import os
os.write(1, b'{"event": "first"}\\n{"event": "sec')
os._exit(7)
"""


def test_a_process_that_dies_in_the_middle_of_a_line_is_told_as_ended(tmp_path, monkeypatch):
    (tmp_path / "killed_at_work.py").write_text(KILLED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told, waits = [], 0
    with closing(run_jobs([Job(["killed_at_work"], tmp_path / "log")], StopFlag())) as happenings:
        for happening in happenings:
            waits += happening is None
            assert waits < 300, "nobody says that the process has ended"
            if happening is not None:
                told.append(happening[1])
    assert told == [{"event": "launched"}, {"event": "first"}, {"event": "exited", "code": 7}]

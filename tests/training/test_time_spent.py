"""Where the time of a training goes is told whole, once, and in the run folder."""

import jax.monitoring
import pytest

from tiltflow.report.run_reader import read_run
from tiltflow.report.run_tables import facts
from tiltflow.run_folder import RunFolder
from tiltflow.training.run import resume, train
from tiltflow.training.time_spent import PURPOSES, TimeSpent, mean_seconds


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def compiled(clock: Clock, event: str, seconds: float, after: float = 0.0) -> None:
    """JAX compiles for so many seconds, the last of which are over now."""
    clock.now += after
    jax.monitoring.record_event_duration_secs(f"/jax/core/compile/{event}_duration", seconds)


def test_every_second_counts_once_for_the_innermost_purpose():
    clock = Clock()
    spent = TimeSpent(loaded=3.0, clock=clock)
    with spent.apart_from_compiling():
        clock.now += 1
        with spent.on("train"):
            clock.now += 10
            compiled(clock, "jaxpr_trace", 1, after=1)  # of a function that the next one calls
            compiled(clock, "jaxpr_trace", 3, after=2)
            compiled(clock, "backend_compile", 5, after=5)
            with spent.on("refresh"):
                clock.now += 20
                compiled(clock, "backend_compile", 2, after=2)
            clock.now += 100
    compiled(clock, "backend_compile", 50)  # nobody listens
    seconds = spent.seconds()
    assert seconds == {"load": 4, "compile": 10, "train": 110, "refresh": 20, "play": 0, "checkpoint": 0}
    assert sum(seconds.values()) == clock.now + 3


def test_groups_are_averaged():
    groups = [dict.fromkeys(PURPOSES, 1.0), dict.fromkeys(PURPOSES, 4.0)]
    assert mean_seconds(groups) == dict.fromkeys(PURPOSES, 2.5)


@pytest.fixture(scope="module")
def profiled(small_config, tmp_path_factory):
    """A run with a trace, and what it said."""
    told: list[str] = []

    def observe(event):
        if event["event"] == "message":
            told.append(event["text"])

    run = tmp_path_factory.mktemp("profiled") / "run"
    train(small_config("bc-flow"), run, observe, in_this_process=True, profile=True)
    return RunFolder(run), told


def test_a_run_says_where_its_time_went_and_its_page_too(profiled):
    run, told = profiled
    seconds = run.read_time()
    assert tuple(seconds) == PURPOSES
    assert all(seconds[purpose] > 0 for purpose in PURPOSES)
    assert any(text.startswith("time load") or text.startswith("time compile") for text in told)
    assert "compile" in facts(read_run(run.path))["where time went"]


def test_a_profile_has_a_trace_of_every_stage(profiled):
    run, _ = profiled
    traces = run.group([0]).path / "trace"
    assert {path.name for path in traces.iterdir()} == {stage.name for stage in read_run(run.path).stages}
    assert all(list(stage.rglob("*.xplane.pb")) for stage in traces.iterdir())


def test_a_part_that_is_added_adds_its_time(profiled):
    run, _ = profiled
    before = run.read_time()
    resume(run.path, in_this_process=True)
    after = run.read_time()
    assert all(after[purpose] >= before[purpose] for purpose in PURPOSES)
    assert after["load"] > before["load"]

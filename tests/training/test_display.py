"""The progress of runs, driven by events and read as text."""

import io

import pytest
from rich.console import Console

from tiltflow.training.display import LiveDisplay, PlainDisplay, render, show_progress
from tiltflow.training.progress import View, advance, seconds_left

STAGES = [("behaviour", 4000), ("critic", 4000), ("improvement", 2000)]


def started(seeds=(0, 1), metric="success", unit="%"):
    return {
        "event": "started", "algorithm": "qipo-ot", "task": "pointmaze/medium-v0", "metric": metric,
        "unit": unit, "seeds": list(seeds), "stages": [{"name": n, "steps": s} for n, s in STAGES],
        "steps": 10_000, "out": "runs/x",
    }  # fmt: skip


def chunk(step, seeds=(0,), speed=100.0, **metrics):
    begun = 0
    for stage, steps in STAGES:  # noqa: B007 (the stage is that of the break)
        if step <= begun + steps:
            break
        begun += steps
    return {
        "event": "chunk", "seeds": list(seeds), "step": step, "stage": stage, "stage_step": step - begun,
        "stage_steps": steps, "steps_per_second": speed,
        "metrics": {name: [value] * len(seeds) for name, value in metrics.items()},
    }  # fmt: skip


def evaluation(step, seeds, score):
    return {"event": "evaluation", "seeds": seeds, "step": step, "score": score}


def activity(text, fraction, seeds=(0,)):
    return {"event": "activity", "seeds": list(seeds), "text": text, "fraction": fraction}


def view_of(*events):
    view = View()
    for now, event in events:
        view = advance(view, event, now)
    return view


def picture(view, width=90, height=24):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(render(view, height))
    return console.file.getvalue()


def test_seeds_that_come_together_or_interleaved_give_the_same_view():
    together = view_of(
        (0, started()), (10, chunk(1000, (0, 1), loss=0.5)), (20, chunk(2000, (0, 1), loss=0.4))
    )
    apart = view_of(
        (0, started()),
        (10, chunk(1000, (1,), loss=0.5)),
        (10, chunk(1000, (0,), loss=0.5)),
        (20, chunk(2000, (0,), loss=0.4)),
        (20, chunk(2000, (1,), loss=0.4)),
    )
    assert together == apart
    assert together.fraction == 0.2
    assert [together.stage_fraction(name) for name, _ in STAGES] == [0.5, 0.0, 0.0]


def test_time_left_goes_by_the_wall_and_knows_each_stages_pace():
    # The first chunk compiles: 100 s for 1000 steps. Then 10 s a chunk, though the loop claims 5 s.
    events = [(0, started((0,))), (100, chunk(1000, speed=10.0))]
    assert seconds_left(view_of(*events)) is None
    events += [(100 + 10 * k, chunk(1000 * (k + 1), speed=200.0)) for k in range(1, 4)]
    assert seconds_left(view_of(*events)) == pytest.approx(6000 / 100)
    # The first chunk of the critic compiles: until the second it counts at the pace before.
    events += [(150, chunk(5000, speed=5.0))]
    assert seconds_left(view_of(*events)) == pytest.approx(5000 / 100)
    # It goes at half that: 2000 steps of it are left and 2000 of a stage not yet seen.
    events += [(170, chunk(6000, speed=50.0))]
    assert seconds_left(view_of(*events)) == pytest.approx(4000 / 50)


def test_seeds_that_wait_for_a_core_lengthen_the_time_left():
    alone = view_of((0, started((0,))), (10, chunk(1000)), (20, chunk(2000)))
    queue = view_of((0, started((0, 1, 2))), (10, chunk(1000)), (20, chunk(2000)))
    assert seconds_left(queue) == pytest.approx(seconds_left(alone) + 2 * 10_000 / 100)
    assert seconds_left(view_of((0, started((0,))))) is None


def test_the_live_picture_shows_stages_speed_losses_and_scores():
    view = view_of(
        (0, started()),
        (10, chunk(9000, (0,), speed=412, value_loss=1.5, ess=8.31, loss=0.4123)),
        (12, evaluation(9000, [0], [52.0])),
        (13, chunk(3000, (1,), speed=398, loss=0.7)),
        (14, chunk(4000, (1,), speed=398, loss=0.61)),
        (15, activity("drawing support actions", 0.3, (1,))),
    )
    lines = picture(view, width=100).splitlines()
    assert lines[0] == "qipo-ot on pointmaze/medium-v0"
    assert "65 % of 10,000 steps" in lines[1]
    assert lines[1].endswith(" left")
    assert [line.split()[0] for line in lines[2:5]] == ["behaviour", "critic", "improvement"]
    assert [line.split()[-2] for line in lines[2:5]] == ["100", "50", "25"]
    assert lines[6].split() == ["seed", "step", "steps/s", "success", "now"]
    assert "improvement 1,000/2,000  loss 0.412  ess 8.31  value_loss 1.5" in lines[7]
    assert "52.0 %" in lines[7]
    assert "412" in lines[7]
    assert "drawing support actions 30 %  loss 0.61" in lines[8]
    assert "–" in lines[8]


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (200, 50)])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_the_live_picture_fits_the_terminal(width, height, count):
    seeds = tuple(range(count))
    view = view_of(
        (0, started(seeds)),
        (10, chunk(9000, seeds, loss=0.4, ess=8.3)),
        (11, evaluation(9000, list(seeds), [float(seed) for seed in seeds])),
    )
    lines = picture(view, width, height).splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    shown = [seed for seed in seeds if any(line.split()[:1] == [str(seed)] for line in lines)]
    assert shown == list(seeds[: len(shown)])
    if len(shown) < count:
        rest = seeds[len(shown) :]
        assert f"{sum(rest) / len(rest):.1f} %" in lines[-1]


def plain(*events):
    lines, now = [], [0.0]
    display = PlainDisplay(lines.append, lambda: now[0])
    for time, event in events:
        now[0] = time
        display(event)
    return lines


def test_plain_lines_tell_the_run_without_spamming():
    lines = plain(
        (0, started((0,))),
        *((1 + k / 100, chunk(10 * (k + 1), loss=0.5)) for k in range(1000)),
        (11, evaluation(10_000, [0], [75.0])),
        (11, {"event": "finished", "result": {}}),
    )
    assert lines[0] == (
        "qipo-ot on pointmaze/medium-v0: seed 0, 10,000 steps "
        "(behaviour 4,000, critic 4,000, improvement 2,000), to runs/x"
    )
    assert len(lines) == 1 + 40 + 2
    assert lines[20].strip().startswith("50 %  seed 0  critic 1,000/4,000  loss 0.5  100 steps/s")
    assert lines[-2:] == ["seed 0, step 10,000: success 75.0 %", "qipo-ot on pointmaze/medium-v0: finished"]


def test_plain_lines_break_a_long_silence_and_only_that():
    lines = plain(
        (0, started((0,))),
        (5, activity("evaluating", 0.1)),
        (19, activity("evaluating", 0.4)),
        (21, activity("evaluating", 0.5)),
        (30, activity("evaluating", 0.9)),
        (42, chunk(10)),
    )
    assert lines[1] == "seed 0: evaluating 50 %"
    assert "behaviour 10/4,000" in lines[2]
    assert len(lines) == 3


def test_scores_carry_their_metric_and_unit():
    for metric, unit, text in [
        ("success", "%", "success 12.3 %"),
        ("normalized return", "points", "normalized return 12.3 points"),
        ("return", "return", "return 12.3"),
    ]:
        lines = plain((0, started((4,), metric, unit)), (1, evaluation(7000, [4], [12.34])))
        assert lines[-1] == f"seed 4, step 7,000: {text}"


def test_work_outside_a_run_is_shown():
    assert plain((30, activity("collecting 20 episodes", 0.25, ())))[0] == "collecting 20 episodes 25 %"
    text = picture(view_of((0, activity("collecting 20 episodes", 0.25, ()))))
    assert text.startswith("collecting 20 episodes")
    assert "25 %" in text
    assert "seed 3: evaluating" in picture(view_of((0, activity("evaluating", 0.5, (3,)))))


def test_a_terminal_gets_the_live_display_and_keeps_messages_and_the_last_picture():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    with show_progress(console) as observe:
        assert isinstance(observe, LiveDisplay)
        observe(started())
        observe({"event": "message", "level": "warning", "text": "two rows [bad]"})
        observe(chunk(10_000, (0, 1), loss=0.25))
        observe(evaluation(10_000, [0, 1], [40.0, 60.0]))
        observe({"event": "finished", "result": {}})
    text = console.file.getvalue()
    assert "warning: two rows [bad]" in text
    last = text[text.rindex("qipo-ot on") :]
    assert "100 %" in last
    assert last.count("done") == 2
    assert "60.0 %" in last


def test_what_is_no_terminal_gets_plain_lines():
    console = Console(file=io.StringIO(), width=20)
    with show_progress(console) as observe:
        observe(started())
    assert console.file.getvalue().count("\n") == 1

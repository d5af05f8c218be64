import json

import numpy as np
import pytest

from tiltflow.errors import UserError
from tiltflow.evaluation.statistics import bootstrap_interval
from tiltflow.files import read_json_lines, write_json_lines
from tiltflow.report.run_reader import read_run


def test_a_finished_run_has_the_result_that_training_wrote(finished_run):
    run = read_run(finished_run)
    assert run.finished
    assert run.result == json.loads((finished_run / "result.json").read_text())
    assert [stage.name for stage in run.stages] == ["behaviour", "critic", "improvement"]
    assert [stage.steps for stage in run.stages] == [40_000, 40_000, 20_000]
    assert run.last_step == 100_000


def test_an_unfinished_run_is_scored_by_the_evaluations_it_has(make_run, tmp_path):
    run = read_run(make_run(tmp_path / "run", finished=False))
    last = np.array(run.evaluations[-1]["successes"])
    assert not run.finished
    assert run.result["evaluated_steps"] == [r["step"] for r in run.evaluations[-3:]]
    assert run.result["steps"] == run.last_step < 100_000
    np.testing.assert_allclose(run.scores["improvement"].seeds[-1], 100 * last.mean(axis=1))


def test_a_run_without_evaluations_has_no_result(make_run, tmp_path):
    run = read_run(make_run(tmp_path / "run", finished=False, evaluated=False))
    assert run.result is None
    assert run.last_episodes == []


def test_the_band_of_the_score_is_the_interval_of_every_evaluation(finished_run):
    run = read_run(finished_run)
    assert list(run.scores) == ["behaviour", "improvement"]
    curve = run.scores["improvement"]
    successes = 100.0 * np.array(run.evaluations[5]["successes"])
    assert (curve.low[4], curve.high[4]) == bootstrap_interval(list(successes[:, None]), resamples=2000)
    np.testing.assert_allclose(curve.mean[4], successes.mean())


def test_the_band_of_a_metric_spans_the_seeds(finished_run):
    run = read_run(finished_run)
    curve = run.metric("critic", "q_mean")
    assert curve.seeds.shape == (40, 3)
    np.testing.assert_array_equal(curve.low, curve.seeds.min(axis=1))
    np.testing.assert_array_equal(curve.high, curve.seeds.max(axis=1))
    assert (curve.steps[0], curve.steps[-1]) == (41_000, 80_000)
    assert run.stage_start("critic") == 40_000


def test_refreshes_are_where_the_logged_count_rises(finished_run, other_run):
    assert read_run(finished_run).refreshes == [85_000, 90_000, 95_000]
    assert read_run(other_run).refreshes == []


def test_a_line_that_a_crash_cut_off_is_left_out(make_run, tmp_path):
    folder = make_run(tmp_path / "run", finished=False)
    before = read_run(folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 94000, "stage": "impro')
    assert read_run(folder).last_step == before.last_step


@pytest.mark.parametrize(("path", "reason"), [("nowhere", "is not a folder"), (".", "has no config.json")])
def test_what_is_no_run_folder_is_refused(tmp_path, path, reason):
    with pytest.raises(UserError, match=reason):
        read_run(tmp_path / path)


def test_a_finished_run_without_evaluations_is_refused(make_run, tmp_path):
    folder = make_run(tmp_path / "run", "iql", dimensions=1)
    (folder / "evaluations.jsonl").unlink()
    with pytest.raises(UserError, match=r"evaluations\.jsonl has no evaluation, though result\.json says"):
        read_run(folder)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (lambda rows: [rows[0][:7], *rows[1:]], "its seeds have from 7 to 50 episodes"),
        (lambda rows: [row[:7] for row in rows], "it has 7 returns of each seed, the first line 50"),
    ],
)
def test_evaluations_of_other_numbers_of_episodes_are_refused(make_run, tmp_path, cut, reason):
    folder = make_run(tmp_path / "run", "iql", dimensions=1)
    *lines, last = read_json_lines(folder / "evaluations.jsonl")
    last |= {key: cut(last[key]) for key in ("returns", "successes", "lengths")}
    write_json_lines(folder / "evaluations.jsonl", [*lines, last])
    with pytest.raises(UserError, match=f"line 10, is damaged: {reason}"):
        read_run(folder)


def test_a_damaged_file_is_named(make_run, tmp_path):
    folder = make_run(tmp_path / "run")
    for name in ("episodes.npz", "film.npz"):
        np.savez(folder / name, walls=np.ones((2, 2)))
        with pytest.raises(UserError, match=f"{name} holds no pictures of behaviour: .* is missing"):
            read_run(folder)
        (folder / name).unlink()
    actions = folder / "actions.npz"
    actions.write_bytes(actions.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"actions\.npz cannot be read"):
        read_run(folder)

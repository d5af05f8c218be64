"""Scores of a benchmark: what is joined, what is kept apart, and what must not stop the rest."""

import csv

import pytest

from tiltflow.benchmark.records import RunRecord
from tiltflow.benchmark.scores import suite_scores, write_summary
from tiltflow.benchmark_file import PlannedRun
from tiltflow.cli.benchmark import Benchmark
from tiltflow.files import read_json_lines, write_json, write_json_lines

TASK = "ogbench/cube-single-play-singletask-task2-v0"


@pytest.fixture
def bench(tmp_path, make_run):
    """A benchmark of two seeds of iql, the second on the data of `checksum`."""

    def make(checksum="0123456789abcdef" * 4):
        runs = [PlannedRun(TASK, "iql", seed) for seed in (0, 1)]
        for run, data in zip(runs, ("0123456789abcdef" * 4, checksum), strict=True):
            options = {"algorithm": "iql", "seeds": 1, "first_seed": run.seed, "dimensions": 1}
            make_run(tmp_path / run.folder, checksum=data, **options)
        entries = [run._asdict() | {"folder": str(run.folder), "state": "finished"} for run in runs]
        write_json(tmp_path / "benchmark.json", {"format": 1, "suite": "toy", "runs": entries})
        return tmp_path

    return make


def test_seeds_of_the_same_data_are_one_row_and_of_different_data_two(bench):
    (result,) = suite_scores(bench()).results
    assert result["seeds"] == 2


def test_seeds_of_different_data_are_two_rows(bench):
    out = bench("beef" * 16)
    scores = suite_scores(out)
    assert [result["seeds"] for result in scores.results] == [1, 1]
    write_summary(scores, out)
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert len({row["data_checksum"] for row in rows}) == 2


def test_a_run_without_an_estimate_is_in_no_mean_and_counted(bench):
    out = bench()
    path = out / PlannedRun(TASK, "iql", 1).folder / "evaluations.jsonl"
    write_json_lines(path, [line | {"beyond": [0.9]} for line in read_json_lines(path)])
    scores = suite_scores(out)
    assert [result["seeds"] for result in scores.results] == [1]
    assert scores.no_estimate == [PlannedRun(TASK, "iql", 1)]
    (row,) = csv.DictReader(write_summary(scores, out).open())
    assert (row["seeds"], row["no_estimate"], row["failed"]) == ("1", "1", "0")


def test_where_all_have_failed_the_summary_says_that(tmp_path, capsys):
    run = PlannedRun(TASK, "iql", 0)
    entry = run._asdict() | {"folder": str(run.folder), "state": "failed"}
    write_json(tmp_path / "benchmark.json", {"format": 1, "suite": "toy", "runs": [entry]})
    with pytest.raises(SystemExit):
        Benchmark("toy", out=tmp_path)._conclude({run: RunRecord("failed", reason="bad data")})
    (row,) = csv.DictReader((tmp_path / "summary.csv").open())
    assert (row["mean"], row["seeds"], row["failed"]) == ("", "0", "1")
    assert str(tmp_path / "summary.csv") in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"", b"{\n{}\n", b'{"step": 1}\n'])
def test_a_finished_run_that_is_damaged_is_named_and_stops_no_other(bench, damage):
    out = bench()
    path = out / PlannedRun(TASK, "iql", 0).folder / "evaluations.jsonl"
    path.write_bytes(damage)
    scores = suite_scores(out)
    assert [result["seeds"] for result in scores.results] == [1]
    (problem,) = scores.problems
    assert str(path) in problem

"""The table in words, and as CSV, Markdown and LaTeX."""

import csv
import io
import math
import re
import shlex

import numpy as np
import pytest
from scipy import stats

from tiltflow.evaluation.aggregates import probability_of_improvement, stratified_interval
from tiltflow.files import read_json_lines, write_json_lines
from tiltflow.report.compare.across_tasks import across_tasks
from tiltflow.report.compare.charts import improvement_dots
from tiltflow.report.compare.comparison import read_comparison
from tiltflow.report.compare.comparison_tables import aggregate_lines, improvement_rows, legend, task_lines
from tiltflow.report.compare.lead import lead_sentence
from tiltflow.report.compare.published_table import published_table
from tiltflow.report.compare.table_files import csv_text, escape, latex_text, markdown_text

CHEETAH, HOPPER = "d4rl/halfcheetah-medium-v2", "d4rl/hopper-medium-v2"
AGGREGATES = ["IQM", "mean", "median", "optimality gap"]


def rows(comparison):
    return list(csv.DictReader(io.StringIO(csv_text(comparison, across_tasks(comparison)))))


def test_the_csv_holds_each_cell_unrounded_with_its_metric_and_unit(usual):
    scores = [row for row in rows(usual) if row["row"] == "score"]
    assert len(scores) == len(usual.cells) == 4
    for row in scores:
        cell = usual.cells[row["task"], row["algorithm"]]
        assert float(row["mean"]) == cell.result["mean"]
        assert [float(row["ci95_low"]), float(row["ci95_high"])] == cell.result["ci95"]
        assert [float(v) for v in row["per_seed"].split()] == cell.result["per_seed"]
        assert (row["metric"], row["unit"]) == (cell.result["metric"], cell.result["unit"])
        assert [int(v) for v in row["seed_numbers"].split()] == cell.seed_numbers
        assert row["data_checksum"].startswith("sha256:")
        assert row["finished"] == "true"


def test_aggregates_are_those_of_the_scores_in_the_csv(usual):
    """From the file alone, with SciPy and NumPy."""
    table = rows(usual)
    for column in usual.columns:
        seeds = [
            np.array([float(v) for v in row["per_seed"].split()])
            for row in table
            if row["row"] == "score" and row["algorithm"] == column.label
        ]
        found = {row["row"]: row for row in table if row["algorithm"] == column.label}
        means = [values.mean() for values in seeds]
        assert float(found["mean"]["mean"]) == pytest.approx(np.mean(means))
        assert float(found["median"]["mean"]) == pytest.approx(np.median(means))
        assert float(found["optimality gap"]["mean"]) == pytest.approx(100 - np.mean(means))
        most = math.lcm(*map(len, seeds))
        alike = np.concatenate([np.repeat(values, most // len(values)) for values in seeds])
        assert float(found["IQM"]["mean"]) == pytest.approx(stats.trim_mean(alike, 0.25))
        for name in AGGREGATES:
            low, value, high = (float(found[name][key]) for key in ("ci95_low", "mean", "ci95_high"))
            assert low <= value <= high


def test_every_number_stands_with_metric_unit_interval_and_seeds(usual):
    (cube, hopper), labels = task_lines(usual), [column.label for column in usual.columns]
    assert labels == ["bc-flow", "qipo-ot"]
    assert (cube.metric, hopper.metric) == ("success (%)", "normalized return (points)")
    result = usual.cells[cube.name, "qipo-ot"].result
    assert cube.entries[1].number == f"{result['mean']:.1f}"
    assert cube.entries[1].interval == "{:.1f}, {:.1f}".format(*result["ci95"])
    assert cube.entries[1].basis.startswith("5 seeds")
    assert [entry.best for entry in cube.entries] == [False, True]


def test_other_steps_are_shown_and_marked(usual):
    text = [str(entry) for entry in task_lines(usual)[0].entries]
    assert "60k steps" in text[0]
    assert "100k steps" in text[1]
    assert all("‡" in entry for entry in text)
    assert any(line.startswith("‡") for line in legend(usual))


def test_the_best_gap_is_the_smallest(usual):
    gap = aggregate_lines(usual, across_tasks(usual))[-1]
    numbers = [float(entry.number) for entry in gap.entries]
    assert [entry.best for entry in gap.entries] == [number == min(numbers) for number in numbers]


def test_marks_of_what_is_odd_stand_in_the_cell_and_are_explained(odd):
    by_name = {line.name: line.entries for line in task_lines(odd)}
    short = by_name["d4rl/hopper-medium-replay-v2"][-2]
    assert {"†", "§"} <= set(short.marks)
    assert "1 seed" in short.basis
    explained = " ".join(legend(odd))
    assert "† not finished" in explained
    assert "§ runs on this task were trained on different data" in explained
    assert "With one seed" in explained


def test_a_plain_return_is_left_out_of_aggregates_and_that_is_said(odd):
    summary = across_tasks(odd)
    assert [task.name for task in summary.tasks] == [
        "d4rl/hopper-medium-replay-v2",
        "d4rl/halfcheetah-medium-replay-v2",
    ]
    assert len(summary.seeds) == 14
    notes = " ".join(summary.notes)
    assert "file/own_data, whose scores have no scale" in notes
    assert "fewer than two such tasks: bc-flow, bc-diffusion" in notes


def test_one_task_has_no_aggregates_but_improvements(usual):
    only = usual.tasks[0]
    one = type(usual)((only,), usual.columns, {k: v for k, v in usual.cells.items() if k[0] == only.name}, ())
    summary = across_tasks(one)
    assert (summary.aggregates, summary.profiles) == ([], {})
    assert "need two tasks" in summary.notes[0]
    assert summary.improvements["qipo-ot", "bc-flow"].tasks == 1


def test_improvement_is_over_the_tasks_that_both_have_and_its_mirror_adds_up(usual):
    summary = across_tasks(usual)
    one, other = ([usual.cell(t, c).per_seed for t in usual.tasks] for c in usual.columns)
    found, mirror = summary.improvements["bc-flow", "qipo-ot"], summary.improvements["qipo-ot", "bc-flow"]
    assert found.chance.value == pytest.approx(100 * probability_of_improvement(one, other))
    low, high = stratified_interval(probability_of_improvement, one, other, resamples=2000)
    assert found.chance.interval == pytest.approx((100 * low, 100 * high))
    assert found.chance.value + mirror.chance.value == pytest.approx(100)
    assert found.chance.interval[0] + mirror.chance.interval[1] == pytest.approx(100)
    ((winner, _, tasks),) = improvement_rows(summary)
    assert (winner, tasks) == ("qipo-ot over bc-flow", "2")


def test_with_one_seed_a_column_has_no_interval_of_improvement(odd):
    summary = across_tasks(odd)
    assert all(
        (found.chance.interval is None) == ("bc-flow" in pair) for pair, found in summary.improvements.items()
    )


def test_markdown_is_a_table_with_the_best_in_bold(usual):
    lines = markdown_text(usual, across_tasks(usual)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 2 + len(AGGREGATES)
    assert len({line.count("|") for line in table}) == 1
    assert all(line.count("**") == 2 for line in table[2:])
    assert any("95 % bootstrap interval" in line for line in lines)


def test_latex_is_booktabs_with_as_many_columns_in_every_row(odd):
    text = latex_text(odd, across_tasks(odd))
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    table = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(table) == 1 + 3 + len(AGGREGATES)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in table} == {1 + len(odd.columns)}
    assert text.count(r"\begin{tabular}{ll" + "r" * len(odd.columns) + "}") == 1
    assert re.findall(r"[–−…†‡§]", text) == []
    assert not re.findall(r"(?<!\\)[%_#]", "\n".join(table))


def test_a_lead_is_as_sure_as_the_scores_it_is_decided_by(make_run, tmp_path):
    """One seed of a task that is in no aggregate says nothing of them."""
    tasks = {CHEETAH: {"seeds": 4}, HOPPER: {"seeds": 3}, "file/own": {"seeds": 1, "env": "Own-v0"}}
    runs = [
        make_run(tmp_path / name / str(number), name, task, level=level, dimensions=1, **options)
        for name, level in (("iql", 0.9), ("bc-flow", 0.1))
        for number, (task, options) in enumerate(tasks.items())
    ]
    comparison = read_comparison(runs)
    assert "Its 95 % interval lies above bc-flow." in lead_sentence(comparison, across_tasks(comparison))


def test_published_numbers_and_a_leader_are_shown_beside_what_they_can_be_compared_with(make_run, tmp_path):
    first = make_run(tmp_path / "first", "qipo-ot", HOPPER, level=0.9, finished=False, dimensions=1)
    others = [make_run(tmp_path / name, name, HOPPER, level=0.1, dimensions=1) for name in ("iql", "bc-flow")]
    comparison = read_comparison([first, *others])
    across = across_tasks(comparison)
    assert published_table(comparison)
    assert improvement_dots(comparison, across, "qipo-ot") is None  # it is not finished
    assert improvement_dots(comparison, across, "iql")
    estimated = make_run(tmp_path / "estimated", "iql", HOPPER, env="none", dimensions=1)
    assert published_table(read_comparison([estimated])) is None


def test_the_recorded_return_of_each_data_is_shown(make_run, tmp_path):
    runs = []
    for name, value in (("iql", 4.0), ("bc-flow", 9.0)):
        run = make_run(tmp_path / name, name, "file/own", checksum=name, env="none", dimensions=1)
        path = run / "evaluations.jsonl"
        recorded = {"recorded": [[value, value - 1, value + 1]] * 3}
        write_json_lines(path, [line | recorded for line in read_json_lines(path)])
        runs.append(run)
    said = " ".join(legend(read_comparison(runs, allow_different_data=True)))
    assert "themselves: 4.0 (95 % interval 3.0 to 5.0)" in said
    assert "themselves: 9.0 (95 % interval 8.0 to 10.0)" in said


def test_folders_with_spaces_are_told_apart_in_the_csv(make_run, tmp_path):
    folders = [make_run(tmp_path / f"a {seed}", "iql", first_seed=3 * seed, dimensions=1) for seed in (0, 1)]
    (row,) = rows(read_comparison(folders))
    assert shlex.split(row["runs"]) == list(map(str, folders))


def test_latex_escapes_what_it_would_read_as_commands():
    assert escape("distance<0.05 | x>1") == "distance$<$0.05 $|$ x$>$1"
    assert escape(r"a_b & 50% \x {y} $z#") == r"a\_b \& 50\% \textbackslash{}x \{y\} \$z\#"

"""Which runs stand in one table, how seeds are joined and columns named, and what is refused."""

import json
from functools import partial

import numpy as np
import pytest

from tiltflow.errors import UserError
from tiltflow.files import read_json, read_json_lines, write_json, write_json_lines
from tiltflow.report.compare.comparison import read_comparison
from tiltflow.report.run_reader import read_run

CUBE = "ogbench/cube-single-play-singletask-task2-v0"
HOPPER = "d4rl/hopper-medium-v2"


@pytest.fixture
def run(make_run, tmp_path):
    """Writes a small run into a folder of a given name."""
    return lambda name, **options: make_run(
        tmp_path / name, **({"algorithm": "bc-flow", "dimensions": 1} | options)
    )


def edit(path, **changes):
    write_json(path, read_json(path) | changes)


def labels(*folders):
    return [column.label for column in read_comparison(folders).columns]


def refusal(*folders, **options):
    with pytest.raises(UserError) as caught:
        read_comparison(folders, **options)
    return str(caught.value)


def test_estimates_with_different_discounts_are_refused(run):
    one, two = (run(name, algorithm=name, task_name="file/own", env="none") for name in ("iql", "bc-flow"))
    edit(two / "config.json", estimate={"held_out": 0.1, "discount": 0.9, "features": 512, "rows": 50_000})
    message = refusal(one, two)
    assert "estimate.discount of config.json is 0.99 in the first and 0.9 in the second" in message


def test_runs_that_differ_in_seeds_alone_are_one_cell_of_all_their_episodes(run):
    one, two = run("one", seeds=2), run("two", seeds=3, first_seed=2)
    edit(
        two / "config.json",
        data="elsewhere",
        reuse="runs/before",
        parallel="vmap",
        keep=9,
        deterministic=True,
    )
    comparison = read_comparison([two, one])
    (cell,) = comparison.cells.values()
    assert cell.folders == (one, two)  # by seed, in whatever order they were given
    assert cell.seed_numbers == [0, 1, 2, 3, 4]
    each = [read_json(folder / "result.json")["per_seed"] for folder in (one, two)]
    assert cell.result["per_seed"] == each[0] + each[1]
    assert cell.result["mean"] == pytest.approx(np.mean(each[0] + each[1]))
    assert cell.curve.seeds.shape[1] == 5
    low, high = cell.result["ci95"]
    assert low < cell.result["mean"] < high


def test_a_cell_of_one_finished_run_is_its_result(run):
    folder = run("run")
    (cell,) = read_comparison([folder]).cells.values()
    result = read_json(folder / "result.json")
    assert {key: cell.result[key] for key in result} == result


def test_a_seed_counts_once(run):
    one, two = run("one", seeds=3), run("two", seeds=3, first_seed=2)
    text = refusal(one, two)
    assert "seed 2 of bc-flow" in text
    assert str(one) in text
    assert str(two) in text
    assert "given twice" in refusal(one, one)


def test_unfinished_runs_are_joined_at_the_evaluations_that_all_have(run):
    one, two = run("one", finished=False), run("two", first_seed=3, finished=False)
    records = read_json_lines(two / "evaluations.jsonl")[:-1]
    write_json_lines(two / "evaluations.jsonl", records)
    (cell,) = read_comparison([one, two]).cells.values()
    assert not cell.finished
    steps = [record["step"] for record in records]
    assert cell.result["evaluated_steps"] == steps[-3:]
    assert cell.result["steps"] == steps[-1]
    assert cell.result["seeds"] == 6


def test_a_seed_that_is_not_finished_takes_nothing_from_those_that_are(run):
    one, two = run("one"), run("two", first_seed=3, finished=False)
    comparison = read_comparison([two, one])
    (cell,) = comparison.cells.values()
    (alone,) = read_comparison([one]).cells.values()
    assert cell.result == alone.result
    (out,) = comparison.left_out
    assert (out.algorithm, out.task, out.seeds) == ("bc-flow", CUBE, (3, 4, 5))
    assert "not finished" in out.why


def test_policies_of_different_stages_are_not_joined(run):
    qipo = partial(run, algorithm="qipo-ot", finished=False)
    one, two = qipo("one"), qipo("two", first_seed=3)
    write_json_lines(two / "evaluations.jsonl", read_json_lines(two / "evaluations.jsonl")[:1])
    comparison = read_comparison([two, one])
    (cell,) = comparison.cells.values()
    assert cell.seed_numbers == [0, 1, 2]
    (out,) = comparison.left_out
    assert out.seeds == (3, 4, 5)
    assert "in the stage improvement" in out.why


def test_runs_that_share_no_evaluation_are_not_joined(run):
    one, two = run("one"), run("two", first_seed=3)
    records = read_json_lines(two / "evaluations.jsonl")
    write_json_lines(two / "evaluations.jsonl", [r | {"step": r["step"] + 1} for r in records])
    assert "no evaluation at the same gradient step" in refusal(one, two)


def test_runs_that_share_evaluations_of_an_earlier_stage_alone_are_not_joined(run):
    """They would be scored by the behaviour policy."""
    one, two = run("one", algorithm="qipo-ot"), run("two", algorithm="qipo-ot", first_seed=3)
    records = read_json_lines(two / "evaluations.jsonl")
    later = [r | {"step": r["step"] + (r["stage"] != "behaviour")} for r in records]
    write_json_lines(two / "evaluations.jsonl", later)
    assert "of their last stage" in refusal(one, two)


def test_hyper_parameters_that_differ_name_the_columns(run):
    qipo = partial(run, algorithm="qipo-ot", seeds=1)
    one, three = qipo("one", changes={"beta": 1.5}), qipo("three", changes={"beta": 3.0})
    assert labels(one) == ["qipo-ot"]
    assert labels(one, three) == ["qipo-ot (beta=1.5)", "qipo-ot (beta=3.0)"]
    longer = qipo("longer", changes={"beta": 3.0})
    edit(longer / "config.json", steps=7)
    assert labels(three, longer) == ["qipo-ot (steps=100000)", "qipo-ot (steps=7)"]


def test_of_many_differences_those_that_tell_columns_apart_are_named(run):
    changes = {"beta": 3.0, "annealed": False, "refresh_every": 7, "num_support_actions": 3}
    one = run("one", algorithm="qipo-ot", seeds=1)
    two = run("two", algorithm="qipo-ot", seeds=1, changes=changes)
    comparison = read_comparison([one, two])
    assert labels(one, two)[1] == "qipo-ot (annealed=False, …)"
    assert dict(comparison.columns[1].differences) == {key: str(value) for key, value in changes.items()}


def test_presets_of_tasks_are_one_column_and_what_departs_from_them_another(run):
    """Each task has its own preset; the same change on both tasks is the same column."""
    runs = [
        run(f"{task[:4]}-{name}", task_name=task, algorithm="qipo-ot", seeds=1, changes=changes)
        for task in (CUBE, HOPPER)
        for name, changes in (("a", {"beta": 77.0}), ("b", {"beta": 3.5}))
    ]
    assert labels(*runs) == ["qipo-ot (beta=77.0)", "qipo-ot (beta=3.5)"]
    assert len(read_comparison(runs).cells) == 4
    assert labels(runs[0], runs[3]) == ["qipo-ot"]  # one configuration a task: nothing to tell apart


def test_columns_keep_algorithms_together_and_rows_the_order_given(run):
    bc, hopper = run("bc"), run("hopper", task_name=HOPPER)
    qipo = run("qipo", algorithm="qipo-ot")
    comparison = read_comparison([hopper, qipo, bc])
    assert [column.label for column in comparison.columns] == ["bc-flow", "qipo-ot"]
    assert [task.name for task in comparison.tasks] == [HOPPER, CUBE]
    assert comparison.cell(comparison.tasks[0], comparison.columns[1]) is None


def test_different_data_on_one_task_are_refused_unless_allowed(run):
    one, two = run("one"), run("two", algorithm="qipo-ot", checksum="beef" * 16)
    text = refusal(one, two)
    for part in (str(one), str(two), "data.checksum", "sha256:0123", "sha256:beef", "--allow-different-data"):
        assert part in text
    comparison = read_comparison([one, two], allow_different_data=True)
    assert comparison.different_data == (CUBE,)
    assert len(comparison.cells) == 2


def test_different_data_are_never_joined(run):
    one, two = run("one"), run("two", first_seed=3, checksum="beef" * 16)
    comparison = read_comparison([one, two], allow_different_data=True)
    assert [c.label for c in comparison.columns] == ["bc-flow (data=01234567)", "bc-flow (data=beefbeef)"]


def test_data_without_a_record_are_not_the_same_data(run):
    one, two = run("one"), run("two", algorithm="qipo-ot")
    edit(two / "environment.json", data={})
    assert "missing in the second" in refusal(one, two)


def test_the_same_data_are_not_asked_of_different_tasks(run):
    other = run("two", task_name=HOPPER, checksum="beef" * 16)
    assert read_comparison([run("one"), other]).different_data == ()


@pytest.mark.parametrize("allowed", [False, True])
def test_different_metrics_are_refused_in_any_case(run, allowed):
    one, two = run("one"), run("two", algorithm="qipo-ot")
    records = read_json_lines(two / "evaluations.jsonl")
    write_json_lines(two / "evaluations.jsonl", [r | {"metric": "return"} for r in records])
    text = refusal(one, two, allow_different_data=allowed)
    for part in (str(one), str(two), "the metric", "'success'", "'return'"):
        assert part in text


def test_a_run_without_evaluations_is_refused(run):
    folder = run("run", evaluated=False, finished=False)
    assert str(folder / "evaluations.jsonl") in refusal(folder)
    (folder / "evaluations.jsonl").unlink()
    assert "does not exist" in refusal(folder)


def test_what_is_no_run_is_refused(tmp_path):
    assert "is no run folder" in refusal(tmp_path)
    assert "is not a folder" in refusal(tmp_path / "missing")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda record: "{", "line 2"),
        (lambda record: json.dumps([1]), "no JSON object"),
        (lambda record: json.dumps({k: v for k, v in record.items() if k != "stage"}), "no 'stage'"),
        (lambda record: json.dumps(record | {"returns": []}), "'returns'"),
        (lambda record: json.dumps(record | {"returns": [["x"] * 50] * 3}), "not a finite number"),
        (lambda record: json.dumps(record | {"successes": [[True]]}), "'successes'"),
        (lambda record: json.dumps(record | {"lengths": None}), "'lengths'"),
        (lambda record: json.dumps(record | {k: record[k][:1] for k in ("returns", "successes", "lengths")}),
         "1 seed"),
    ],
)  # fmt: skip
def test_damaged_evaluations_are_refused_with_their_line(run, damage, told):
    path = run("run") / "evaluations.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = damage(json.loads(lines[1]))
    path.write_text("\n".join(lines) + "\n")
    text = refusal(path.parent)
    assert f"{path}, line 2" in text
    assert told in text


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", b"[]", "no JSON object"),
        ("config.json", b'{"format": 1, "seeds": 3}', "no 'algorithm'"),
        ("config.json", b'{"format": 1, "seeds": 3, "algorithm": "iql", "task": "file/own"}', "no 'agent'"),
        ("result.json", b"{}", "no 'metric'"),
        ("result.json", b'{"metric": "return", "unit": ""}', "it has no 'seeds'"),
        ("environment.json", b"[]", "no JSON object"),
        ("environment.json", b'{"data": 3}', "'data'"),
        ("evaluations.jsonl", b"\xff\xfe", "cannot be read"),
    ],
)
def test_other_damaged_files_are_refused_by_name(run, name, content, told):
    folder = run("run")
    (folder / name).write_bytes(content)
    text = refusal(folder)
    assert str(folder / name) in text
    assert told in text


def test_a_run_of_another_format_is_refused(run):
    path = run("run") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert "has format 99" in refusal(path.parent)


def test_a_last_line_that_a_crash_cut_off_is_left_out(run):
    path = run("run", finished=False) / "evaluations.jsonl"
    whole = read_comparison([path.parent]).cells
    with path.open("a") as file:
        file.write('{"step": 99, "ret')
    again = read_comparison([path.parent]).cells
    assert [c.result["mean"] for c in again.values()] == [c.result["mean"] for c in whole.values()]


def test_estimates_are_compared_among_themselves_alone(run):
    own = partial(run, task_name="file/own", algorithm="bc-flow", level=0.9)
    better, more = own("better", seeds=2), own("more", seeds=3, first_seed=2)
    worse = own("worse", algorithm="qipo-ot", level=0.3)
    cells = {column: cell for (_, column), cell in read_comparison([better, more, worse]).cells.items()}
    seeds = [value for folder in (better, more) for value in read_run(folder).result["per_seed"]]
    assert cells["bc-flow"].result["per_seed"] == seeds
    assert cells["bc-flow"].interval[0] > cells["qipo-ot"].interval[1]
    assert "the metric" in refusal(better, own("played", env="Own-v0"), allow_different_data=True)


def test_an_estimate_that_the_data_do_not_determine_is_left_out_and_named(run):
    own = partial(run, task_name="file/own", algorithm="bc-flow")
    sound, wild = own("sound"), own("wild", algorithm="qipo-ot")
    lines = [line | {"beyond": [0.6] * 3} for line in read_json_lines(wild / "evaluations.jsonl")]
    write_json_lines(wild / "evaluations.jsonl", lines)
    (wild / "result.json").unlink()
    (left,) = read_comparison([sound, wild]).left_out
    assert left.algorithm == "qipo-ot"
    assert "no estimate: in 60 % of the resamples" in left.why
    with pytest.raises(UserError, match="None of these runs can be compared: qipo-ot has no estimate"):
        read_comparison([wild])

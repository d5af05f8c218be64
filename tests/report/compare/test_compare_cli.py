"""`tiltflow compare` on the command line."""

import pytest
from pages import Page

from tiltflow.cli.compare import print_comparison
from tiltflow.cli.main import main
from tiltflow.files import write_json
from tiltflow.report.compare.across_tasks import across_tasks
from tiltflow.report.compare.comparison import read_comparison


def said(capsys, *arguments):
    code = main(["compare", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, " ".join(captured.err.split())


def test_compare_prints_the_table_and_the_paths(finished_run, other_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, other_run, finished_run)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["task", "metric", "(unit)", "bc-flow", "qipo-ot"]
    assert "success (%)" in lines[1]
    assert "qipo-ot over bc-flow" in out
    assert "No aggregates: they need two tasks" in out
    assert lines[-4:] == [
        f"compare/{name}" for name in ("table.csv", "table.md", "table.tex", "compare.html")
    ]
    assert all((tmp_path / line).is_file() for line in lines[-4:])


def test_the_folder_of_a_benchmark_stands_for_its_evaluated_runs(make_run, tmp_path, capsys):
    bench = tmp_path / "bench"
    made = [
        make_run(bench / "cube" / name / "seed-0", algorithm=name, seeds=1, dimensions=1, **state)
        for name, state in (
            ("iql", {}),
            ("bc-flow", {"finished": False}),
            ("fql", {"finished": False, "evaluated": False}),
            ("rebrac", {"finished": False}),
        )
    ]
    run = {"task": "ogbench/cube-single-play-singletask-task2-v0", "seed": 0}
    entries = [
        run | {"agent": folder.parent.name, "folder": str(folder.relative_to(bench)), "state": "running"}
        for folder in made
    ]
    entries[3]["state"] = "failed"
    write_json(bench / "benchmark.json", {"format": 1, "suite": "toy", "runs": entries})
    code, out, err = said(capsys, bench, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[-2:] == ["iql", "bc-flow"]
    said_of = {line.partition(": ")[0]: line for line in out.splitlines() if line.startswith("Left out")}
    assert "fql on ogbench/cube" in said_of["Left out, without an evaluation yet"]
    assert "rebrac on ogbench/cube" in said_of["Left out, failed"]
    page = Page(tmp_path / "out/compare.html").text
    assert all(line in page for line in said_of.values())

    (made[0] / "evaluations.jsonl").unlink()
    (made[1] / "evaluations.jsonl").unlink()
    code, _, err = said(capsys, bench, "--out", tmp_path / "out")
    assert code == 2
    assert "has been evaluated yet" in err

    write_json(bench / "benchmark.json", {"format": 1, "suite": "toy", "runs": [run]})
    code, _, err = said(capsys, bench, "--out", tmp_path / "out")
    assert code == 2
    assert "benchmark.json is damaged" in err
    assert "'runs[0].agent'" in err
    for runs, fault in ((None, "'runs' is None, not a list"), ([1], "'runs[0]' is 1, not")):
        write_json(bench / "benchmark.json", {"format": 1, "suite": "toy", "runs": runs})
        assert fault in said(capsys, bench, "--out", tmp_path / "out")[2]


def test_many_algorithms_are_rows_with_a_few_tasks_side_by_side(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tiltflow.cli.compare._TASKS", 2)
    names = ("qipo-ot", "qipo-diff", "bc-flow", "iql", "fql", "rebrac", "td3-bc")
    tasks = [f"ogbench/cube-single-play-singletask-task{number}-v0" for number in (1, 2, 3)]
    comparison = read_comparison(
        [
            make_run(tmp_path / f"{name}-{index}", algorithm=name, task_name=task, seeds=1, dimensions=1)
            for name in names
            for index, task in enumerate(tasks)
        ]
    )
    print_comparison(comparison, across_tasks(comparison))
    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if line.startswith(" ")]
    assert [head.count(", success (%)") for head in heads] == [2, 1, 0, 0]
    assert [head.count(" of 3 tasks, points") for head in heads] == [0, 0, 2, 2]
    for name in names:
        assert len([line for line in out.splitlines() if line.split()[:1] == [name]]) == 4
    assert "for 21 pairs of columns, are on the page" in out


@pytest.mark.parametrize("allowed", [False, True])
def test_different_data_need_the_option(make_run, finished_run, tmp_path, capsys, allowed):
    other = make_run(tmp_path / "other", algorithm="bc-flow", checksum="beef" * 16, dimensions=1)
    option = ["--allow-different-data"] if allowed else []
    code, out, err = said(capsys, other, finished_run, "--out", tmp_path / "out", *option)
    if allowed:
        assert (code, err) == (0, "")
        assert "§ runs on this task were trained on different data" in out
    else:
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert "data.checksum" in err
        assert not (tmp_path / "out").exists()


def test_bad_input_is_one_paragraph_and_exit_code_2(finished_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for arguments, told in (
        ([tmp_path], "is no run folder"),
        ([finished_run, finished_run], "given twice"),
        ([finished_run, "--out", tmp_path / "file"], "is a file"),
        ([], "RUN"),
    ):
        code, out, err = said(capsys, *arguments)
        assert (code, out) == (2, "")
        assert told in err
        assert "Traceback" not in err

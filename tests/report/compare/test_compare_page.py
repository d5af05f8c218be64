"""compare.html, as it is written and in a real Chromium."""

import re
from xml.etree import ElementTree

import pytest
from browser import assert_fits, needs_chromium
from pages import Page, assert_readable_unseen, assert_whole

from tiltflow.errors import UserError
from tiltflow.files import read_json_lines, write_json_lines
from tiltflow.report.command import train_command
from tiltflow.report.compare.across_tasks import across_tasks
from tiltflow.report.compare.compare_page import write_comparison
from tiltflow.report.compare.comparison import read_comparison
from tiltflow.report.compare.comparison_tables import legend, task_lines
from tiltflow.report.compare.lead import lead_sentence
from tiltflow.words import short_steps

FILES = {"table.csv", "table.md", "table.tex", "compare.html"}


@pytest.fixture(scope="module")
def folders(usual, odd, tmp_path_factory):
    written = {}
    for name, comparison in (("usual", usual), ("odd", odd)):
        written[name] = tmp_path_factory.mktemp(name)
        write_comparison(comparison, across_tasks(comparison), written[name])
    return written


@pytest.fixture(params=["usual", "odd"])
def folder(request, folders):
    return folders[request.param]


def test_the_page_is_whole_and_can_be_read_without_seeing_it(folder):
    page = Page(folder / "compare.html")
    assert_whole(page)
    assert_readable_unseen(page)


@needs_chromium
def test_the_page_fits_every_width_and_asks_for_nothing(folder, tmp_path):
    assert_fits(folder / "compare.html", tmp_path)


def test_the_page_says_who_leads_and_on_what(folders, usual):
    text = Page(folders["usual"] / "compare.html").text
    value = across_tasks(usual).aggregates[0].estimates["qipo-ot"].value
    assert (
        f"qipo-ot has the highest IQM of 2 tasks: {value:.1f}. Its 95 % interval lies above bc-flow." in text
    )
    assert "With 3 seeds intervals are too narrow" in text


def test_two_seeds_are_not_said_to_tell(make_run, tmp_path):
    runs = [
        make_run(tmp_path / name, algorithm=name, seeds=2, level=level, dimensions=1)
        for name, level in (("bc-flow", 0.1), ("qipo-ot", 0.9))
    ]
    comparison = read_comparison(runs)
    text = lead_sentence(comparison, across_tasks(comparison))
    assert "With 2 seeds intervals are far too narrow to say that this is no chance." in text


def test_intervals_that_overlap_are_not_said_to_tell(make_run, tmp_path):
    runs = [
        make_run(tmp_path / name, algorithm=name, level=level, dimensions=1)
        for name, level in (("bc-flow", 0.15), ("iql", 0.14))
    ]
    comparison = read_comparison(runs)
    assert "Its 95 % interval is not clear of" in lead_sentence(comparison, across_tasks(comparison))


def test_columns_that_are_level_are_not_ranked(make_run, tmp_path):
    """At nothing, say, which short budgets come to."""
    runs = [
        make_run(tmp_path / name, algorithm=name, seeds=2, dimensions=1) for name in ("bc-flow", "qipo-ot")
    ]
    for run in runs:
        lines = read_json_lines(run / "evaluations.jsonl")
        none = [[False] * len(row) for row in lines[-1]["successes"]]
        write_json_lines(run / "evaluations.jsonl", [line | {"successes": none} for line in lines])
    comparison = read_comparison(runs)
    assert lead_sentence(comparison, across_tasks(comparison)).startswith("All have the same success: 0.0 %.")
    (line,) = task_lines(comparison)
    assert [(entry.number, entry.best) for entry in line.entries] == [("0.0", False)] * 2
    assert any("no width" in text for text in legend(comparison))


def test_what_rests_on_two_seeds_is_not_bold_among_probabilities(make_run, tmp_path):
    found = {}
    for seeds in (2, 3):
        runs = [
            make_run(tmp_path / f"{name}-{seeds}", algorithm=name, seeds=seeds, level=level, dimensions=1)
            for name, level in (("bc-flow", 0.05), ("iql", 0.95))
        ]
        comparison = read_comparison(runs)
        write_comparison(comparison, across_tasks(comparison), tmp_path / str(seeds))
        markup = (tmp_path / str(seeds) / "compare.html").read_text()
        section = markup[markup.index('id="improvement"') : markup.index('id="published"')]
        found[seeds] = section.count('class="best"')
    assert found == {2: 0, 3: 2}


def test_a_cell_that_is_not_finished_says_where_it_stands(odd):
    short = odd.cells["d4rl/hopper-medium-replay-v2", "bc-flow"]
    entries = {line.name: line.entries for line in task_lines(odd)}["d4rl/hopper-medium-replay-v2"]
    assert f"after {short_steps(short.result['steps'])} steps, stage behaviour" in entries[-2].basis
    assert "not on equal terms" in lead_sentence(odd, across_tasks(odd))


def test_every_cell_command_and_source_of_data_is_on_the_page(folders, usual):
    text = Page(folders["usual"] / "compare.html").text
    for cell in usual.cells.values():
        low, high = cell.result["ci95"]
        assert f"{cell.result['mean']:.1f}" in text
        assert f"[{low:.1f}, {high:.1f}]" in text
        for run, folder in zip(cell.runs, cell.folders, strict=True):
            assert train_command(run.config) in text
            assert str(folder) in text
    assert "sha256:0123456789abcdef" in text
    assert "1,000,000" in text


def test_published_numbers_stand_apart_with_source_protocol_and_caveat(folders):
    text = Page(folders["odd"] / "compare.html").text
    assert "Not measured here." in text
    assert "opendilab/GenerativeRL, grl_pipelines/benchmark/README.md. Protocol: as the source" in text
    assert "corl-team/CORL, README.md, last scores. Protocol: last evaluation" in text
    (letter,) = re.findall(r"\((.)\) the source labels this row halfcheetah-medium-v2 a second time", text)
    assert f"47.6 ({letter})" in text  # qgpo on halfcheetah-medium-replay
    assert "96.9" in text  # qgpo on hopper-medium-replay


def test_what_is_odd_is_said_above_the_table(folders):
    text = Page(folders["odd"] / "compare.html").text
    assert "Not finished, scored by the evaluations so far: bc-flow on d4rl/hopper-medium-replay-v2." in text
    assert "trained on different data, shown together because --allow-different-data was given" in text
    assert "weights_of_a_very_long_name" in text


def test_of_many_columns_each_is_a_row_of_the_table_with_every_score(folders, odd):
    markup = (folders["odd"] / "compare.html").read_text().replace("<wbr>", "")
    grid = ElementTree.fromstring(re.search(r'<table class="grid">.*?</table>', markup, re.DOTALL)[0])
    heads = ["".join(head.itertext()) for head in grid.findall("thead/tr/th")]
    rows = grid.findall("tbody/tr")
    lines = task_lines(odd)
    assert heads[0] == "algorithm"
    assert heads[1 : 1 + len(lines)] == [line.name + line.metric for line in lines]
    assert len(rows) == len(odd.columns)
    for index, row in enumerate(rows):
        found = [cell.text for cell in row[1 : 1 + len(lines)]]
        assert found == [line.entries[index].number for line in lines]


def test_no_published_number_is_said_too(usual, tmp_path):
    only = read_comparison(usual.cells[usual.tasks[0].name, "bc-flow"].folders)
    write_comparison(only, across_tasks(only), tmp_path)
    text = Page(tmp_path / "compare.html").text
    assert "tiltflow knows no published number on this task" in text
    assert "Who beats whom" not in text
    assert "bc-flow on ogbench/cube-single-play-singletask-task2-v0" in text


def test_the_same_runs_give_the_same_bytes_and_other_files_are_left_alone(usual, folders, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "table.csv").write_text("old")
    paths = write_comparison(usual, across_tasks(usual), tmp_path)
    assert {path.name for path in paths} == FILES
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"mine.txt"}
    assert (tmp_path / "mine.txt").read_text() == "mine"
    for path in paths:
        assert path.read_bytes() == (folders["usual"] / path.name).read_bytes()


def test_more_columns_than_can_be_told_apart_are_refused(odd, make_run, tmp_path):
    runs = [folder for cell in odd.cells.values() for folder in cell.folders]
    more = make_run(tmp_path / "more", changes={"beta": 99.0}, task_name=odd.tasks[0].name, dimensions=1)
    comparison = read_comparison([*runs, more], allow_different_data=True)
    with pytest.raises(UserError, match="17 columns"):
        write_comparison(comparison, across_tasks(comparison), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_from_a_run_folder_cannot_become_markup(make_run, tmp_path):
    bad = "<script>alert(1)</script>"
    runs = [
        make_run(tmp_path / str(number), changes={"weights": weights}, dimensions=1, seeds=1)
        for number, weights in enumerate(["plain", bad])
    ]
    comparison = read_comparison(runs)
    write_comparison(comparison, across_tasks(comparison), tmp_path / "out")
    page = Page(tmp_path / "out" / "compare.html")
    assert page.all("script") == []
    assert bad in page.text


def test_the_behaviour_of_each_column_is_beside_that_of_the_others(make_run, tmp_path):
    runs = [
        make_run(tmp_path / name, algorithm=name, level=level, seeds=4, dimensions=1, pictures=True)
        for name, level in (("bc-flow", 0.1), ("qipo-ot", 0.9))
    ]
    comparison = read_comparison(runs)
    write_comparison(comparison, across_tasks(comparison), tmp_path)
    page = Page(tmp_path / "compare.html")
    assert_whole(page)
    assert_readable_unseen(page)
    # Three of the four episodes of each seed: the second is the one that reaches the goal.
    assert page.text.count("4 of 12 paths reach the goal") == 2
    assert len(page.all("img")) == 10

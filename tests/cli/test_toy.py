"""`tiltflow toy` from the command line to its files."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tiltflow.cli.main import main
from tiltflow.cli.toy import ToyFigures
from tiltflow.figures2d.cells import compute_cells
from tiltflow.figures2d.figure_plan import CellGroup, FigureCell

WORDS = ("--data", "moons", "--method", "resample", "--beta", "0", "3", "--seeds", "1")
WORDS = (*WORDS, "--samples", "300", "--points", "40", "--train-rows", "3000")
PLAN = ToyFigures(Path(), ("resample",), ("moons",), (0.0, 3.0), 40, 300, None, 3000, 1).plan()
# As a terminal starts it: a suite in the background of a shell would hand down that Ctrl-C is ignored.
HEEDING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tiltflow.cli.main import main
sys.exit(main())
"""
STALE = FigureCell("moons", "resample", 3.0, 0)


def cells(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


def compute(plan, cell, folder):
    told = []
    compute_cells(
        told.append, asdict(plan), CellGroup(cell.data, cell.method, cell.seed, (cell.beta,)), folder
    )
    assert told == [{"event": "cell", "cell": cell, "failed": None}]


@pytest.fixture(scope="module")
def one_core():
    """One process at a time, which finds compiled what another has compiled."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def interrupted(one_core, tmp_path_factory):
    """A command stopped by Ctrl-C after a method's first cell, in a folder with a cell of other settings."""
    out = tmp_path_factory.mktemp("toy")
    compute(replace(PLAN, train_rows=2999), STALE, out / "cells")
    command = [sys.executable, "-c", HEEDING, "toy", *WORDS, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if "moons-resample" in line and line.startswith("toy: "):
            break
    process.send_signal(signal.SIGINT)
    said.append(process.stderr.read())
    return out, process.wait(), "".join(said), cells(out / "cells")


@pytest.fixture(scope="module")
def finished(interrupted):
    out, *_ = interrupted
    assert main(["toy", *WORDS, "--out", str(out)]) == 0
    return out


def test_ctrl_c_exits_130_and_keeps_what_is_done(interrupted):
    out, code, said, kept = interrupted
    assert code == 130
    assert "interrupted" in said.lower()
    assert {name for name in kept if "truth" in name} == {f"{cell.name}.npz" for cell in PLAN.truths()}
    assert not list((out / "cells").glob(".*"))


def test_a_cell_of_other_settings_is_computed_anew_and_said(interrupted):
    said = interrupted[2]
    assert f"{STALE.name} is computed anew: train_rows: 2999 ≠ 3000" in said
    assert said.count("anew") == 1


def test_an_interrupted_command_goes_on_to_the_bytes_of_one_that_was_not(finished, interrupted, tmp_path):
    wanted = [*PLAN.truths(), *PLAN.cells()]
    for cell in wanted:
        compute(PLAN, cell, tmp_path)
    assert cells(finished / "cells") == cells(tmp_path)
    kept = {name: data for name, data in interrupted[3].items() if name != f"{STALE.name}.npz"}
    assert kept.items() <= cells(finished / "cells").items()


def test_the_table_has_a_row_for_every_cell_with_the_stored_numbers(finished):
    rows = list(csv.DictReader((finished / "table.csv").open()))
    assert len(rows) == len(PLAN.cells())
    for row in rows:
        cell = FigureCell(row["set"], row["method"], float(row["beta"]), int(row["seed"]))
        numbers = json.loads((finished / "cells" / f"{cell.name}.json").read_text())["numbers"]
        assert all(float(row[key]) == value for key, value in numbers.items())
        assert float(row["ratio"]) == pytest.approx(float(row["distance"]) / float(row["floor"]))
    listed = json.loads((finished / "table.json").read_text())["rows"]
    assert [{key: str(value) for key, value in row.items()} for row in listed] == rows
    assert len(re.findall(r"^\| moons", (finished / "table.md").read_text(), re.MULTILINE)) == len(
        PLAN.cells()
    )


def test_the_figures_are_drawings_that_name_axes_rows_and_columns(finished):
    names = {path.stem for path in (finished / "figures").iterdir()}
    assert names == {"figure2-truth", "figure3-resample"}
    for path in (finished / "figures").glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        texts = {"".join(element.itertext()).strip() for element in root.findall(".//{*}text")}
        assert {"x₁", "x₂", "moons", "β = 0", "β = 3", "label e (energy 1 − e)"} <= texts
    for path in (finished / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_everything_and_needs_no_network(finished):
    page = (finished / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert page.count("<img ") == len(re.findall(r'alt="Figure [^"]+\. Rows: [^"]+"', page)) == 2
    command = re.search(r"<code>tiltflow (toy [^<]+)</code>", page)
    assert "--beta 0 3" in command[1]


def test_called_again_it_computes_nothing_and_gives_the_same_page(finished, capsys):
    before, page = cells(finished / "cells"), (finished / "report.html").read_bytes()
    assert main(["toy", *WORDS, "--out", str(finished)]) == 0
    assert "4 of 4 cells are there already" in capsys.readouterr().err
    assert cells(finished / "cells") == before
    assert (finished / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--method", "emf"], "efm"),
        (["--data", "8gausians"], "8gaussians"),
        (["--beta", "-1"], "β = -1"),
        (["--points", "0"], "points = 0"),
        (["--beta", "3", "3"], "given twice"),
    ],
)
def test_bad_input_is_one_paragraph_before_any_work(tmp_path, capsys, words, text):
    assert main(["toy", *words, "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["toy", *WORDS, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "Cannot write to" in " ".join(capsys.readouterr().err.split())


def test_a_cell_that_cannot_be_written_exits_1_naming_it_and_the_others_stay(finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "toy")
    cell = PLAN.cells()[-1]
    (out / "cells" / f"{cell.name}.json").unlink()
    (out / "cells" / f"{cell.name}.npz").unlink()
    (out / "cells" / f"{cell.name}.npz").mkdir()
    assert main(["toy", *WORDS, "--out", str(out)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"error: 1 of {len(PLAN.cells())} cells failed. {cell.name}: " in said
    assert "the same command computes what is missing" in said
    assert "defect" not in said
    assert len(list(csv.DictReader((out / "table.csv").open()))) == len(PLAN.cells()) - 1

import pytest

from tiltflow.cli.main import main


def test_report_prints_the_path_of_the_page(other_run, capsys):
    assert main(["report", str(other_run)]) == 0
    assert capsys.readouterr().out.strip() == str(other_run / "report.html")
    assert (other_run / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["", "missing"])
def test_what_is_no_run_is_one_paragraph_and_exit_code_2(tmp_path, capsys, name):
    assert main(["report", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "is no run folder" in " ".join(captured.err.split())
    assert "Traceback" not in captured.err


def test_several_runs_are_sent_to_compare(finished_run, other_run, capsys):
    assert main(["report", str(finished_run), str(other_run)]) == 2
    assert f"tiltflow compare {finished_run} {other_run}" in " ".join(capsys.readouterr().err.split())

"""The pages in a real Chromium."""

from pathlib import Path

import pytest
from browser import assert_fits, measure, needs_chromium

from tiltflow.report.run_page import write_report

pytestmark = needs_chromium


@pytest.fixture(scope="module", params=["finished", "unfinished, 24 actions, long names"])
def page(request, make_run, finished_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    if request.param == "finished":
        return write_report(finished_run)
    task = "ogbench/humanoidmaze-giant-navigate-singletask-task5-v0"
    run = make_run(folder / ("a-very-long-name" * 8), task_name=task, dimensions=24, finished=False)
    return write_report(run)


def test_the_page_fits_every_width_and_asks_for_nothing(page, tmp_path):
    assert_fits(page, tmp_path)


def test_the_measurement_sees_overflow_requests_and_errors(tmp_path):
    """So that the test above cannot pass by not looking."""
    picture = "http://127.0.0.1:9/picture.png"  # a port at which nobody answers
    page = tmp_path / "bad.html"
    page.write_text(
        f'<!doctype html><body><img src="{picture}"><div style="width:2000px">wide</div>'
        '<p style="width:9px">uncutable</p><svg><text style="font-size:3px">tiny</text></svg>'
        '<script>console.error("broken")</script>'
    )
    measured, console = measure(page, tmp_path)
    assert all(frame["scroll"] > frame["width"] for frame in measured)
    assert all(frame["requests"] == [picture] for frame in measured)
    assert all(frame["pixels"] == [3] and frame["cut"] == ["uncutable"] for frame in measured)
    assert any("broken" in line for line in console)

"""The pages in a real Chromium, driven through its own command line."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from tiltflow.report.page import write_demo_report, write_report

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
WIDTHS = (320, 375, 768, 1440)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a Chromium browser; on Debian: apt-get install chromium"
)

WRAPPER = """<!doctype html><title>measure</title><body>%s<pre id="measured"></pre><script>
const measure = frame => {
  const page = frame.contentDocument;
  const shown = elements => [...elements].filter(element => element.getClientRects().length);
  return {
    width: frame.contentWindow.innerWidth,
    scroll: page.documentElement.scrollWidth,
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    pixels: shown(page.querySelectorAll("svg text")).map(
      text => parseFloat(text.style.fontSize) * text.ownerSVGElement.getScreenCTM().a),
    cut: shown(page.querySelectorAll("td, th, dd, h1, p, pre")).filter(
      element => element.scrollWidth > element.clientWidth + 1).map(element => element.textContent),
  };
};
onload = () => {
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("measured").textContent = JSON.stringify(frames.map(measure));
};
</script>"""


def measure(page: Path, folder: Path, *options: str) -> tuple[list[dict], list[str]]:
    """Open a page at every width: what it measures, and what the browser wrote to its console."""
    frames = "".join(f'<iframe src="{page.as_uri()}" width="{w}" height="900"></iframe>' for w in WIDTHS)
    wrapper = folder / "wrapper.html"
    wrapper.write_text(WRAPPER % frames)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    match = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr
    return json.loads(unescape(match[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module", params=["finished", "two runs", "unfinished, 24 actions, long names"])
def page(request, make_run, finished_run, other_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    if request.param == "finished":
        return write_report(finished_run)
    if request.param == "two runs":
        return write_demo_report([other_run, finished_run], folder / "demo.html")
    task = "ogbench/humanoidmaze-giant-navigate-singletask-task5-v0"
    run = make_run(folder / ("a-very-long-name" * 8), task_name=task, dimensions=24, finished=False)
    return write_report(run)


def test_the_page_fits_every_width_and_asks_for_nothing(page, tmp_path):
    measured, console = measure(page, tmp_path)
    assert [frame["width"] for frame in measured] == list(WIDTHS)
    for frame in measured:
        assert frame["scroll"] <= frame["width"]
        assert frame["requests"] == []
        assert 8 <= min(frame["pixels"]) <= max(frame["pixels"]) <= 20
        assert frame["cut"] == []
    assert console == []


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

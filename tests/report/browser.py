"""Pages in a real Chromium, driven through its own command line."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
WIDTHS = (320, 375, 768, 1440)

needs_chromium = pytest.mark.skipif(
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


def assert_fits(page: Path, folder: Path) -> None:
    """The page fits every width without scrolling sideways, cuts nothing off and asks for nothing."""
    measured, console = measure(page, folder)
    assert [frame["width"] for frame in measured] == list(WIDTHS)
    for frame in measured:
        assert frame["scroll"] <= frame["width"]
        assert frame["requests"] == []
        assert 8 <= min(frame["pixels"]) <= max(frame["pixels"]) <= 20
        assert frame["cut"] == []
    assert console == []

"""Figures as inline SVG that takes its colours from the page, so that one drawing suits light and dark."""

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


class Colour(NamedTuple):
    """A CSS variable with its value on light and on dark ground; drawings use the light one."""

    variable: str
    light: str
    dark: str


class Look(NamedTuple):
    """What tells one run from another, with and without colour."""

    colour: Colour
    line: str
    marker: str
    filled: bool = True


INK = Colour("--ink", "#1c2127", "#e9e6e0")
MUTED = Colour("--muted", "#59616b", "#a7b0ba")
RULE = Colour("--rule", "#dcd8ce", "#323a43")
SHADE = Colour("--shade", "#c9c6be", "#4a535d")
CARD = Colour("--card", "#ffffff", "#181d23")
# Okabe and Ito's colours, adjusted to at least 3:1 against either ground.
_EIGHT = (
    Look(Colour("--series-1", "#0072b2", "#56b4e9"), "-", "o"),
    Look(Colour("--series-2", "#c14f00", "#e69f00"), "--", "s"),
    Look(Colour("--series-3", "#00805d", "#2bc49a"), "-.", "^"),
    Look(Colour("--series-4", "#a04a8c", "#d98cc0"), ":", "D"),
    Look(Colour("--series-5", "#15181c", "#f4f1ea"), "-", "v"),
    Look(Colour("--series-6", "#2b8cbe", "#a3c9ff"), "--", "P"),
    Look(Colour("--series-7", "#8a7a00", "#f0e442"), "-.", "X"),
    Look(Colour("--series-8", "#b0002a", "#ff8f70"), ":", "*"),
)
# Sixteen for a crowd: each colour comes back once, with another line and a hollow marker.
LOOKS = _EIGHT + tuple(
    Look(look.colour, other.line, look.marker, filled=False)
    for look, other in zip(_EIGHT, _EIGHT[2:] + _EIGHT[:2], strict=True)
)
PAGE_COLOURS = (INK, MUTED, RULE, SHADE, CARD, *(look.colour for look in _EIGHT))

PAGE_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a column of the data may have $ in its name
    "font.size": 11,
    "legend.fontsize": 10.5,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "text.color": INK.light,
    "axes.labelcolor": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelcolor": INK.light,
    "ytick.labelcolor": INK.light,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE.light,
    "grid.linewidth": 0.7,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "hatch.linewidth": 0.8,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
}
_PIXELS_PER_INCH = 72  # one unit of matplotlib's SVG is one CSS pixel at scale 1


def draw_svg(name: str, size: tuple[int, int], paint: Callable[[Axes], None]) -> str:
    """Paint one set of axes of `size` CSS pixels; the same `name` and strokes give the same bytes.

    `name` must be unique on a page: it keeps the identifiers of one drawing apart from another's.
    """
    with matplotlib.style.context(PAGE_STYLE | {"svg.hashsalt": name}, after_reset=True):
        inches = (size[0] / _PIXELS_PER_INCH, size[1] / _PIXELS_PER_INCH)
        figure = Figure(figsize=inches, dpi=_PIXELS_PER_INCH, layout="constrained")
        paint(figure.subplots())
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")  # else drawing lays it out anew
        buffer = io.StringIO()
        # Figure.savefig would draw everything once more, for a layout.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue())


def _inline(svg: str) -> str:
    """Strip what a page has no use for, and let the page decide on colours, font and size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg[^>]*?(viewBox="[^"]*")[^>]*>',
        r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" \1 aria-hidden="true" focusable="false">',
        svg,
        count=1,
    )
    referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in referenced else "", svg)
    for colour in PAGE_COLOURS:
        svg = re.sub(colour.light, f"var({colour.variable})", svg, flags=re.IGNORECASE)
    svg = re.sub(r" ?font-family: [^;\"]*;", "", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()

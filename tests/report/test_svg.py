import re
import xml.etree.ElementTree as ElementTree

import pytest

from tiltflow.report.svg import CARD, INK, LOOKS, MUTED, PAGE_COLOURS, draw_svg

PAPERS = {"light": "#f8f6f1", "dark": "#101418"}


def paint(axes):
    for look in LOOKS[:4]:
        axes.plot([0, 1, 2], [3, 1, 2], look.line, color=look.colour.light, marker=look.marker)
    axes.bar([0, 1], [1, 2], hatch="//", facecolor="none", edgecolor=INK.light)
    axes.set_xlabel("gradient steps")


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dim = sorted([luminance(one), luminance(other)], reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_the_same_drawing_is_the_same_bytes():
    assert draw_svg("a", (300, 200), paint) == draw_svg("a", (300, 200), paint)


def test_two_drawings_share_no_identifier_and_refer_only_to_their_own():
    found = []
    for name in ("a", "b"):
        svg = draw_svg(name, (300, 200), paint)
        identifiers = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) == identifiers
        found.append(identifiers)
    assert found[0]
    assert not found[0] & found[1]


def test_all_colours_are_the_pages_and_text_is_text():
    svg = draw_svg("a", (300, 200), paint)
    assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
    assert {f"var({look.colour.variable})" for look in LOOKS[:4]} <= set(re.findall(r"var\(--[\w-]+\)", svg))
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    assert "gradient steps" in texts
    assert "DejaVu" not in svg


def test_a_label_with_dollars_is_no_formula():
    svg = draw_svg("a", (300, 200), lambda axes: axes.set_xlabel("cost_$_per_$"))
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    assert "cost_$_per_$" in texts


def test_user_settings_of_matplotlib_do_not_show(monkeypatch):
    import matplotlib

    expected = draw_svg("a", (300, 200), paint)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert draw_svg("a", (300, 200), paint) == expected


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_colours_stand_out(ground):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for the lines of a figure."""
    for paper in (getattr(CARD, ground), PAPERS[ground]):
        for colour in (INK, MUTED):
            assert contrast(getattr(colour, ground), paper) >= 4.5
        for look in LOOKS:
            assert contrast(getattr(look.colour, ground), paper) >= 3


def test_runs_differ_in_more_than_colour():
    assert len({look.line for look in LOOKS[:4]}) == len({look.marker for look in LOOKS[:4]}) == 4
    # Of two with one value, one would replace the other.
    assert len({colour.light for colour in PAGE_COLOURS}) == len(PAGE_COLOURS)
    # In a crowd a marker, filled or hollow, tells each from all others.
    assert len({(look.marker, look.filled) for look in LOOKS}) == len(LOOKS) == 16
    assert len({(look.colour, look.line) for look in LOOKS}) == len(LOOKS)

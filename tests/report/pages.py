"""What tests ask of a page, whichever it is."""

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "br", "wbr", "img"}


class Page(HTMLParser):
    """What a test asks of a page: its elements in order, and its text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(path.read_text())
        assert self.open == []
        self.text = " ".join(self.text.split())  # unbreakable spaces become plain ones

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "svg" not in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def assert_whole(page):
    """The page asks for no other file, and its links and names are its own."""
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert "@import" not in (attributes.get("style") or "")
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for attributes in page.all("a"):
        assert attributes["href"][1:] in identifiers


def assert_readable_unseen(page):
    """Landmarks, headings in order, words for every figure, scopes for every heading of a table."""
    assert page.all("html") == [{"lang": "en"}]
    tags = [tag for tag, _ in page.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "footer", "nav")] == [1] * 5
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    identifiers = {attributes.get("id") for _, attributes in page.elements}
    assert all(attributes["aria-labelledby"] in identifiers for attributes in page.all("section"))
    drawings = [a for _, a in page.elements if a.get("role") == "img"]
    assert len(drawings) == tags.count("figure")
    assert all(len(attributes["aria-label"]) > 30 for attributes in drawings)
    assert all(attributes.get("aria-hidden") == "true" for attributes in page.all("svg"))
    assert all(attributes["scope"] in ("col", "row", "colgroup") for attributes in page.all("th"))

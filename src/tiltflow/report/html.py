"""Pages from the templates in the folder `templates`."""

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from tiltflow import __version__, words
from tiltflow.report.svg import PAGE_COLOURS


def render_page(name: str, **context: Any) -> str:
    """The page of a template. A number is never parted from the percent sign behind it."""
    return _templates().get_template(name).render(context).replace(" %", "\u202f%")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tiltflow.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"safe_svg": Markup, "breakable": _breakable}
    environment.globals |= {"words": words, "version": __version__, "colours": PAGE_COLOURS}
    return environment


def _breakable(name: str) -> Markup:
    """A name whose line may break behind an underscore or a slash."""
    return escape(name).replace("_", Markup("_<wbr>")).replace("/", Markup("/<wbr>"))

"""`tiltflow report`: write the page of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.errors import UserError


@dataclass(frozen=True)
class Report:
    """Write RUN/report.html, a page that needs no network, and print its path. The run may be unfinished.

    For several runs on one page: tiltflow compare.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""

    def run(self) -> None:
        """Write the page and print its path. Raises UserError where RUN is no run folder."""
        from tiltflow.report.run_page import write_report

        print(write_report(self.folder))


def parse(arguments: Sequence[str]) -> Report:
    """Read the arguments behind `tiltflow report`. Raises UserError for several runs."""
    runs = [argument for argument in arguments if not argument.startswith("-")]
    if len(runs) > 1:
        raise UserError(
            f"tiltflow report writes the page of one run. For several runs: tiltflow compare {' '.join(runs)}"
        )
    return tyro.cli(Report, prog="tiltflow report", args=arguments)

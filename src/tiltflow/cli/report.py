"""`tiltflow report`: write the page of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Report:
    """Write RUN/report.html, a page that needs no network, and print its path; the run may be unfinished."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""

    def run(self) -> None:
        """Write the page and print its path. Raises UserError where RUN is no run folder."""
        from tiltflow.report.page import write_report

        print(write_report(self.folder))


def parse(arguments: Sequence[str]) -> Report:
    """Read the arguments behind `tiltflow report`."""
    return tyro.cli(Report, prog="tiltflow report", args=arguments)

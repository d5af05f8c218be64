"""`tiltflow evaluate`: play the policies of a run once more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.cli.results import score_text
from tiltflow.errors import UserError


@dataclass(frozen=True)
class Evaluate:
    """Play the policies of a run's last checkpoints in new episodes and print their score."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    episodes: int | None = None
    """Episodes of each seed; without it as many as the run's own evaluations have."""

    def run(self) -> None:
        """Evaluate, show the progress, print the score."""
        if self.episodes is not None and self.episodes < 1:
            raise UserError(f"--episodes is {self.episodes}, but must be at least 1.")
        from tiltflow.training.display import show_progress
        from tiltflow.training.run import evaluate

        with show_progress() as observe:
            result = evaluate(self.folder, self.episodes, observe)
        print(score_text(result))


def parse(arguments: Sequence[str]) -> Evaluate:
    """Read the arguments behind `tiltflow evaluate`."""
    return tyro.cli(Evaluate, prog="tiltflow evaluate", args=arguments)

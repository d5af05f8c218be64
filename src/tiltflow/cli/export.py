"""`tiltflow export`: a run's policies as files that need JAX alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.errors import UserError


@dataclass(frozen=True)
class Export:
    """Write the newest policy of each seed as a file that needs JAX alone, and print how to call it.

    The file holds the program, its parameters and the units of observations, for CPU and CUDA.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    out: Path | None = None
    """Folder of the files; without it the run folder."""

    def run(self) -> None:
        """Write the files, print their paths and the lines that call the first of them."""
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; give a folder, new or not.")
        from tiltflow.training.display import show_progress
        from tiltflow.training.policy_files import export_run

        with show_progress() as observe:
            paths = export_run(self.folder, self.out, observe)
        print(*paths, sep="\n")
        print(f"""
from pathlib import Path
import jax.export, numpy as np

policy = jax.export.deserialize(bytearray(Path({str(paths[0])!r}).read_bytes()))
actions = policy.call(observations, np.uint32(seed))  # float32 [n, o], a seed -> [n, a] in [-1, 1]""")


def parse(arguments: Sequence[str]) -> Export:
    """Read the arguments behind `tiltflow export`."""
    return tyro.cli(Export, prog="tiltflow export", args=arguments)

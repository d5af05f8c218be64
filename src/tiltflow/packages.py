"""Optional packages, imported where they are needed."""

import contextlib
import importlib
import io
from types import ModuleType

from tiltflow.errors import UserError

_EXTRAS = {"ogbench": "ogbench", "minari": "d4rl", "h5py": "d4rl"}


def require(package: str) -> ModuleType:
    """Import an optional package; UserError naming the extra that installs it where it is missing."""
    try:
        # Gymnasium-Robotics and dm_control talk while they are imported.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        python = " (on Python 3.11 or 3.12)" if name == "ogbench" else ""
        raise UserError(
            f"The Python package {name} is needed here and cannot be imported ({error}). "
            f'Install it with: pip install "tiltflow[{_EXTRAS.get(name, "envs")}]"{python}'
        ) from error

"""What JAX compiles is kept for the next process, in a folder of this user's own. Standard library only.

JAX runs the programs in that folder as they are: whoever can write to it can run code as this user. It is
therefore refused where somebody else owns it or may write to it. A program that is loaded is the one that was
compiled, and gives its bits; one that cannot be read is compiled again.
"""

import contextlib
import os
import sys
from pathlib import Path

from tiltflow.errors import UserError
from tiltflow.files import unwritable

_VARIABLE = "TILTFLOW_CACHE"
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_MOST_BYTES = 256 * 2**20
"""Beyond that, what was not used for longest is deleted."""


def keep_compiled() -> None:
    """Have this process, before it imports JAX, and those that it starts keep what they compile.

    Nothing changes where the user has told JAX of a folder, or the variable TILTFLOW_CACHE is `off`. Raises
    UserError where the folder that it names cannot be used; the usual one is then done without, and a line on
    standard error says so.
    """
    settings = _settings()
    os.environ.update(settings)
    if settings:
        # On many CPUs XLA logs false alarms for each program that it loads, of machine features that are but
        # hints of its compiler. What goes wrong in it is raised as well.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def keep_compiled_here() -> None:
    """The same for the JAX of a process that is not ours alone: its environment stays as it is."""
    import jax

    told: str | None = getattr(jax.config, _FOLDER.lower())
    if told is None and (settings := _settings()):
        jax.config.update(_FOLDER.lower(), settings[_FOLDER])
        jax.config.update(_LEAST_SECONDS.lower(), float(settings[_LEAST_SECONDS]))


def _settings() -> dict[str, str]:
    """JAX's settings for it, by the names of their variables."""
    chosen = os.environ.get(_VARIABLE, "")
    if chosen == "off" or _FOLDER in os.environ:
        return {}
    try:
        folder = _own_folder(Path(chosen).expanduser().absolute() if chosen else _usual_folder())
    except UserError as error:
        if chosen:
            raise
        print(f"warning: {error}", file=sys.stderr)
        return {}
    _shrink(folder)
    return {_FOLDER: str(folder), _LEAST_SECONDS: os.environ.get(_LEAST_SECONDS, "0")}


def _usual_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME", "")
    return Path(caches if os.path.isabs(caches) else os.path.expanduser("~/.cache")) / "tiltflow" / "compiled"


def _own_folder(folder: Path) -> Path:
    """The folder, made where it is missing. Raises UserError where it is not this user's own."""
    advice = f"Name another one with {_VARIABLE}=FOLDER, or keep nothing with {_VARIABLE}=off."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise UserError(f"{unwritable(folder, error)} {advice}") from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise UserError(
            f"Compiled programs are not kept in {folder}: another user owns it or may write to it, and what "
            f"lies there is run. {advice}"
        )
    return folder


def _shrink(folder: Path) -> None:
    """Delete what was not used for longest, until the rest is within the bound."""
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process deletes, too
            found = path.stat()
            if path.is_file():
                files.append((max(found.st_atime, found.st_mtime), found.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size

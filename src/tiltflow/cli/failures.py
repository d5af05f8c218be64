"""What a failure looks like to the user: one paragraph, and an exit code."""

import shutil
import textwrap

from tiltflow.errors import ExplainedError
from tiltflow.packages import EXTRAS, device_fault, how_to_install


def exit_code(error: BaseException) -> int:
    """The exit code of a failed command: its own, 2 for what the user can mend, 130 for Ctrl-C, else 1."""
    if isinstance(error, ExplainedError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if _missing_package(error) or isinstance(error, OSError) or device_fault() else 1


def paragraph(error: BaseException) -> str:
    """The failure as one paragraph that begins with "error: ", wrapped to the width of the terminal."""
    head = "error:\N{NO-BREAK SPACE}"  # a long path does not fit on the first line: keep both together
    width = max(40, min(100, shutil.get_terminal_size().columns))
    text = head + " ".join(_text(error).split())
    lines = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    return lines.replace(head, "error: ", 1)


def _text(error: BaseException) -> str:
    if isinstance(error, ExplainedError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted."
    if package := _missing_package(error):
        return f"this needs the package {package}, which is not installed. {how_to_install(package)}"
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror or error}"
    if fault := device_fault():
        return fault
    return (
        f"{type(error).__name__}: {error} This is a defect of tiltflow, not of your input; "
        "the same command with --debug shows where."
    )


def _missing_package(error: BaseException) -> str | None:
    """The package of an extra that could not be imported, where that is what went wrong."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        return root if root in EXTRAS else None
    return None

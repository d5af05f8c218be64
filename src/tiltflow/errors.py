"""Errors that a user can mend. The command line prints their text as one paragraph, without a traceback."""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UserError(Exception):
    """Bad usage or bad input: the text names the file, key and value, and says what to do. Exit code 2."""

    exit_code: ClassVar[int] = 2


class TrainingDiverged(Exception):
    """A loss or metric stopped being finite: the text names stage, step and metric. Exit code 1."""

    exit_code: ClassVar[int] = 1


class Interrupted(Exception):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has written its checkpoint. Exit code 130."""

    exit_code: ClassVar[int] = 130


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the choice closest to `word`, or an empty text where none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""

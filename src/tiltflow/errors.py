"""Errors that a user can mend. The command line prints their text as one paragraph, without a traceback."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable
from typing import ClassVar


class ExplainedError(Exception):
    """An error whose text says all that its reader needs, and that ends a command with its exit code."""

    exit_code: ClassVar[int] = 1


class UserError(ExplainedError):
    """Bad usage or bad input: the text names the file, key and value, and says what to do. Exit code 2."""

    exit_code: ClassVar[int] = 2


class TrainingDiverged(ExplainedError):
    """A loss or metric stopped being finite: the text names stage, step and metric. Exit code 1."""

    def __init__(self, text: str, place: int = 0):
        super().__init__(text)
        self.place = place
        """Of the seed among those that are trained together."""


class ProcessFailed(ExplainedError):
    """A process of a command broke or was killed: the text names its log. Exit code 1."""


class NotSent(ExplainedError):
    """Work is done and lies here, but not at the URL where it belongs: the text names both. Exit code 1."""


class Interrupted(ExplainedError):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has written its checkpoint. Exit code 130."""

    exit_code: ClassVar[int] = 130


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the choice closest to `word`, or an empty text where none is close."""
    known = list(choices)
    longer = [choice for choice in known if len(word) > 1 and choice.startswith(word)]
    close = longer or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_names(what: str, given: Collection, known: Collection | None = None) -> None:
    """Raise UserError where nothing is given, a name twice, or one that is not known."""
    if not given:
        raise UserError(f"No {what} was given: name at least one.")
    counts = Counter(given)
    for name in given:
        if known is not None and name not in known:
            raise UserError(f"There is no {what} {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        if counts[name] > 1:
            raise UserError(f"The {what} {name} is given twice: name each once.")

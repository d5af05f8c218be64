"""What errors and warnings say to who calls from Python: arguments, where they name options of commands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltflow.data.columns import HOW_TO_END, HOW_TO_REWARD
from tiltflow.errors import UserError

_REWORDED = (
    (r"`?tiltflow train --resume (\S+) --data PATH`?", r'tiltflow.load("\1").resume(data=PATH)'),
    (r"`?tiltflow train --resume ([^\s`]+)`?", r'tiltflow.load("\1").resume()'),
    (r"--action-bounds LOW HIGH", "action_bounds=(low, high)"),
    (r"--columns (\w+)=COLUMN or (\w+)=COLUMN", r'columns={"\1": name} or {"\2": name}'),
    (r"--columns (\w+)=COLUMN", r'columns={"\1": name}'),
    (r"--set\.([\w.-]*\w) ([\w.-]*\w)", r'settings={"\1": \2}'),
    (r"--no-play", "play=False"),
    (r"--env none", 'env="none"'),
    (r"repeat the command with --trust", "call it within `with tiltflow.trust.trusting():`"),
)
_OF_ARRAYS = (
    (re.escape(HOW_TO_REWARD), "Give them to the Dataset, rewards="),
    ("bounds of the file", "bounds given"),
    (re.escape(HOW_TO_END), "Say where episodes end (timeouts= and terminations= of the Dataset)"),
)
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


@contextmanager
def python_errors(arrays: Path | None = None) -> Iterator[None]:
    """Let errors speak of arguments; `arrays` is the file of a Dataset, which its user has not named."""
    try:
        yield
    except UserError as error:
        error.args = (in_python(str(error), arrays),)
        raise


def in_python(text: str, arrays: Path | None = None) -> str:
    """The text with the arguments of `tiltflow.train` in the place of the options of `tiltflow train`."""
    if arrays:
        text = text.replace(str(arrays), "the Dataset").replace(". the Dataset", ". The Dataset")
    for pattern, words in (*(_OF_ARRAYS if arrays else ()), *_REWORDED):
        text = re.sub(pattern, words, text)
    return _OPTION.sub(lambda option: f"{option[1].replace('-', '_')}=", text)

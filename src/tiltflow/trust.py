"""What may run code that a file or folder names: nothing, without the user's word. Standard library only.

The word is `--trust` on the command line, `trusting()` from Python. It holds for the processes that are
started meanwhile, which read it from their environment, and never lies in a file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "TILTFLOW_TRUST"


def trusted() -> bool:
    """Whether the user has vouched for the files and folders of this command."""
    return os.environ.get(_VARIABLE) == "1"


@contextmanager
def trusting() -> Iterator[None]:
    """Vouch for the files and folders that are read meanwhile, here and in processes that are started."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before

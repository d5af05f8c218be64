"""Whether what a file says of its size can be believed, before any memory is asked for."""

import os

from tiltflow.trust import trusted

_FREE_BYTES = 256 * 2**20
"""Up to so many bytes a file may hold whatever it says."""
_LARGEST_RATIO = 100
"""Beyond them it may not unpack to more than so many times its own size; recorded data come to 1 to 10."""


def excess(declared: int, stored: int) -> str:
    """What is wrong with a file of `stored` bytes that declares so many of contents; empty where nothing is.

    Raises nothing: the caller names the file.
    """
    if declared > memory():
        return f"declares {text(declared)}, more than the {text(memory())} of memory that this machine has."
    if declared > max(_FREE_BYTES, _LARGEST_RATIO * stored) and not trusted():
        return (
            f"declares {text(declared)} and is a file of {text(stored)}: recorded data do not pack so well, "
            "so it is taken for one that is made to exhaust memory. Repeat the command with --trust if it is "
            "yours."
        )
    return ""


def memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def text(count: int) -> str:
    """A number of bytes as people read it: 1.4 kB, 3.3 GB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, {"bytes": "kB", "kB": "MB", "MB": "GB", "GB": "TB"}[unit]
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"

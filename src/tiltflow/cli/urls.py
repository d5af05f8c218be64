"""URLs on the command line: each becomes the folder of this machine that mirrors it (remote_folder.py)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tiltflow.errors import ExplainedError, UserError
from tiltflow.remote_store import is_url

_WHOLE = {
    **dict.fromkeys(("train", "evaluate", "export", "serve"), True),
    **dict.fromkeys(("benchmark", "report", "compare"), False),
}
"""The verbs that work on runs at a URL, and whether they read checkpoints."""


@contextmanager
def urls_as_folders(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments with folders in the place of URLs; what the verb writes there is sent at its end.

    Raises UserError where a verb or an option takes no URL, and as `open_mirror` and `send_once` do.
    """
    words, opened = list(arguments), dict[str, Path]()
    for index, word in enumerate(arguments):
        option, _, value = word.partition("=") if word.startswith("--") else (arguments[index - 1], "", word)
        if is_url(value) and option != "--executor":
            opened[value] = _opened(arguments[0], option, value)
            words[index] = word.replace(value, str(opened[value]))
    try:
        yield words
    except SystemExit:  # a benchmark some of whose runs have failed
        _send_all(opened)
        raise
    except ExplainedError as error:
        error.args = tuple(_with_urls(str(text), opened) for text in error.args)
        raise
    _send_all(opened)


def _opened(verb: str, option: str, url: str) -> Path:
    from tiltflow.remote_folder import MIRROR, open_mirror

    if verb not in _WHOLE:
        raise UserError(f"tiltflow {verb} works in folders of this machine, and {url} is none.")
    if option == "--data":
        raise UserError(f"--data {url}: data are read from this machine. Copy them to it.")
    out = option == "--out"
    folder = open_mirror(url, whole=_WHOLE[verb], new=out and verb == "train")
    if not out and all(path.name == MIRROR for path in folder.iterdir()):
        raise UserError(f"There is nothing at {url}.")
    return folder


def _with_urls(text: str, opened: dict[str, Path]) -> str:
    for url, folder in opened.items():
        text = text.replace(f"--resume {folder}", f"--resume {url}")
    return text


def _send_all(opened: dict[str, Path]) -> None:
    """Send what was written without a lease: pages, tables, what was played once more."""
    for url, folder in opened.items():
        from tiltflow.processes.lease import send_once
        from tiltflow.remote_folder import mirror_of

        if mirror := mirror_of(folder):
            send_once(mirror)
            print(f"{folder} is a copy of {url}.")

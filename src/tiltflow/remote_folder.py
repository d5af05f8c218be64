"""Folders at a URL: a folder of this machine mirrors what lies there.

Work goes on in that folder as in any other, with its locks, renames and memory maps. `fetch` brings what the
URL has otherwise, `send` sends what has changed. An object store writes one object at a time, each whole; the
order makes the set consistent: logs before the checkpoints that they lead to, result.json after all that it
speaks of, and old checkpoints are deleted last. Names that begin with a dot, and links, stay.

SCRATCH/ID/NAME/              the folder
SCRATCH/ID/NAME/.mirror.json  URL, the name of this copy, and each file as it was when both sides were equal
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any, final

from tiltflow.errors import UserError
from tiltflow.files import atomic_file, read_object, unwritable, write_json
from tiltflow.remote_store import Store

LEASE = ".lease.json"
"""The object that says who writes at a URL: see processes/lease.py."""
_SCRATCH = "TILTFLOW_SCRATCH"
MIRROR = ".mirror.json"
_HEAVY = ("*.ckpt", "*data.npz", "*/trace/*", "*tensorboard/*")
"""What pages and tables do not read: fetched as names, empty files, where not all is wanted."""
_State = tuple[int, int]
"""Of a file: bytes, and time of the last change."""


@final
class Mirror:
    """A URL and the folder that mirrors it; `owner` is the name of this copy among all that there are.

    Without `whole`, what is heavy is fetched as names alone.
    """

    def __init__(self, url: str, whole: bool = True):
        self.store, self.whole = Store(url), whole
        home = _scratch() / hashlib.sha256(self.store.url.encode()).hexdigest()[:16]
        self.folder = home / (PurePosixPath(self.store.url).name or "run")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._record, self._lock = self.folder / MIRROR, RLock()
        stored = read_object(self._record, "owner", "files") if self._record.exists() else {}
        self.owner: str = stored.get("owner") or secrets.token_hex(8)
        self._files: dict[str, list] = stored.get("files", {})
        """[mark, *state] when both sides were equal; the mark is empty where it was sent from here."""
        self._write()

    def _write(self) -> None:
        write_json(self._record, {"url": self.store.url, "owner": self.owner, "files": self._files})

    def lease(self) -> dict[str, Any] | None:
        """Who was the last to write there, if anybody was. Raises UserError where nobody answers."""
        try:
            return None if (body := self.store.get(LEASE)) is None else dict(json.loads(body))
        except (ValueError, TypeError):  # of somebody else
            return {}

    def is_ours(self, lease: dict[str, Any] | None) -> bool:
        """Whether nobody else has written there since this copy did."""
        return lease is None or lease.get("owner") == self.owner

    def fetch(self, ours: bool, under: str = "") -> None:
        """Make the folder, or what is `under` it in "FOLDER/", what the URL has.

        Where `ours` says that this copy was the last to write there, what has changed here stays; what is
        missing here is fetched again. Raises UserError where nobody answers.
        """
        with self._lock:
            there = {name: of for name, of in self.store.listed(under).items() if not _stays(name)}
            try:
                for name, (mark, size) in there.items():
                    if self._lacks(name, mark, size, ours):
                        self._take(name, mark)
                for name in self._local().keys() - there.keys():
                    if name.startswith(under):
                        if not ours or (not self.whole and self._was_fetched(name)):
                            (self.folder / name).unlink()
                        self._files.pop(name, None)  # what is ours is sent once more
            finally:
                self._write()

    def _lacks(self, name: str, mark: str, size: int, ours: bool) -> bool:
        known, state = self._files.get(name), _state(self.folder / name)
        if state is None:  # a copy may lose files, by a cleaner of old ones: what lies at the URL is not lost
            return not ours or known is None or self._in_full(name)
        if known is None or state != (known[1], known[2]):
            return not ours
        if known[0] == "":
            return not ours
        return known[0] != mark or (self._in_full(name) and known[1] != size)

    def _was_fetched(self, name: str) -> bool:
        known = self._files.get(name, [""])
        return known[0] != "" and _state(self.folder / name) == (known[1], known[2])

    def _in_full(self, name: str) -> bool:
        return self.whole or not any(fnmatchcase(name, pattern) for pattern in _HEAVY)

    def _take(self, name: str, mark: str) -> None:
        body = self.store.get(name) if self._in_full(name) else b""
        if body is None:  # deleted since it was listed
            return
        with atomic_file(self.folder / name) as file:
            file.write(body)
        self._files[name] = [mark, *(_state(self.folder / name) or ())]

    def _local(self) -> dict[str, _State]:
        found = {}
        for top, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not _stays(name)]
            for path in (Path(top, name) for name in files if not _stays(name)):
                if (state := _state(path)) is not None:
                    found[path.relative_to(self.folder).as_posix()] = state
        return found

    def changed(self) -> dict[str, _State]:
        """What is other here than when it was last sent or fetched, in the order of sending."""
        local = self._local()
        new = {name: state for name, state in local.items() if self._files.get(name, [])[1:] != [*state]}
        return dict(sorted(new.items(), key=lambda entry: (_turn(entry[0]), entry[0])))

    def send(self, before_each: Callable[[], None] = lambda: None) -> None:
        """Send what has changed, and delete there what was deleted here.

        Raises whatever the file system does; what was sent by then is known.
        """
        with self._lock:
            if not self._record.exists():
                raise UserError(f"{self.folder} was deleted meanwhile.")  # which is to delete nothing there
            changed, gone = self.changed(), sorted(self._files.keys() - self._local().keys())
            gone = [name for name in gone if self._in_full(name)]  # others are not known to have been here
            old = [name for name in gone if name.endswith(".ckpt")]
            try:
                for name in gone:
                    if name not in old:
                        self._delete(name)
                for name, state in changed.items():
                    before_each()
                    try:
                        body = (self.folder / name).read_bytes()
                    except FileNotFoundError:  # an old checkpoint by now: the newer one comes the next time
                        old = []
                        continue
                    self.store.put(name, body)
                    self._files[name] = ["", *state]
                for name in old:
                    self._delete(name)
            finally:
                if changed or gone:
                    self._write()

    def _delete(self, name: str) -> None:
        self.store.delete(name)
        del self._files[name]


def _scratch() -> Path:
    """The folder of this user for copies, made where it is missing."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get(_SCRATCH) or f"{caches}/tiltflow/scratch").expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{unwritable(folder, error)} Name another one with {_SCRATCH}=FOLDER.") from error
    return folder


def _state(path: Path) -> _State | None:
    """Of a file, None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if path.is_file() and not path.is_symlink() else None


def _stays(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _turn(name: str) -> int:
    """When a file is sent, among the others."""
    path = PurePosixPath(name)
    if path.name in ("config.json", "environment.json"):
        return 0
    return {".jsonl": 1, ".ckpt": 2}.get(path.suffix, 4 if path.name == "result.json" else 3)


_OPEN: dict[Path, Mirror] = {}
"""The mirrors of this process by their folders: whoever works there gets to know that it is one."""


def open_mirror(url: str, *, whole: bool = True, new: bool = False) -> Path:
    """The folder of this machine that mirrors a URL, as it is there by now.

    Where it is to be `new`, there must be nothing. Raises UserError as `Store` does.
    """
    mirror = Mirror(url, whole)
    if new:
        if mirror.changed() or not mirror.store.is_empty():
            raise UserError(
                f"{mirror.store.url} holds something already. Continue a run there with: tiltflow train "
                f"--resume {mirror.store.url}; or choose another place with --out."
            )
        shutil.rmtree(mirror.folder)  # the copy of what somebody has deleted there
        mirror = Mirror(url, whole)
    mirror.fetch(mirror.is_ours(mirror.lease()))
    _OPEN[mirror.folder] = mirror
    return mirror.folder


def mirror_of(folder: Path) -> Mirror | None:
    """The mirror that a folder is, where this process has opened it as one."""
    return _OPEN.get(folder.absolute())


def discard(folder: Path) -> None:
    """Remove a copy, all of which lies at its URL."""
    if not _OPEN.pop(folder).changed():
        shutil.rmtree(folder.parent, ignore_errors=True)

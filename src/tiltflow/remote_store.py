"""Objects at a URL, by their names below it. fsspec and its packages are imported where a URL is used."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.packages import require

_SAID = ("size", "ETag", "etag", "md5Hash", "generation", "ino", "mtime", "created", "LastModified")
"""What file systems say of an object that differs once it is written anew."""


def is_url(text: object) -> bool:
    """Whether a text names a place as s3://bucket/runs/x does."""
    return isinstance(text, str) and re.match(r"[a-z][a-z0-9+.-]*://", text) is not None


@final
class Store:
    """What lies below a URL. Raises UserError where nobody can reach it or a package is missing.

    So do its methods, but for `put` and `delete`, which raise whatever the file system does.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        core: Any = require("fsspec.core")
        try:
            # Without a cache: others write there, too.
            self._fs, place = core.url_to_fs(self.url, use_listings_cache=False)
            self._place: str = place.rstrip("/")
        except ImportError as error:
            raise UserError(f"{self.url}: what reaches it is not installed. {_advice(url, error)}") from error
        except Exception as error:  # whatever a library throws that knows nothing of such a place
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.url} cannot be reached ({reason_of(error)}). Look at the name, your permission and the "
            "network."
        )

    def listed(self, under: str = "") -> dict[str, tuple[str, int]]:
        """Of each object, by name, a mark that is another one once it is written anew, and its bytes."""
        try:
            found = self._fs.find(f"{self._place}/{under}".rstrip("/"), detail=True)
        except Exception as error:
            raise self._unreachable(error) from error
        named = {path.removeprefix(self._place).lstrip("/"): info for path, info in found.items()}
        return {
            name: (" ".join(f"{info[key]}" for key in _SAID if key in info), info["size"])
            for name, info in named.items()
            if name and not name.endswith("/")  # which some tools write for a folder
        }

    def is_empty(self) -> bool:
        """Whether nothing is there, without listing what may be a whole bucket."""
        try:
            return not [path for path in self._fs.ls(self._place, detail=False) if Path(path).name[:1] != "."]
        except FileNotFoundError:
            return True
        except Exception as error:
            raise self._unreachable(error) from error

    def get(self, name: str) -> bytes | None:
        """An object, None where it is not there."""
        try:
            return self._fs.cat_file(f"{self._place}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreachable(error) from error

    def put(self, name: str, body: bytes) -> None:
        """Write an object, whole or not at all."""
        place = f"{self._place}/{name}"
        if "file" in self._fs.protocol:
            with atomic_file(Path(place)) as file:
                file.write(body)
            return
        try:
            self._fs.pipe_file(place, body)
        except FileNotFoundError:  # in stores that have folders
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(place, body)

    def delete(self, name: str) -> None:
        """Delete an object, where it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._place}/{name}")


def _advice(url: str, error: ImportError) -> str:
    """What to install; fsspec says it in words of its own."""
    registry: Any = require("fsspec.registry")
    known = registry.known_implementations.get(url.partition("://")[0], {})
    package = known.get("class", "fsspec").partition(".")[0]
    return f"{error}." if package == "fsspec" else f"{error}: pip install {package}"


def reason_of(error: Exception) -> str:
    """What went wrong at a URL, on one line."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()).rstrip(".")

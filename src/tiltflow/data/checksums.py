"""Whether files of data say themselves what their arrays are, so that damage is found when they are read."""

from collections.abc import Sequence
from pathlib import Path

from tiltflow import words
from tiltflow.data.arrays import file_kind
from tiltflow.data.audit import Finding
from tiltflow.data.hdf5 import hdf5_checksums
from tiltflow.npz import npz_checksums


def without_checksums(places: Sequence[Path]) -> list[Finding]:
    """A note on the npz and HDF5 files that could hold checksums of their arrays, and do not."""
    guarded = {"npz": npz_checksums, "hdf5": hdf5_checksums}
    bare = [place for place in places if (kind := file_kind(place)) and not guarded[kind](place)]
    if not bare:
        return []
    others = f" (nor {words.plural(len(bare) - 1, 'other file')})" if len(bare) > 1 else ""
    text = (
        f"holds no checksums of its arrays{others}: a bit that turns in it may change them unseen. `tiltflow "
        "data shard` writes a copy that has them."
    )
    return [Finding("note", str(bare[0]), None, None, text)]

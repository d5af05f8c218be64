"""What makes an HDF5 file, or a part of it, one that is not read: see hdf5.py."""

from typing import Any

from tiltflow.packages import require
from tiltflow.sizes import excess

_FLETCHER32, _CHECKSUM_BYTES = 3, 4
_ELSEWHERE = "Only arrays that lie in the file itself are read."


def tree_fault(h5py: Any, file: Any, stored: int) -> str:
    declared, seen, waiting = 0, set[int](), [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            where = f"holds {group.name.rstrip('/')}/{name}, which"
            if fault := link_fault(group, name):
                return f"{where} {fault}"
            thing = group[name]
            place = h5py.h5o.get_info(thing.id).addr
            if place in seen:  # a second name of the same thing, which may be a group around this one
                continue
            seen.add(place)
            if isinstance(thing, h5py.Group):
                waiting.append(thing)
            elif isinstance(thing, h5py.Dataset):
                if fault := _outside_fault(thing):
                    return f"{where} {fault}"
                declared += array_bytes(thing)
    return excess(declared, stored)


def link_fault(group: Any, name: str) -> str:
    """What is wrong with how the group names a thing; empty for a plain (hard) link."""
    h5py = require("h5py")
    try:
        link = group.get(name, getlink=True)
    except Exception:
        return f"is a link of an unknown kind. {_ELSEWHERE}"
    match link:
        case h5py.HardLink():
            return ""
        case h5py.ExternalLink():
            return f"is a link into the file {link.filename!r}. {_ELSEWHERE}"
    return f"is a link to {getattr(link, 'path', 'another place')!r}. {_ELSEWHERE}"


def array_fault(thing: Any) -> str:
    if not isinstance(thing, require("h5py").Dataset):
        return "is a group, not an array."
    if thing.dtype.hasobject or thing.dtype.kind not in "fiub":
        return f"has the dtype {thing.dtype}, not a number."
    return _outside_fault(thing)


def _outside_fault(array: Any) -> str:
    if array.external:
        return f"is stored in the file {array.external[0][0]!r}. {_ELSEWHERE}"
    if array.is_virtual:
        sources = ", ".join(repr(source.file_name) for source in array.virtual_sources()[:2])
        return f"is a view of the file {sources}. {_ELSEWHERE}"
    return _checksum_fault(array)


def _checksum_fault(array: Any) -> str:
    """What the HDF5 library would read beyond its memory for: it believes that a checksum is there."""
    if not array.fletcher32:
        return ""
    filters = array.id.get_create_plist()
    if filters.get_filter(filters.get_nfilters() - 1)[0] != _FLETCHER32:
        return "has its checksums below its compression, where they are not read. Write it again without."
    if array.id.chunk_iter(lambda chunk: True if chunk.size < _CHECKSUM_BYTES else None):
        return "is cut off or damaged: a part of it is shorter than its checksum. Copy or make it again."
    return ""


def array_bytes(array: Any) -> int:
    return 0 if array.shape is None else array.size * array.dtype.itemsize

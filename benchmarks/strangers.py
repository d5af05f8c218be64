"""Files of strangers: whatever stands in them, a reader answers with data or with one clear error.

    python benchmarks/strangers.py RUN [--inputs N] [--seed S] [--only KIND …]

Real files of every format, and those of the run folder RUN, are mutated at random: bits turned, bytes put
in, taken out and copied, ends cut off; in JSON also values, keys and types. Each is read as a command reads
it. Anything but a UserError is a fault of ours and is told with the place that raised it; exit code 1 then.
Readers may take at most 8 GiB of address space more than they begin with.
"""

import argparse
import copy
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stranger_files import Kind, kinds

from tiltflow.errors import ExplainedError

ODD = (
    None,
    True,
    -1,
    0,
    2,
    10**30,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "١",
    [],
    [[]],
    [1],
    {},
    {"a": 1},
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Another file: one to three changes of bytes, or of the tree where it is JSON."""
    if content[:1] in (b"{", b"[") and draw.random() < 0.7:
        return _mutated_json(content, draw)
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(len(content) + 1), draw.choice((1, 2, 4, 8, 50))
        before, after = content[:place], content[place:]
        match draw.randrange(7):
            case 0 if after:
                content = before + bytes([after[0] ^ 1 << draw.randrange(8)]) + after[1:]
            case 1:
                content = before
            case 2:
                content = before + draw.randbytes(length) + after
            case 3:
                content = before + after[length:]
            case 4:
                content = (
                    before
                    + draw.choice((b"\0", b"\xff", b"{", b"[", b"9", b"\n", b",")) * length
                    + after[length:]
                )
            case 5:
                other = draw.randrange(len(content) + 1)
                content = before + content[other : other + length] + after[length:]
            case _:
                content = (
                    before + draw.choice((b"[" * 99_999, b"1e999", b'"', b"\xe9", b"NaN,", b"-")) + after
                )
    return content


def _mutated_json(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines() if content.count(b"\n{") else [content.decode()]
    number = draw.randrange(len(lines))
    tree = json.loads(lines[number])
    places = list(_places(tree))
    node, key = draw.choice(places)
    match draw.randrange(5):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[draw.choice(("x", "", key + "s"))] = node.pop(key)
        case 2:
            other, name = draw.choice(places)
            node[key] = copy.deepcopy(other[name]) if isinstance(other, dict) or name < len(other) else None
        case _:
            node[key] = draw.choice(ODD)
    lines[number] = json.dumps(tree)
    return "".join(line + "\n" for line in lines).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def fault_of(kind: Kind, path: Path) -> str:
    """What reading raised that is no clear error, and where; empty where nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(path)
    except ExplainedError:
        return ""
    except Exception as error:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/tiltflow/" in frame.filename
        ]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
        return f"{type(error).__name__} at {where}: {str(error)[:120]}"
    return ""


def try_kind(kind: Kind, inputs: int, draw: random.Random, *, keep: Path | None = None) -> Counter[str]:
    """Mutate and read so many times; how often each fault was met. The file is restored at the end."""
    path = kind.folder / kind.file
    whole, faults = path.read_bytes(), Counter[str]()
    assert not (fault := fault_of(kind, path)), fault
    for _ in range(inputs):
        content = mutated(whole, draw)
        path.write_bytes(content)
        if fault := fault_of(kind, path):
            if keep is not None and fault.partition(":")[0] not in {f.partition(":")[0] for f in faults}:
                keep.mkdir(exist_ok=True, parents=True)
                (keep / f"{kind.folder.name}-{len(faults)}-{path.name}").write_bytes(content)
            faults[fault] += 1
    path.write_bytes(whole)
    return faults


def try_apart(kind: Kind, inputs: int, seed: str, keep: Path | None) -> Counter[str]:
    """`try_kind` in a process of its own: a decoder that crashes ends that one, and is a fault."""
    context = multiprocessing.get_context("fork")
    found, told = context.Pipe(duplex=False)
    process = context.Process(
        target=lambda: told.send(try_kind(kind, inputs, random.Random(seed), keep=keep))
    )
    process.start()
    process.join()
    if process.exitcode == 0:
        return found.recv()
    if keep is not None:
        keep.mkdir(exist_ok=True, parents=True)
        shutil.copy(kind.folder / kind.file, keep / f"{kind.folder.name}-crash-{kind.file}")
    return Counter({f"the process ended with {process.exitcode}: the kind was not tried to its end": 1})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds whose names begin so")
    parser.add_argument("--keep", type=Path, help="folder for an input of each fault")
    given = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**30, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as place:
        tried, total = kinds(Path(place), given.run), 0
        chosen = [name for name in tried if not given.only or name.startswith(tuple(given.only))]
        for name in chosen:
            count = -(-given.inputs // len(chosen))
            faults = try_apart(tried[name], count, f"{given.seed} {name}", given.keep)
            total += sum(faults.values())
            print(f"{name}: {count:,} inputs, {sum(faults.values()):,} faults", flush=True)
            for fault, number in faults.most_common(12):
                print(f"  {number:>6} × {fault}", flush=True)
    print(f"{count * len(chosen):,} inputs, {total:,} faults")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())

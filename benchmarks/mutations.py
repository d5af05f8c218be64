"""Whether the tests notice: every setting and many lines of the mathematics are broken, one at a time.

    python benchmarks/mutations.py OUT.json                     # all of them, in a copy of the repository
    python benchmarks/mutations.py OUT.json --only FlowConfig,smc  # those with one of these in their names
    python benchmarks/mutations.py --list

A mutant is one of two things. A *setting*: a field of the settings of an agent or of a guidance method is
ignored; code that works by it gets the default of its class, while checks, presets and the command line see
the true value. A *line* of mutations.toml: a text of the source is replaced by another. Then the test modules
named for it run, first the tests in which the setting's name stands, until a test fails: CAUGHT. Where none
does, the mutant SURVIVED, and a law is missing. STALE: the text or the test module is not there, or not once;
the entry has to follow the source.

OUT.json is written after every mutant. Called again, what it says was caught is skipped. In the end the tests
that failed run with nothing broken, where they have to pass. The exit status is 1 where one does not, and
where a mutant was not caught.
"""

import argparse
import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from functools import cached_property
from inspect import get_annotations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
MUTANT = "TILTFLOW_MUTANT"
LIMIT = 900
"""Seconds for the tests of one mutant; one that hangs them is caught."""

AGENTS, METHODS = "test_agent_networks test_agent_settings", "test_method_settings test_guidance_edges"
TESTS = {
    "QIPOConfig": (
        "test_agent_networks test_qipo_settings test_agent_settings test_judged test_one_step test_lengthen"
    ),
    "FlowQConfig": "test_agent_networks test_flowq_settings test_agent_settings",
    "CriticConfig": f"{AGENTS} test_scaler",
    "FlowQLConfig": f"{AGENTS} test_flow_ql",
    "TD3BCConfig": f"{AGENTS} test_baselines",
    "IQLConfig": f"{AGENTS} test_baselines",
    "FQLConfig": f"{AGENTS} test_baselines",
}
"""Test modules of the settings of a class, the quickest first; AGENTS or METHODS for the others."""


class Mutant(NamedTuple):
    name: str
    tests: str
    """Test modules, the quickest first."""
    text: str = ""
    broken: str = ""


# Inside of pytest, of which this module is a plugin.


def config_classes() -> dict[type, str]:
    """Every class of settings that an agent or a method has, also within another, and its tests."""
    from tiltflow.agents.registry import ALGORITHMS
    from tiltflow.guidance import methods

    found: dict[type, str] = {}

    def visit(config: Any, tests: str) -> None:
        found.setdefault(type(config), TESTS.get(type(config).__name__, tests))
        for field in dataclasses.fields(config):
            if dataclasses.is_dataclass(value := getattr(config, field.name)):
                visit(value, tests)

    for entries, tests in ((ALGORITHMS, AGENTS), (methods.METHODS, METHODS)):
        for entry in entries.values():
            visit(entry.config, tests)
    return found


def settings() -> dict[str, tuple[type, str, str]]:
    """Class, field and tests of every setting, under the name of the class that brings the field."""
    found = {}
    for kind, tests in config_classes().items():
        for field in dataclasses.fields(kind):
            owner = next(base for base in kind.__mro__ if field.name in get_annotations(base))
            found.setdefault(f"{owner.__name__}.{field.name}", (owner, field.name, tests))
    return found


class Ignored:
    """A field whose value is kept, and hidden from the code that works by it."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, config: Any, kind: Any) -> Any:
        if config is not None and not read_to_work_by():
            return vars(config)[self.name]
        field = kind.__dataclass_fields__[self.name]
        return field.default if field.default is not dataclasses.MISSING else field.default_factory()

    def __set__(self, config: Any, value: Any) -> None:
        vars(config)[self.name] = value


RECORDS = re.compile(r"config|settings|registry|preset|published|checks|cli|report|benchmark|display|reuse")
"""In the names of modules that check, choose, copy or show settings, and do not work by them."""


def read_to_work_by() -> bool:
    """Whether the code that asks for a field works by it."""
    frame, unpacked = sys._getframe(2), False
    while frame.f_back and frame.f_globals.get("__name__") == "dataclasses":
        if "replace" in frame.f_code.co_name:
            return False
        unpacked, frame = True, frame.f_back
    asking = getattr(type(frame.f_locals.get("self")), frame.f_code.co_name, None)
    module = frame.f_globals.get("__name__", "")
    derives = (
        module.endswith("_settings")
        and frame.f_code.co_argcount > 1
        and not frame.f_code.co_name.startswith("_")
    )
    if isinstance(asking, cached_property) or (asking and derives):  # a number that follows from the settings
        return True
    if not module.startswith("tiltflow.") or RECORDS.search(module) or frame.f_code.co_name.startswith("__"):
        return False
    # `asdict` gives a record of the settings, but where a network is made of it.
    return not unpacked or any(re.search("MLP|mlp|Network", name) for name in frame.f_code.co_names)


def pytest_sessionstart(session: Any) -> None:
    """Hide the setting that the environment names."""
    if name := os.environ.get(MUTANT):
        owner, field, _ = settings()[name]
        setattr(owner, field, Ignored(field))


# Outside.


FAILED = r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$"


def mutants() -> Iterator[Mutant]:
    for name, (_, _, tests) in settings().items():
        yield Mutant(name, tests)
    for tests, lines in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items():
        for name, (text, broken) in lines.items():
            yield Mutant(name, tests, text, broken)


def try_mutant(mutant: Mutant, tree: Path) -> dict[str, Any]:
    """Break it, run its tests, and mend it again."""
    if not mutant.text:
        return run_tests(mutant, tree, mutant.name)
    sources = {file: file.read_text() for file in tree.glob("src/**/*.py")}
    found = [file for file, source in sources.items() for _ in range(source.count(mutant.text))]
    if len(found) != 1:
        return {"outcome": "STALE", "by": f"its text is there {len(found)} times"}
    try:
        found[0].write_text(sources[found[0]].replace(mutant.text, mutant.broken))
        return run_tests(mutant, tree)
    finally:
        found[0].write_text(sources[found[0]])


def run_tests(mutant: Mutant, tree: Path, hidden: str = "") -> dict[str, Any]:
    modules = []
    for name in mutant.tests.split():
        found = list(tree.glob(f"tests/**/{name}.py"))
        if len(found) != 1:
            return {"outcome": "STALE", "by": f"there are {len(found)} test modules {name}"}
        modules += [found[0]]
    likely = [test for file in modules for test in tests_about(hidden.rpartition(".")[2], file)]
    begun = time.perf_counter()
    # What takes long only where nothing else has failed.
    for what in (likely, ["-m", "not slow", *modules], ["-m", "slow", *modules]):
        if not what:
            continue
        status, said = run_pytest(tree, ["-x", *what], hidden)
        if status not in (0, 5):  # 5: there are none
            break
    failed = re.search(FAILED, said, re.M)
    outcome = {0: "SURVIVED", 5: "SURVIVED", 1: "CAUGHT", -1: "CAUGHT"}.get(status, "STALE")
    by = failed[1] if failed else said[-800:] if outcome == "STALE" else ""
    return {"outcome": outcome, "by": by, "seconds": round(time.perf_counter() - begun, 1)}


def run_pytest(tree: Path, words: list[Any], hidden: str = "") -> tuple[int, str]:
    """The exit status of pytest in the tree, and what it said; −1 where it had no end.

    It runs in a fork, in which JAX and other libraries are imported already, and nothing has run yet.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os.chdir(tree)
            os.environ[MUTANT] = hidden
            sys.path[:0] = [str(tree), f"{tree}/src", f"{tree}/benchmarks"]
            for name in [name for name in sys.modules if name.split(".")[0] == "tiltflow"]:
                del sys.modules[name]  # the repository's own, not the tree's
            status = pytest.main(["-p", "mutations", "-p", "no:cacheprovider", "-q", *map(str, words)])
            sys.stdout.flush()
            os._exit(status)
        status, ends = -1, time.monotonic() + LIMIT
        while time.monotonic() < ends:
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                break
            time.sleep(0.1)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        said.seek(0)
        return status, said.read()


def tests_about(field: str, file: Path) -> list[str]:
    """Tests of a module in which the field's name stands, or in a constant that they read."""
    if not field:
        return []
    source = file.read_text()
    texts, tests = {}, {}
    for node in ast.parse(source).body:
        first = min([node.lineno, *(call.lineno for call in getattr(node, "decorator_list", []))])
        text = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            tests[node.name] = text
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts[node.targets[0].id] = text
    about = re.compile(rf"(?<![a-z0-9])_?{field}\b")
    names = [name for name, text in texts.items() if about.search(text)]
    return [
        f"{file}::{test}"
        for test, text in tests.items()
        if about.search(text) or any(re.search(rf"\b{name}\b", text) for name in names)
    ]


def failing_alone(tree: Path, tests: set[str]) -> list[str]:
    """Those of the tests that fail with nothing broken."""
    _, said = run_pytest(tree, sorted(tests)) if tests else (0, "")
    return [failed[1] for failed in re.finditer(FAILED, said, re.M)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT.json", help="what was found; read first")
    parser.add_argument("--only", default="", help="those whose names contain one of these, by commas")
    parser.add_argument("--part", default="1/1", help="2/3: every third of them, from the second on")
    parser.add_argument("--list", action="store_true", help="print their names, each with its tests")
    args = parser.parse_args()
    part, parts = map(int, args.part.split("/"))
    with tempfile.TemporaryDirectory(prefix="tiltflow-mutations-") as folder:
        # What XLA compiles for one mutant serves the next where it is the same. JAX reads this when imported.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/compiled"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
        sys.path.insert(0, str(ROOT / "src"))
        chosen = [m for m in mutants() if any(text in m.name for text in args.only.split(","))][
            part - 1 :: parts
        ]
        if args.list or args.out is None:
            print("\n".join(f"{mutant.name:<50} {mutant.tests}" for mutant in chosen))
            return
        found = json.loads(args.out.read_text()) if args.out.exists() else {}
        tree = Path(folder)
        for name in ("src", "tests", "benchmarks"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        for mutant in chosen:
            if found.get(mutant.name, {}).get("outcome") == "CAUGHT":
                continue
            found[mutant.name] = result = try_mutant(mutant, tree)
            print(f"{result['outcome']:<9} {mutant.name:<50} {result['by']}", flush=True)
            args.out.write_text(json.dumps(found, indent=1))
        wrong = failing_alone(tree, {result["by"] for result in found.values() if result["by"]})
    missed = [m.name for m in chosen if found[m.name]["outcome"] != "CAUGHT" or found[m.name]["by"] in wrong]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught. Not caught: {', '.join(missed) or 'none'}")
    print(*(f"This test fails with nothing broken: {test}" for test in wrong), sep="\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()

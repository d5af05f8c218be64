"""What the repository promises about itself."""

import ast
import os
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from outside import outside_agents
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.main import VERBS, _take_plugins
from tiltflow.plugins import plugged

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tiltflow"

FLOORS = (
    (
        "errors",
        "settings",
        "files",
        "json_records",
        "packages",
        "trust",
        "sizes",
        "npz",
        "npy",
        "words",
        "plugins",
    ),
    ("remote_store", "remote_folder"),
    ("model_settings", "compiled_programs", "processes", "benchmark_file", "accelerators"),
    ("paths", "networks", "solvers", "tilting", "optimize"),
    (
        "flow",
        "exact",
        "datasets2d",
        "metrics",
        "data",
        "tasks",
        "environments",
        "mazes",
        "maze_map",
        "rendering",
    ),
    ("critics", "agents", "guidance"),
    ("train_config", "evaluation"),
    ("run_folder", "merged_seeds"),
    ("report",),
    ("training", "figures2d"),
    ("benchmark", "tuning", "serving"),
    ("cli", "from_python", "python_words", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "tiltflow":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tiltflow."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tiltflow.")}
    return names & FLOOR.keys()


def sources() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]


def test_every_room_has_a_floor():
    assert {room(path) for path in sources()} == FLOOR.keys()


def test_lower_floors_never_import_upper_ones():
    up = {
        (room(path), other)
        for path in sources()
        for other in imported_rooms(path)
        if FLOOR[other] > FLOOR[room(path)]
    }
    assert up == set()


# What a registry, or Python, looks up in a file by this name.
CONTRACT_NAMES = {"build", "fit", "list_log", "main", "parse", "register", "SOURCE"}


def public_names(path: Path) -> list[str]:
    """The public names that a file defines at its top."""
    names: list[str] = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in set(names) if not name.startswith("_")]


def test_a_public_name_means_one_thing():
    places: dict[str, list[str]] = {}
    for path in sources():
        for name in public_names(path):
            places.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in CONTRACT_NAMES} == {}


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_files_that_the_documents_name_exist(name):
    document = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_commands_in_the_documents_parse():
    text = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if not language]
    commands = re.findall(r"^tiltflow (.+)$", "".join(blocks).replace("\\\n", " "), re.MULTILINE)
    assert {command.split()[0] for command in commands} >= {"train", "evaluate", "report", "data", "tasks"}
    for command in commands:
        (verb, *words), plugins = _take_plugins(shlex.split(command))
        module = import_module(VERBS[verb].module)
        with outside_agents(), plugged(*(ROOT / file for file in plugins)):
            if "--help" in words:
                with pytest.raises(SystemExit):
                    module.parse(words)
            else:
                assert hasattr(module.parse(words), "run")


def test_python_in_the_readme_compiles_and_its_imports_exist():
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_readme_lists_every_algorithm():
    text = (ROOT / "README.md").read_text()
    assert [name for name in ALGORITHMS if f"| `{name}` |" not in text] == []


def test_ci_runs_the_test_command_of_the_readme():
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert "make test" in run.read_text().splitlines()[-1]
    assert "```\nmake test\n```" in (ROOT / "README.md").read_text()


def test_constraints_are_versions_only_and_cover_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    pattern = r'([A-Za-z0-9._-]+)==[0-9][0-9a-z.]*( ; python_version (<|>=) "3\.12")?'
    matches = [re.fullmatch(pattern, line) for line in pins]
    assert all(matches)
    pinned = {re.sub("[-_.]+", "-", match[1]).lower() for match in matches if match}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += [entry for name in extras if name != "gpu" for entry in extras[name]]
    names = {re.match(r"[A-Za-z0-9._-]+", entry)[0].lower() for entry in wanted}
    assert {re.sub("[-_.]+", "-", name) for name in names} - {"tiltflow"} <= pinned

"""The algorithms by name: tiltflow's, those of installed packages, and those of files of your own.

Naming them imports neither JAX nor NumPy. The settings of one stand in its own file, with its mathematics,
which is imported when they are asked for.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tiltflow.agents.presets import Preset, find_preset
from tiltflow.agents.published import ALGORITHMS_WITH_PRESET, published_preset
from tiltflow.errors import UserError, nearest
from tiltflow.guidance.methods import METHODS

if TYPE_CHECKING:
    from tiltflow.agents.base import Agent
    from tiltflow.data.transitions import Spec

Build = Callable[[Any, "Spec", int], "Agent"]
"""(settings, spec, steps) -> the agent, with `steps` gradient steps split over its stages."""

GROUP = "tiltflow.agents"
"""The entry points by which an installed package offers algorithms: name = "module that registers it"."""
PLUGINS = "TILTFLOW_PLUGINS"
"""The environment variable by which a process and those that it starts find the files of `--plugin`."""

_BUILT_IN = {
    "qipo-ot": ("qipo", "QIPO on the optimal-transport path: energy-weighted flow matching with Q-weights"),
    "qipo-diff": ("qipo", "QIPO on the variance-preserving path: energy-weighted diffusion with Q-weights"),
    "flowq": (
        "flowq",
        "FlowQ: flow matching guided by the gradient of a learned value, with a finished critic",
    ),
    "qgpo": ("qgpo", "QGPO: a diffusion guided by a contrastive model of the intermediate energy (CEP)"),
    "iql": ("iql", "IQL: an expectile critic and advantage-weighted regression of a Gaussian policy"),
    "fql": ("fql", "FQL: a one-step policy, distilled from a behaviour flow and trained to maximise Q"),
    "ifql": ("ifql", "IFQL: a behaviour flow, IQL's critic, and the best of N actions by Q"),
    "idql": ("ifql", "IDQL: a behaviour diffusion, IQL's critic, and the best of N actions by Q"),
    "td3-bc": (
        "td3_bc",
        "TD3+BC: a deterministic policy trained to maximise Q, with a behaviour-cloning penalty",
    ),
    "rebrac": ("td3_bc", "ReBRAC: TD3+BC with a penalty in the backup too, and layer normalisation"),
    "flow-ql": (
        "flow_ql",
        "Diffusion-QL with a flow: behaviour cloning plus Q, differentiated through the sampler",
    ),
    "diffusion-ql": (
        "flow_ql",
        "Diffusion-QL: behaviour cloning plus Q, differentiated through the sampler of a diffusion",
    ),
    "bc-flow": ("bc", "behaviour cloning with flow matching: QIPO-OT's first stage alone"),
    "bc-diffusion": ("bc", "behaviour cloning with diffusion: QIPO-Diff's first stage alone"),
}


class _Definition(NamedTuple):
    config: Any
    build: Build


_DEFINED: dict[str, _Definition] = {}


@dataclass(frozen=True)
class Algorithm:
    """A name on the command line."""

    name: str
    description: str
    module: str
    """The module that registers it."""

    @property
    def config(self) -> Any:
        """Its default settings."""
        return self._definition().config

    @property
    def build(self) -> Build:
        """What makes its agent."""
        return self._definition().build

    def _definition(self) -> _Definition:
        if self.name not in _DEFINED:
            import_module(self.module)
        if self.name not in _DEFINED:
            raise UserError(
                f"The module {self.module} offers the algorithm {self.name!r} but does not register it: it "
                "has to call tiltflow.agents.register with that name."
            )
        return _DEFINED[self.name]


ALGORITHMS: dict[str, Algorithm] = {
    name: Algorithm(name, description, f"{GROUP}.{module}")
    for name, (module, description) in _BUILT_IN.items()
}


def register(name: str, config: Any, build: Build, description: str = "") -> None:
    """Make `name` an algorithm, which trains, resumes, evaluates and has its help as every other.

    `config` holds its default settings: a frozen dataclass, whose texts after the fields are its help. This
    is for the present process. `--plugin FILE.py`, `plugged` or an entry point of the group `tiltflow.agents`
    make every process find the file that calls it. Raises UserError for a name or settings that cannot be.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise UserError(f"The algorithm's name {name!r} must be of small letters, digits and hyphens.")
    if name in _BUILT_IN and build.__module__ != f"{GROUP}.{_BUILT_IN[name][0]}":
        raise UserError(f"The algorithm {name!r} is tiltflow's own: give yours another name.")
    if name in _DEFINED and _DEFINED[name].build.__module__ != build.__module__:
        raise UserError(f"The algorithm {name!r} is registered already, by {ALGORITHMS[name].module}.")
    if not is_dataclass(config) or isinstance(config, type):
        raise UserError(f"The settings of {name} must be an instance of a frozen dataclass, not {config!r}.")
    _DEFINED[name] = _Definition(config, build)
    if name not in _BUILT_IN:
        ALGORITHMS[name] = Algorithm(name, description or f"of {build.__module__}", build.__module__)


@contextmanager
def plugged(*files: str | Path) -> Iterator[None]:
    """Run these files, which call `register`, here and in the processes that are started meanwhile.

    Raises UserError for a file that cannot be run or registers nothing.
    """
    before = os.environ.get(PLUGINS, "")
    paths = [Path(file).absolute() for file in files]
    for path in paths:
        run_plugin(path)
    os.environ[PLUGINS] = os.pathsep.join(filter(None, [before, *map(str, paths)]))
    try:
        yield
    finally:
        os.environ[PLUGINS] = before


def known_algorithms() -> dict[str, Algorithm]:
    """Every algorithm by name, those of installed packages and of the files of `--plugin` among them."""
    for path in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        run_plugin(Path(path))
    for name, algorithm in _installed().items():
        ALGORITHMS.setdefault(name, algorithm)
    return ALGORITHMS


def find_algorithm(name: str) -> Algorithm:
    """The algorithm of that name. Raises UserError that suggests the nearest one."""
    if name not in ALGORITHMS and name not in (known := known_algorithms()):
        raise UserError(
            f"There is no algorithm {name!r}.{nearest(name, known)} Known: {', '.join(known)}. One of your "
            "own needs --plugin FILE.py, the file that registers it."
        )
    return ALGORITHMS[name]


@cache
def _installed() -> dict[str, Algorithm]:
    return {
        entry.name: Algorithm(
            entry.name, f"of the package {entry.dist.name if entry.dist else entry.module}", entry.module
        )
        for entry in entry_points(group=GROUP)
    }


@cache
def run_plugin(path: Path) -> None:
    """Run a file that registers algorithms or methods of guidance, once in this process."""
    name = f"tiltflow_plugin_{path.stem}"
    spec = spec_from_file_location(name, path)
    if name in sys.modules or spec is None or spec.loader is None or not path.is_file():
        why = "another one of that name has been run" if name in sys.modules else "it is no Python file"
        raise UserError(f"The plugin {path} cannot be run: {why}.")
    before = {*ALGORITHMS, *METHODS}
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"The plugin {path} failed with {type(error).__name__}: {error}") from error
    if before == {*ALGORITHMS, *METHODS}:
        raise UserError(
            f"The plugin {path} registers nothing: it has to call tiltflow.agents.register, or that of "
            "tiltflow.guidance."
        )


PRESETS = ("ours", "published")
"""Their names: ours is what each task's entry in presets.py says, and the default."""


def named_preset(algorithm: str, task: str, name: str) -> Preset:
    """The preset of that name. Raises UserError where there is none, or none of this algorithm."""
    if name not in PRESETS:
        raise UserError(
            f"There is no preset {name!r}.{nearest(name, PRESETS)} Known: {', '.join(PRESETS)} (ours is the "
            "default)."
        )
    default = find_algorithm(algorithm).config
    if name == "ours":
        return find_preset(algorithm, default, task)
    if not has_published(algorithm):
        raise UserError(
            f"{algorithm} has no preset 'published'; {', '.join(ALGORITHMS_WITH_PRESET)} have one. Leave "
            "--preset out for ours."
        )
    return published_preset(algorithm, default, task)


def has_published(algorithm: str) -> bool:
    """Whether there is a preset `published` of that algorithm."""
    return algorithm in ALGORITHMS_WITH_PRESET


def preset(algorithm: str, task: str, name: str = "ours") -> Any:
    """The settings with which that algorithm starts on that task (presets.py, published.py)."""
    return named_preset(algorithm, task, name).config


def build_agent(algorithm: str, config: Any, spec: "Spec", steps: int) -> "Agent":
    """The agent of that algorithm, with `steps` gradient steps split over its stages."""
    agent = find_algorithm(algorithm).build(config, spec, steps)
    return agent if spec.encode is None else agent.encoded(spec.encode)

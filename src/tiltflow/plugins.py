"""What has a name on the command line and a module that registers it: algorithms, methods of guidance.

They are tiltflow's own, those of installed packages, and those of files of your own. Naming them imports
nothing of theirs: a module is imported when what it declares is asked for.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tiltflow.errors import UserError, nearest

PLUGINS = "TILTFLOW_PLUGINS"
"""The environment variable by which a process and those that it starts find the files of `--plugin`."""


class Declared(Protocol):
    """What a module says of a name when it registers it."""

    @property
    def config(self) -> Any:
        """Its default settings, an instance of a frozen dataclass."""


D = TypeVar("D", bound=Declared)


@dataclass(frozen=True)
class Registered(Generic[D]):
    """A name on the command line."""

    name: str
    description: str
    module: str
    """The module that registers it."""
    registry: "Registry[D]" = field(repr=False, compare=False)

    @property
    def declared(self) -> D:
        """What its module says of it. Raises UserError where that says nothing or is not there."""
        return self.registry.declared(self)

    @property
    def config(self) -> Any:
        """Its default settings."""
        return self.declared.config


class Registry(Mapping[str, Registered[D]]):
    """Names of one kind: tiltflow's own, and what has been registered in this process.

    `noun` is the kind's, `interface` the module that offers users its `register`, `group` the entry points by
    which an installed package offers names: name = "module that registers it". The modules of `own`,
    {name: (module, description)}, lie in `package`.
    """

    every: ClassVar[list["Registry[Any]"]] = []

    def __init__(
        self, noun: str, interface: str, group: str, package: str, own: Mapping[str, tuple[str, str]]
    ):
        self.noun, self.interface, self.group = noun, interface, group
        self.own = {
            name: Registered(name, text, f"{package}.{module}", self) for name, (module, text) in own.items()
        }
        self.outside: dict[str, Registered[D]] = {}
        self._declared: dict[str, D] = {}
        Registry.every.append(self)

    def __getitem__(self, name: str) -> Registered[D]:
        return self.own[name] if name in self.own else self.outside[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.own, *self.outside))

    def __len__(self) -> int:
        return len(self.own) + len(self.outside)

    def register(self, name: str, declared: D, module: str, description: str) -> None:
        """Take what `module` declares of a name. Raises UserError for a name or settings that cannot be."""
        config = declared.config
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise UserError(f"The {self.noun}'s name {name!r} must be of small letters, digits and hyphens.")
        if name in self.own and module != self.own[name].module:
            raise UserError(f"The {self.noun} {name!r} is tiltflow's own: give yours another name.")
        if name in self.outside and module != self.outside[name].module:
            taken = self.outside[name].module
            raise UserError(f"The {self.noun} {name!r} is registered already, by {taken}.")
        if not is_dataclass(config) or isinstance(config, type):
            raise UserError(
                f"The settings of {name} must be an instance of a frozen dataclass, not {config!r}."
            )
        self._declared[name] = declared
        if name not in self.own:
            self.outside[name] = Registered(name, description or f"of {module}", module, self)

    def declared(self, entry: Registered[D]) -> D:
        """What the module of an entry declares, which is imported for it."""
        name = entry.name
        if name not in self._declared:
            try:
                import_module(entry.module)
            except ImportError as error:
                if name in self.own:
                    raise
                raise UserError(f"The {self.noun} {name} cannot be imported: {error}") from error
        if name not in self._declared:
            raise UserError(
                f"The module {entry.module} offers the {self.noun} {name!r} but does not register it: it has "
                f"to call {self.interface}.register with that name."
            )
        return self._declared[name]

    def known(self) -> dict[str, Registered[D]]:
        """Every one by name, those of installed packages and of the files of `--plugin` among them."""
        for path in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
            run_plugin(Path(path))
        return {**self.own, **self._installed, **self.outside, **self.own}

    def find(self, name: str) -> Registered[D]:
        """The one of that name. Raises UserError that suggests the nearest one."""
        found = self.get(name)
        if found is None and (found := (known := self.known()).get(name)) is None:
            raise UserError(
                f"There is no {self.noun} {name!r}.{nearest(name, known)} Known: {', '.join(known)}. One of "
                "your own needs --plugin FILE.py, the file that registers it."
            )
        return found

    @cached_property
    def _installed(self) -> dict[str, Registered[D]]:
        def offered(entry: Any) -> str:
            return f"of the package {entry.dist.name if entry.dist else entry.module}"

        entries = entry_points(group=self.group)
        return {entry.name: Registered(entry.name, offered(entry), entry.module, self) for entry in entries}


@contextmanager
def plugged(*files: str | Path) -> Iterator[None]:
    """Run these files, which call a `register`, here and in the processes that are started meanwhile.

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


@cache
def run_plugin(path: Path) -> None:
    """Run a file that registers algorithms or methods of guidance, once in this process."""
    name = f"tiltflow_plugin_{path.stem}"
    spec = spec_from_file_location(name, path)
    if name in sys.modules or spec is None or spec.loader is None or not path.is_file():
        why = "another one of that name has been run" if name in sys.modules else "it is no Python file"
        raise UserError(f"The plugin {path} cannot be run: {why}.")
    before = _count_outside()
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"The plugin {path} failed with {type(error).__name__}: {error}") from error
    if before == _count_outside():
        raise UserError(
            f"The plugin {path} registers nothing: it has to call tiltflow.agents.register, or that of "
            "tiltflow.guidance."
        )


def _count_outside() -> int:
    return sum(len(registry.outside) for registry in Registry.every)

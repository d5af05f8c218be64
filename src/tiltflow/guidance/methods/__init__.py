"""The methods by name: a file in this folder and a line in `_FILES` for each. Standard library only.

A file imports JAX inside its `fit`, so that the command line can show its settings at once.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from tiltflow.errors import UserError, nearest
from tiltflow.guidance.contract import Method

_FILES = (
    "efm",
    "ed",
    "flowq",
    "tilted_path",
    "cep",
    "cg",
    "cfg",
    "flow_is",
    "smc",
    "resample",
    "unguided",
)
_GROUP = "tiltflow.methods"

METHODS: dict[str, Method] = {}


def register(method: Method) -> None:
    """Make a method known by its name, to `fit` and to the command line of this process.

    An installed package does the same by an entry point in the group `tiltflow.methods`: `NAME =
    "package.module:METHOD"`. Raises UserError where the name is taken.
    """
    if METHODS.get(method.name, method) != method:
        raise UserError(f"There is a method {method.name!r} already: choose another name.")
    METHODS[method.name] = method


def installed_methods() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; nothing of it is imported."""
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def find_method(name: str) -> Method:
    """The method of that name, from this program or a package. Raises UserError with the nearest."""
    if name not in METHODS:
        offered = installed_methods()
        if name not in offered:
            known = [*METHODS, *offered]
            raise UserError(f"There is no method {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        register(_loaded(offered[name]))
    return METHODS[name]


def _loaded(entry: EntryPoint) -> Method:
    try:
        method = entry.load()
    except Exception as error:
        raise UserError(
            f"The method {entry.name} cannot be imported from {entry.value}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(method, Method) or method.name != entry.name:
        raise UserError(
            f"The entry point {entry.name} = {entry.value} must be a tiltflow.guidance.Method of that name."
        )
    return method


for _file in _FILES:
    register(import_module(f"{__name__}.{_file}").METHOD)

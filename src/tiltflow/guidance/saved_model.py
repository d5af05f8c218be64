"""A fitted method in one file: its networks, what it was fitted to, and what it was trained with.

An npz of plain arrays and a JSON text, never unpickled. Reading it repeats the fit with the stored networks
in the place of training: so every method can be stored, and draws the same bits from equal seeds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.fitted import Fitted
from tiltflow.guidance.fitting import outcome_of
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.transforms import Lattice, Quantile, Whiten
from tiltflow.guidance.verdict import HeldOut
from tiltflow.npz import load_npz, save_npz
from tiltflow.settings import flat, override

_FORMAT = 1
_HEAD = "head"


@dataclass(frozen=True)
class Origin:
    """Where the points of a fit are from, for what is written beside its samples."""

    source: str = ""
    """Their file."""
    names: tuple[str, ...] = ()
    """Of the coordinates; empty where the file names none."""
    held: HeldOut | None = None
    """Rows that were kept from training."""


_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Problem, Whiten, Quantile, Lattice, Origin, HeldOut)
}


def save_model(fitted: Fitted, path: Path, origin: Origin | None = None) -> None:
    """Write a fitted method to an npz file: with it the standardised rows and their energies.

    An energy that was given as a function is not stored: `load_model` is to be given it again.
    """
    arrays = dict[str, np.ndarray]()
    head = {
        "format": _FORMAT,
        "method": fitted.method.name,
        "config": flat(fitted.config),
        "seed": fitted.seed,
        "seconds": fitted.seconds,
        "losses": fitted.losses,
        "notes": fitted.notes,
        "function": fitted.problem.energy is not None,
        "problem": _packed(replace(fitted.problem, energy=None), arrays),
        "origin": _packed(origin or Origin(), arrays),
        "networks": {
            name: [_packed(np.asarray(leaf), arrays) for leaf in jax.tree.leaves(network)]
            for name, network in fitted.networks.items()
        },
    }
    arrays[_HEAD] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with atomic_file(path) as file:
        save_npz(file, arrays)


def load_model(path: Path, energy: Callable[[Any], Any] | None = None) -> tuple[Fitted, Origin]:
    """A fitted method that `save_model` wrote, and the origin of its points.

    `energy` is the function of the points, where one was given to the fit. Raises UserError for a file that
    is no model or is damaged, and for a function that is missing.
    """
    arrays = load_npz(path, _HEAD)
    try:
        head = json.loads(arrays[_HEAD].tobytes())
        if head["format"] != _FORMAT:
            raise UserError(f"its format is {head['format']!r}, and this version reads {_FORMAT}.")
        method = METHODS.find(head["method"])
        config = override(method.declared.config, head["config"])
        problem, origin = (_unpacked(head[name], arrays) for name in ("problem", "origin"))
        networks = {
            name: [_unpacked(leaf, arrays) for leaf in leaves] for name, leaves in head["networks"].items()
        }
        if head["function"] and energy is None:
            raise UserError("its energy is a function of the points: give it again, energy=….")
        problem = replace(problem, energy=energy if head["function"] else None)
        trainer = Trainer(config, trained=networks)
        outcome = outcome_of(method, problem, config, jax.random.key(head["seed"]), trainer)
        told = head["seconds"], head["losses"], tuple(head["notes"])
        return Fitted(method, config, problem, outcome, *told, head["seed"], trainer.networks), origin
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is no model that `tiltflow guide` wrote, or is damaged "
            f"({type(error).__name__}: {error})."
        ) from error
    except UserError as error:
        raise UserError(f"{path} cannot be used: {error}") from error


def _packed(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON, its arrays by their names in `arrays`."""
    if isinstance(value, np.ndarray):
        name = f"array-{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if is_dataclass(value):
        named = {field.name: _packed(getattr(value, field.name), arrays) for field in fields(value)}
        return {"kind": type(value).__name__, **named}
    return [_packed(entry, arrays) for entry in value] if isinstance(value, tuple) else value


def _unpacked(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return tuple(_unpacked(entry, arrays) for entry in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    named = {name: _unpacked(entry, arrays) for name, entry in value.items() if name != "kind"}
    return _KINDS[value["kind"]](**named)

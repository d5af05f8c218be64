"""The user's files behind `tiltflow guide`: which columns are the points, and which the energies."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.errors import UserError
from tiltflow.guidance.methods import METHODS

if TYPE_CHECKING:
    from tiltflow.cli.guide import Guide
    from tiltflow.data.points import Table
    from tiltflow.guidance.problem import Problem
    from tiltflow.guidance.saved_model import Origin

_ROLES = ("energy", "score", "labels", "condition")


def read_problem(guide: "Guide") -> tuple["Problem", Any, "Origin"]:
    """The problem of the files, the conditions to sample at, and what is known of the points.

    Raises UserError naming the file and column that cannot be used.
    """
    import numpy as np

    from tiltflow.data.points import read_table
    from tiltflow.guidance.problem import make_problem
    from tiltflow.guidance.saved_model import Origin
    from tiltflow.guidance.verdict import HeldOut, split

    whole_table = table = read_table(guide.data)
    columns: dict[str, Any] = dict.fromkeys(_ROLES)
    for name in _ROLES:
        where = getattr(guide, name)
        if where is None:
            continue
        if Path(where).is_file():
            columns[name] = read_table(Path(where)).join()
        elif Path(where).suffix in (".npy", ".npz", ".csv", ".tsv") and where not in table.blocks:
            raise UserError(f"--{name}: {where} is not a file.")
        else:
            columns[name] = whole_table.take(where)[0]
            table = table.take(where)[1] if where in table.blocks else table
    table = _chosen(whole_table, guide.columns) if guide.columns else _unclaimed(table, guide)
    points, names = table.join(), _names(table)
    energy = columns["energy"] if columns["score"] is None else -columns["score"]
    beta, target = guide.beta, guide.target_ess
    declared = METHODS.find(guide.method).declared
    if not declared.tilts:
        energy, beta, target = np.zeros(len(points)), 0.0, None
    elif beta is None and target is None:
        target = 0.1
    arrays: dict[str, Any] = {"points": points, "energy": energy, "labels": columns["labels"]}
    given: dict[str, Any] = {"beta": beta, "target_ess": target, "condition": columns["condition"]}
    given["transform"] = guide.transform
    at = None if guide.at is None else read_conditions(guide.at)
    whole = make_problem(**arrays, **given)  # what is wrong with the files is told with their own row numbers
    if not declared.new_points or at is not None or int(guide.held_out * len(points)) == 0:
        return whole, at, Origin(str(guide.data), names)
    kept, out = split(len(points), guide.held_out, guide.seed)
    held = HeldOut(points[out], np.reshape(energy, -1)[out])
    rows: dict[str, Any] = {name: None if values is None else values[kept] for name, values in arrays.items()}
    return make_problem(**rows, **given), at, Origin(str(guide.data), names, held)


def read_conditions(path: Path) -> Any:
    """The conditions to sample at: a row for each sample, or one for all of them."""
    from tiltflow.data.points import read_table

    rows = read_table(path).join()
    return rows[0] if len(rows) == 1 else rows


def _chosen(table: "Table", names: tuple[str, ...]) -> "Table":
    """The columns of these names alone, in this order."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"--columns names {twice[0]} twice. Name each column of the points once.")
    return type(table)(table.path, {name: table.take(name)[0] for name in names})


def _unclaimed(table: "Table", guide: "Guide") -> "Table":
    """The columns that no option has taken. Raises UserError for one that by its name is no coordinate."""
    for role in _ROLES:
        where = getattr(guide, role)
        wrong = {role, role.removesuffix("s"), Path(where).stem.lower() if where else role}
        found = [name for name in table.blocks if name.lower() in wrong]
        if found and len(table.blocks) > 1:
            raise UserError(
                f"{guide.data} has a column {found[0]!r} that no option reads: it would be a coordinate "
                f"of the points. Name their columns with --columns, or read it with --{role} {found[0]}."
            )
    return table


def _names(table: "Table") -> tuple[str, ...]:
    """The names of the coordinates; none where the columns are only numbered."""
    if all(name.isdigit() for name in table.blocks):
        return ()
    return tuple(
        name if block.shape[1] == 1 else f"{name}[{number}]"
        for name, block in table.blocks.items()
        for number in range(block.shape[1])
    )

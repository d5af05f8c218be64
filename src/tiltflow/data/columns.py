"""Which column of a user's log is what: as the user says it, or as its name tells."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, NamedTuple

from tiltflow.errors import UserError, nearest

_Entries = tuple[float, ...]

# What a column is for, and what it is called where the user does not say. Several columns make one vector
# for the first three; a mask is 0 where an episode truly ends.
_NAMES: dict[str, tuple[str, ...]] = {
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "act", "acts"),
    "next_observations": ("next_observations", "next_observation", "next_obs"),
    "rewards": ("rewards", "reward", "rew", "next.reward"),
    "terminations": ("terminations", "terminals", "terminated", "terminal", "is_terminal"),
    "truncations": ("truncations", "truncated", "timeouts", "timeout"),
    "ends": ("ends", "is_last"),
    "masks": ("masks", "mask"),
    "dones": ("dones", "done", "next.done"),
    "episode": (
        "episode_index", "episode_id", "episode_ids", "episode", "episode_lengths", "episode_ends", "traj_id",
        "trajectory_id",
    ),
    "time": ("timestamp", "timestamps", "time", "t"),
    "success": ("success", "successes", "is_success", "next.success"),
}  # fmt: skip
ROLES = tuple(_NAMES)
VECTORS = ROLES[:3]
BOUNDS = ("action_low", "action_high")
HOW_TO_REWARD = (
    "Name their column with --columns rewards=COLUMN, or a goal with --reward (success, or a comparison such "
    'as "distance<0.05")'
)
HOW_TO_END = "Say where episodes end (--columns ends=COLUMN or episode=COLUMN)"
_HEARD = ("rewards", "terminations", "truncations", "ends", "masks", "dones")
"""Roles whose column, where it is called so, is not passed over because it cannot be read."""
_SEEN = ("rewards", "time", "success")
"""What a policy may see as well: columns of these roles may be among the observations."""
# Numbers that only say where a row stands.
_BOOKKEEPING = ("index", "frame_index", "task_index", *BOUNDS)


class LogColumn(NamedTuple):
    """What a log says of one of its columns before it is read."""

    rows: int | None
    shape: tuple[int, ...]
    """Of a row."""
    dtype: str
    unusable: str = ""
    """Why it cannot be read, where it cannot."""

    @property
    def is_image(self) -> bool:
        return self.dtype in ("image", "video") or (self.dtype == "uint8" and len(self.shape) == 3)

    def __str__(self) -> str:
        size = "×".join(map(str, (*([] if self.rows is None else [self.rows]), *self.shape)))
        return f"{size} {self.dtype}".strip()


@dataclass(frozen=True)
class ColumnChoice:
    """What a user says of the columns of a log. Whatever is left open, names and values decide."""

    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns, or patterns of their names (`obs_*`), that are the observations and so on; () for none."""
    reward: str | None = None
    """A column, `success`, or a comparison such as `distance<0.05`, which stands for the rewards."""
    bounds: tuple[_Entries, _Entries] | None = None
    """The lowest and the highest action, one number or one of each entry."""

    def over(self, other: "ColumnChoice") -> "ColumnChoice":
        """This choice, and what it leaves open as in the other."""
        return ColumnChoice(
            {**other.roles, **self.roles}, self.reward or other.reward, self.bounds or other.bounds
        )


def column_choice(columns: str | None, reward: str | None, action_bounds: str | None) -> ColumnChoice:
    """What the options --columns, --reward and --action-bounds say. Raises UserError for what they cannot.

    `columns` is as in "observations=obs/pos+obs/grip,actions=act_*,rewards=r", `action_bounds` as in "-2 2"
    or "-1,-2 1,2".
    """
    roles: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (columns or "").split(",")):
        role, equals, names = part.partition("=")
        if not equals:
            raise UserError(f"--columns {columns}: {part!r} is no ROLE=COLUMN, as in observations=obs.")
        roles[column_role(role.strip(), "--columns")] = tuple(filter(None, map(str.strip, names.split("+"))))
    sides = (action_bounds or "").split()
    if action_bounds is not None and len(sides) != 2:
        raise UserError(
            f"--action-bounds {action_bounds}: give the lowest and the highest action, as in "
            "--action-bounds -2 2 or, for each entry, --action-bounds -1,-2 1,2."
        )
    bounds = None
    if sides:
        low, high = (read_entries(side.split(","), "--action-bounds") for side in sides)
        bounds = checked_bounds(low, high, "--action-bounds")
    return ColumnChoice(roles, reward, bounds)


def resolve_columns(
    choice: ColumnChoice, there: Mapping[str, LogColumn]
) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, str]]]:
    """The columns of each role, chosen or guessed by name, and (role, fault) of those that are not there."""
    found: dict[str, tuple[str, ...]] = {}
    faults = []
    for role, patterns in choice.roles.items():
        names: list[str] = []
        for pattern in patterns:
            matching = [pattern] if pattern in there else [n for n in there if fnmatchcase(n, pattern)]
            if not matching:
                faults.append((role, f"{pattern!r} is not there.{nearest(pattern, there)} {holds(there)}"))
            names += [name for name in matching if name not in names]
        if len(names) > 1 and role not in VECTORS:
            faults.append((role, f"is one column, not {len(names)}: {', '.join(names)}."))
        found[role] = tuple(names)
    rewards = {"rewards": (choice.reward,)} if choice.reward and choice.reward in there else {}
    faults += _shared_columns({**found, **rewards})
    taken = {name for names in found.values() for name in names} | set(_BOOKKEEPING)
    for role in ROLES:
        if role not in found:
            free = {name: column for name, column in there.items() if name not in taken}
            # The next observations are of the same columns as those that are taken.
            alike = tuple(f"next_{name}" for name in found.get("observations", ()))
            if role == "next_observations" and alike and (set(alike) <= free.keys() or "/" in alike[0]):
                found[role] = alike if set(alike) <= free.keys() else ()
            else:
                found[role] = _guess(role, free)
            taken |= set(found[role])
    for role in _HEARD:
        left = {name: column for name, column in there.items() if name not in taken and not column.is_image}
        left = {name: column._replace(unusable="") for name, column in left.items()}
        if not (found[role] or role in choice.roles or (role == "rewards" and choice.reward)):
            faults += [
                (role, f"{name!r} {there[name].unusable} Mend it, or leave it out (--columns {role}=).")
                for name in _guess(role, left)
            ]
    for role in VECTORS[:2]:
        if not found[role] and role not in {fault[0] for fault in faults}:
            usable = {name: column._replace(unusable="") for name, column in there.items()}
            if spoilt := [name for name in _guess(role, usable) if there[name].unusable]:
                faults.append((role, f"{spoilt[0]!r} {there[spoilt[0]].unusable}"))
                continue
            faults.append((role, f"is missing. {holds(there)} Say which are: --columns {role}=COLUMN."))
    return found, faults


def _shared_columns(chosen: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(role, fault) of columns that are given to two roles which cannot share one."""
    faults = []
    for first, second in combinations(chosen, 2):
        both = [name for name in chosen[first] if name in chosen[second]]
        if both and not ("observations" in (first, second) and {first, second} & {*_SEEN}):
            text = f"{both[0]!r} is said to be the {first} too. Name each column once, for what it is."
            faults.append((second, text))
    return faults


def unread_columns(there: Mapping[str, LogColumn], roles: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The columns that no role has taken."""
    taken = {name for names in roles.values() for name in names} | set(_BOOKKEEPING)
    return [name for name in there if name not in taken]


def guess_by_shape(choice: ColumnChoice, there: Mapping[str, LogColumn]) -> ColumnChoice:
    """The choice, with the observations and actions that names do not tell guessed by shape.

    Of two columns of vectors of floating point the longer one is taken for the observations.
    """
    found, _ = resolve_columns(choice, there)
    taken = {name for names in found.values() for name in names}
    vectors = [
        name
        for name, column in there.items()
        if name not in taken and len(column.shape) == 1 and column.dtype.startswith("float")
    ]
    vectors.sort(key=lambda name: there[name].shape[0], reverse=True)
    roles = dict(choice.roles)
    for role, pick in (("observations", 0), ("actions", -1)):
        if not found[role] and vectors:
            roles[role] = (vectors.pop(pick),)
    return replace(choice, roles=roles)


def flag_roles() -> dict[str, str]:
    """The names of columns that say where episodes end, and what each says of an end."""
    roles = ("terminations", "truncations", "ends", "masks", "dones")
    return {name: role for role in roles for name in _NAMES[role]}


def holds(there: Mapping[str, LogColumn]) -> str:
    """The sentence that names the columns of a log and their shapes."""
    shown = [f"{name} ({column})" for name, column in list(there.items())[:40]]
    more = f" and {len(there) - 40} more" if len(there) > 40 else ""
    return f"It holds {', '.join(shown)}{more}." if shown else "It holds no columns."


def _guess(role: str, there: Mapping[str, LogColumn]) -> tuple[str, ...]:
    """The columns that the first of the role's names fits: `obs` itself, or its parts obs/x, obs_0, obs.y."""
    for name in _NAMES[role]:
        pattern = re.compile(rf"{re.escape(name)}([/._\[ -].*|\d+)?" if role in VECTORS else re.escape(name))
        names = tuple(
            column
            for column, what in there.items()
            if pattern.fullmatch(column) and not what.unusable and len(what.shape) < 2
        )
        if names:
            return names
    return ()


def column_role(name: str, where: str) -> str:
    for role, names in _NAMES.items():
        if name == role or (name in names and role not in ("masks", "dones", "episode")):
            return role
    raise UserError(
        f"{where}: {name!r} is nothing that a column can be.{nearest(name, ROLES)} Known: {', '.join(ROLES)}."
    )


def read_entries(values: Sequence[Any], where: str) -> _Entries:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {list(values)} are no numbers.") from error


def checked_bounds(low: _Entries, high: _Entries, where: str) -> tuple[_Entries, _Entries]:
    size = max(len(low), len(high))
    low, high = (side * size if len(side) == 1 else side for side in (low, high))
    if len(low) != len(high):
        raise UserError(f"{where}: {len(low)} lowest and {len(high)} highest values; give as many of both.")
    if not all(-float("inf") < one < other < float("inf") for one, other in zip(low, high, strict=True)):
        raise UserError(f"{where}: each lowest value must be a number below the highest: {low}, {high}.")
    return low, high

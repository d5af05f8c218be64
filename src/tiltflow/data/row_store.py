"""Where the rows of a data set are kept while its files are read: in memory, or on the disk."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from tiltflow.data.formats import FileColumns
from tiltflow.data.transitions import Spec, Transitions
from tiltflow.errors import UserError
from tiltflow.sizes import memory, text

Part = Callable[[], Transitions]
"""Makes the transitions of a file of its columns."""


class RowStore(ABC):
    """What a load does with the columns of each file, and with the transitions of all."""

    piecewise: bool
    """Whether logs of many files are read file by file."""

    @abstractmethod
    def expect(self, places: Sequence[Path]) -> None:
        """These files are going to be read, too."""

    @abstractmethod
    def keep(self, columns: FileColumns) -> FileColumns:
        """The columns of a file that has been read, for as long as the load takes."""

    @abstractmethod
    def join(self, parts: Sequence[Part], equally: bool = False) -> Transitions:
        """All rows of the parts, or the first ones, equally many of each; a cut ends an episode."""


@final
class InMemory(RowStore):
    """Everything in memory."""

    piecewise = False

    def expect(self, places: Sequence[Path]) -> None:
        """Raises UserError where they are larger than the memory."""
        size = sum(place.stat().st_size for place in places if place.is_file())
        if size > memory():
            raise UserError(
                f"The {len(places)} files from {places[0]} on are {text(size)}, and this machine has "
                f"{text(memory())} of memory. Convert them, file by file, with `tiltflow data shard PATH "
                "OUT`, and give --data OUT."
            )

    def keep(self, columns: FileColumns) -> FileColumns:
        """As they are."""
        return columns

    def join(self, parts: Sequence[Part], equally: bool = False) -> Transitions:
        """As `RowStore.join`."""
        made = [part() for part in parts]
        if len(made) == 1:
            return made[0]
        refuse_unlike(part.spec for part in made)
        if equally:
            made = [first_rows_of(part, min(map(len, made))) for part in made]
        columns = [part.columns() for part in made]
        return Transitions(**{key: np.concatenate([column[key] for column in columns]) for key in columns[0]})


IN_MEMORY = InMemory()


def refuse_unlike(specs: Iterable[Spec]) -> None:
    """Raise UserError where observations or actions of files are of several sizes."""
    if len(sizes := {spec[:2] for spec in specs}) > 1:
        shown = "; ".join(f"{o} and {a}" for o, a in sorted(sizes))
        raise UserError(
            f"The files do not go together: they have observations and actions of {shown} entries. Give "
            "--data files of one kind."
        )


def first_rows_of(part: Transitions, count: int) -> Transitions:
    """So many rows; the last one ends an episode."""
    part = part.take(slice(count))
    return replace(part, ends=np.append(part.ends[:-1], True))

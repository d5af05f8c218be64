"""The options that say what the columns of own data are, for the verbs that read data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tiltflow.data.columns import ColumnChoice, column_choice


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """What a user says of the columns of own data."""

    columns: Annotated[str | None, tyro.conf.arg(metavar="ROLE=COLUMN[+COLUMN …][,…]")] = None
    """Which columns are what, where their names do not tell, as in
    observations=obs/pos+obs/grip,actions=act_*,rewards=r,terminations=done."""
    reward: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """What stands for the rewards: a column, `success`, or a goal such as "distance<0.05"."""
    action_bounds: Annotated[str | None, tyro.conf.arg(metavar="LOW HIGH")] = None
    """The lowest and the highest action, each one number or one of every entry: -2 2, or -1,-2 1,2. Without
    it they come from the data."""

    def choice(self) -> ColumnChoice:
        """What the options say. Raises UserError for what they cannot."""
        return column_choice(self.columns, self.reward, self.action_bounds)


def join_action_bounds(arguments: Sequence[str]) -> list[str]:
    """The arguments with the two values of `--action-bounds LOW HIGH`, which may begin with −, as one."""
    joined, words = [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("--action-bounds", "--action_bounds"):
            values = [words.pop(0) for _ in words[:1]]
            if values and " " not in values[0] and words and not words[0].startswith("--"):
                values.append(words.pop(0))
            word = f"--action-bounds={' '.join(values)}"
        joined.append(word)
    return joined

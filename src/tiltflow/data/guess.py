"""`tiltflow data describe`: which columns data have, what each is taken for, and what is left to say."""

from dataclasses import dataclass, replace
from pathlib import Path

from tiltflow.data.column_file import choice_file, choice_text, common_folder, stored_choice
from tiltflow.data.columns import ColumnChoice, guess_by_shape, resolve_columns
from tiltflow.data.locate import data_places, minari_inside, unread_below
from tiltflow.data.logs import open_log
from tiltflow.errors import UserError
from tiltflow.files import write_text

_QUESTIONS = {
    "observations": "no column was found for the observations: observations = [\"…\"].",
    "actions": "no column was found for the actions: actions = [\"…\"].",
    "rewards": "no rewards: only bc-flow and bc-diffusion train. rewards = \"…\", or reward = \"success\".",
    "episode": "nothing says where episodes end: episode = \"…\" (a number, or lengths), or ends = \"…\".",
    "bounds": "no bounds of actions: values beyond ±1 are scaled by their range. action_low = […], …",
}  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """What was guessed."""

    rows: list[tuple[str, str, str]]
    """Each column, its shape and what it is taken for."""
    text: str
    """The guess as TOML."""
    questions: list[str]
    """What could not be guessed, and how to say it."""
    file: Path

    def write(self) -> Path:
        """Write the TOML beside the data. Raises UserError where one that names the actions is there."""
        if (
            self.file.exists()
            and (there := self.file.read_text(encoding="utf-8")) != self.text
            and "\nactions = " in there
        ):
            raise UserError(
                f"{self.file} is there already and says something else. Change it, or delete it first."
            )
        write_text(self.file, self.text)
        return self.file


def guess_choice(path: Path, given: ColumnChoice) -> Guess:
    """What the columns of the first file of a path are, by what is given, by names and by shapes.

    Raises UserError where there is no data, or a column that is named is not there.
    """
    places = data_places(path)
    if not places or not places[0].exists():
        raise UserError(f"{path} holds no data. {unread_below(path)}".rstrip())
    if minari_inside(places[0]):
        raise UserError(f"{path} is a Minari data set, which says what its columns are.")
    log = open_log(places[0])
    choice = guess_by_shape(given.over(stored_choice(places[0], common_folder(places))), log.columns)
    roles, faults = resolve_columns(choice, log.columns)
    if choice.reward:
        roles["rewards"] = ()
    for role, text in faults:
        if choice.roles.get(role):
            raise UserError(f"{places[0]}, {role}: {text}")
    taken = {name: role for role, names in roles.items() for name in names}
    rows = [
        (name, str(column), column.unusable or taken.get(name, "not read"))
        for name, column in log.columns.items()
    ]
    if choice.bounds is None and log.bounds is not None:
        low, high = (tuple(map(float, side)) for side in log.bounds)
        choice = replace(choice, bounds=(low, high))
    unread = [name for name in taken if name in log.columns and log.columns[name].unusable]
    missing = [role for role in ("observations", "actions") if not roles[role]]
    if not (roles["rewards"] or choice.reward):
        missing.append("rewards")
    marks = ("episode", "ends", "truncations", "terminations", "dones")
    if not (log.episodes or len(places) > 1 or any(roles[role] for role in marks)):
        missing.append("episode")
    if choice.bounds is None:
        missing.append("bounds")
    # A folder's file is for all of its files; that of a pattern lies beside them.
    file = choice_file(places[0] if len(places) == 1 and not path.is_dir() else path)
    if len(places) > 1 and not path.is_dir():
        file = choice_file(common_folder(places))
    questions = [f"{name} cannot be read: it {log.columns[name].unusable}" for name in unread]
    questions += [_QUESTIONS[key] for key in missing]
    return Guess(rows, choice_text(roles, choice), questions, file)

"""Flags of a task's files under other names than their layout has: taken where it lacks them, or compared."""

from collections.abc import Mapping

import numpy as np

from tiltflow.data.audit import FLAGS, Finding
from tiltflow.data.columns import flag_roles
from tiltflow.data.ends import Unfit, flag_column
from tiltflow.data.formats import FileColumns

_TRUE_ENDS = ("terminations", "masks")


def take_flags(file: str, columns: FileColumns, others: Mapping[str, np.ndarray]) -> list[Finding]:
    """Add time limits of another name to the columns; errors of flags that say more than the columns do."""
    findings = []
    for name, values in others.items():
        role, rows = flag_roles()[name], len(columns.get("actions", ()))
        try:
            marks = flag_column(name, [values], rows)
        except Unfit as fault:
            findings.append(Finding("error", file, name, None, str(fault)))
            continue
        if len(marks) != rows:
            findings.append(Finding("error", file, name, None, f"has {len(marks)} rows of {rows}."))
            continue
        marks = ~marks if role == "masks" else marks
        if role == "truncations" and not {"timeouts", "ends"} & columns.keys():
            columns["timeouts"] = marks
            findings.append(Finding("note", file, name, None, "read as timeouts."))
            continue
        told = ("terminals", "terminations") if role in _TRUE_ENDS else FLAGS
        known = np.logical_or.reduce([columns[key].astype(bool) for key in told if key in columns] or [marks])
        lost = marks & ~known
        if role not in _TRUE_ENDS:
            lost[-1:] = False  # the last row of a file is an end in any case
        if lost.any():
            what = "a true end" if role in _TRUE_ENDS else "an end"
            text = (
                f"says that it is {what}, and {', '.join(key for key in told if key in columns)} that it is "
                f"not ({int(lost.sum())} such rows). Put one of them right, or leave {name} out."
            )
            findings.append(Finding("error", file, name, int(np.argmax(lost)), text))
    return findings

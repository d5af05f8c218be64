"""Join the outputs of `pip freeze` on Python 3.11 and on 3.12 into constraints.txt, versions only.

python scripts/constraints.py freeze-3.11.txt freeze-3.12.txt > constraints.txt
"""

import sys
from pathlib import Path

HEADER = """\
# Versions that are tested together; extras and development tools included. Made by scripts/constraints.py.
# JAX, NumPy, SciPy and contourpy have newer releases for Python 3.12 and up than for 3.11."""


def pins(path: str) -> dict[str, str]:
    """The versions of a `pip freeze`, by package; editable and local installs are left out."""
    lines = Path(path).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and line[0].isalnum())


def main() -> None:
    older, newer = map(pins, sys.argv[1:])
    print(HEADER)
    for name in sorted(older | newer, key=str.lower):
        versions = older.get(name), newer.get(name)
        if None in versions or versions[0] == versions[1]:
            print(f"{name}=={versions[0] or versions[1]}")
        else:
            print(f'{name}=={versions[0]} ; python_version < "3.12"')
            print(f'{name}=={versions[1]} ; python_version >= "3.12"')


main()

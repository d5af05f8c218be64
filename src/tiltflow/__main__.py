"""`python -m tiltflow` is the command `tiltflow`."""

import os
import sys

# `python -m` looks into the current folder first, which may be somebody else's run.
if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
    del sys.path[0]

from tiltflow.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

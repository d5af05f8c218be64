"""`python -m tiltflow` is the command `tiltflow`."""

from tiltflow.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

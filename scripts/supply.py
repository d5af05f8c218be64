"""What is shipped: is the wheel the sources and nothing else, does it install, do the lowest versions work?

    python scripts/supply.py [--lowest]

Builds the wheel, compares its files with those that git knows, installs it into a new environment with the
pinned versions (with --lowest: with the lowest ones that pyproject.toml allows), asks `pip check`, and trains
twenty steps there. Needs the network; prints a line for each check and ends with exit code 1 where one fails.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
TRAINING = """
import numpy as np, tiltflow
draw, n = np.random.default_rng(0), 400
timeouts = np.arange(n) % 50 == 49
data = tiltflow.Dataset(draw.normal(size=(n, 3)), draw.uniform(-1, 1, (n, 1)), rewards=draw.normal(size=n),
                        timeouts=timeouts)
run = tiltflow.train("iql", data, steps=20, chunk=10, evaluations=1, out="run", quiet=True)
assert np.isfinite(run.policy()(np.zeros(3))).all()
"""


def wheel_faults(wheel: Path) -> list[str]:
    """Files that are in the wheel or in git, and not in both."""
    listed = ["git", "-C", str(ROOT), "ls-files", "src/tiltflow"]
    tracked = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    expected = {path.removeprefix("src/") for path in tracked}
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    (info,) = {name.partition("/")[0] for name in there if ".dist-info/" in name}
    expected |= {f"{info}/{name}" for name in METADATA}
    return sorted(there ^ expected)


def lowest() -> list[str]:
    """The direct dependencies at their lowest versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [requirement.replace(">=", "==") for requirement in project["dependencies"]]


def check(what: str, *command: str, cwd: Path) -> bool:
    """Run a command and say whether it went well, and what it said where not."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {what}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-2000:])
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Check what is shipped.")
    parser.add_argument("--lowest", action="store_true", help="install the lowest versions that are allowed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pip = (sys.executable, "-m", "pip")
        sound = [check("pip check here", *pip, "check", cwd=place)]
        if not check("build", *pip, "wheel", "--no-deps", "-w", str(place), str(ROOT), cwd=place):
            return 1
        (wheel,) = place.glob("*.whl")
        faults = wheel_faults(wheel)
        print(f"{'FAILED: ' + ', '.join(faults) if faults else 'ok: the wheel holds the sources alone'}")
        venv.create(place / "env", with_pip=True)
        python = str(place / "env/bin/python")
        versions = lowest() if given.lowest else ["-c", str(ROOT / "constraints.txt")]
        install = (python, "-m", "pip", "install", "-q", str(wheel), *versions)
        if not check("install", *install, cwd=place):
            return 1
        sound += [
            not faults,
            check("pip check there", python, "-m", "pip", "check", cwd=place),
            check("tiltflow --version", str(place / "env/bin/tiltflow"), "--version", cwd=place),
            check("a training", python, "-c", TRAINING, cwd=place),
        ]
    return int(not all(sound))


if __name__ == "__main__":
    sys.exit(main())

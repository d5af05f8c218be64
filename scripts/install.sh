#!/bin/sh
# Make .venv with everything that the demo and the tests need. Wants Python 3.11 to 3.13 and pip, no more.
set -eu
cd "$(dirname "$0")/.."

in_range() { # in_range PYTHON LAST: does PYTHON run, and is it 3.11 up to 3.LAST?
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null
}

find_python() {
    # OGBench cannot be installed on 3.13: one of its dependencies has no wheel there.
    for python in python3 python3.12 python3.11; do
        if in_range "$python" 12; then echo "$python"; return; fi
    done
    for python in python3 python3.13; do
        if in_range "$python" 13; then
            echo "Python 3.13: installing without OGBench, which needs 3.11 or 3.12." >&2
            echo "$python"; return
        fi
    done
    echo "No Python 3.11, 3.12 or 3.13 found. Name one: make PYTHON=/path/to/python3.12 ..." >&2
    exit 2
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=${PYTHON:-$(find_python)}
    echo "Making .venv with $("$python" --version)"
    # Some distributions leave ensurepip out of Python; pip itself can then fill the environment.
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        "$python" -m venv --clear --without-pip .venv
        "$python" -m pip --python .venv/bin/python install --quiet pip
    fi
fi

echo "Installing tiltflow and its dependencies into .venv (first time: about 1.2 GB on disk, some minutes)"
.venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
.venv/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[all]" --group dev

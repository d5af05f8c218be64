#!/bin/sh
# What bits that are the same each time cost on a GPU: the speed of steps without and with them, about 4 minutes.
#
#     sh benchmarks/deterministic.sh OUT
set -e
out=${1:?folder of the numbers}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
steps="--rows 1000000 --only steps --sizes 512x4 --seeds 1 8 --algorithms qipo-ot fql --no-reference --minutes 2"
python3 -m benchmarks $steps --out "$out/usual.json"
XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true" python3 -m benchmarks $steps --out "$out/deterministic.json"

#!/bin/sh
# The table of a GPU in about 8 minutes: 1, 8 and 32 seeds, 512x4 and 256x3, every agent. No simulator is needed.
#
#     sh benchmarks/gpu.sh OUT [MINUTES]
#
# After so many minutes (5) it begins no more of the table, and says what is missing.
set -e
out=${1:?folder of the numbers}
minutes=${2:-5}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
steps="--rows 1000000 --only steps memory"
python3 -m benchmarks $steps --sizes 512x4 256x3 --seeds 8 1 32 --no-reference --minutes "$minutes" --out "$out/gpu.json"
python3 -m benchmarks $steps --sizes 512x4 --seeds 8 --algorithms qipo-ot fql --out "$out/gpu-by-python.json"
python3 -m benchmarks --only latency refresh --out "$out/gpu-others.json"

#!/bin/sh
# The table of a GPU in at most 8 minutes: 1, 8 and 32 seeds, 256x3 and 512x4, every agent. No simulator is needed.
#
#     sh benchmarks/gpu.sh OUT [MINUTES]
set -e
out=${1:?folder of the numbers}
minutes=${2:-6}
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
more="--rows 1000000 --only steps"
python3 -m benchmarks $more --sizes 512x4 256x3 --seeds 8 1 32 --no-reference --minutes "$minutes" --out "$out/gpu.json"
python3 -m benchmarks $more --sizes 512x4 --seeds 8 1 --algorithms qipo-ot fql --out "$out/gpu-by-python.json"
python3 -m benchmarks --only latency refresh memory --out "$out/gpu-others.json"

"""What the precision of matrix products on a GPU costs, and what it changes in scores.

    python benchmarks/precision.py OUT --data FOLDER [--task pointmaze/medium-v0] [--seeds 8] [--steps 100000]
    for precision in auto float32 tf32 bf16; do tiltflow evaluate OUT/$precision; done
    tiltflow compare OUT/* --out OUT/compare

The first line needs a GPU and no simulator: it trains QIPO-OT's preset of the task in each precision, `auto`
twice, and prints the seconds, the last metrics and whether the second time gave the same bits. The others
play, on any machine.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.agents.registry import preset
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import TrainConfig
from tiltflow.training.run import train

ALGORITHM = "qipo-ot"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--data", type=Path, required=True, help="data of the task, as `data collect` writes")
    parser.add_argument("--task", default="pointmaze/medium-v0")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100_000, help="gradient steps of all stages")
    arguments = parser.parse_args()

    config = TrainConfig(
        ALGORITHM,
        arguments.task,
        preset(ALGORITHM, arguments.task),
        data=str(arguments.data),
        seeds=arguments.seeds,
        steps=arguments.steps,
        play=False,
        parallel="vmap",
    )
    for name in ("auto", "again", "float32", "tf32", "bf16"):
        precision: Any = "auto" if name == "again" else name
        run = RunFolder(train(replace(config, precision=precision), arguments.out / name))
        last = run.metrics()[-1]["metrics"]
        metrics = {key: round(float(np.mean(values)), 4) for key, values in last.items()}
        print(name, json.dumps({"seconds": run.read_time(), "metrics": metrics}), flush=True)
    one, other = ((arguments.out / name / "actions.npz").read_bytes() for name in ("auto", "again"))
    print("auto twice: the same actions" if one == other else "auto twice: OTHER actions")


if __name__ == "__main__":
    main()

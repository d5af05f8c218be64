"""The bits of a short seeded training of every algorithm: whether a change of the code changed a result.

    python benchmarks/bits.py OUT                     # trains, and writes OUT/bits.json
    python benchmarks/bits.py OUT --against BITS.json # and exits 1 where they are others

It goes by the command line alone, so that the program before a change and the one behind it can be asked the
same. A digest covers every metric, evaluation, action and parameter, whatever they are called. Bits depend on
the machine and the versions installed: both files have to come from one.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np

SMALL = {
    "flow.network.width": 16, "flow.network.depth": 2, "flow.num-steps": 2, "flow.batch-size": 32,
    "critic.network.width": 16, "critic.network.depth": 2, "critic.batch-size": 32,
    "critic.num-support-actions": 4, "actor.network.width": 16, "actor.network.depth": 2,
    "actor.batch-size": 32, "num-support-actions": 4, "num-candidates": 3, "refresh-every": 40,
    "improvement-batch-size": 32, "energy.width": 16, "energy.depth": 2, "energy-batch-size": 32,
}  # fmt: skip

LOSS_WEIGHTS = os.environ.get("LOSS_WEIGHTS", "loss-weights")
"""The choice's name; before it was called so: factors."""
VARIANTS = {
    "qipo-ot with its options": (
        "qipo-ot", {"beta": "auto", "split-ensemble": True, "continue-critic": True, "distill": True},
    ),
    "qipo-ot with every support action in the loss": ("qipo-ot", {"weights": LOSS_WEIGHTS}),
    "flowq on the path": ("flowq", {"reading": "path", "matched": "data", "schedule": "rational"}),
    "flowq beside its critic": (
        "flowq", {"reading": "velocity", "matched": "data", "critic.kind": "policy", "schedule": "learned"},
    ),
    "fql with an ensemble of ten": ("fql", {"critic.ensemble": 10, "critic.aggregate": "pessimistic"}),
}  # fmt: skip
ALGORITHMS = (
    "qipo-ot", "qipo-diff", "flowq", "qgpo", "iql", "fql", "ifql", "idql", "td3-bc", "rebrac", "flow-ql",
    "diffusion-ql", "bc-flow", "bc-diffusion",
)  # fmt: skip


def pendulum(path: Path) -> None:
    """Two episodes of uniformly random torques."""
    environment, random = gymnasium.make("Pendulum-v1"), np.random.default_rng(0)
    columns: dict[str, list] = {
        name: []
        for name in ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
    }
    for episode in range(2):
        observation, _ = environment.reset(seed=episode)
        over = False
        while not over:
            action = random.uniform(-1, 1, 1).astype(np.float32)
            following, reward, terminated, over, _ = environment.step(2 * action)
            row = (observation, action, np.float32(reward), following, terminated, over)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            observation = following
    np.savez(path, **{name: np.array(column) for name, column in columns.items()})


def flags(algorithm: str, settings: dict, environment: dict[str, str]) -> list[str]:
    """Those settings that the algorithm has, as words of the command line."""
    command = [sys.executable, "-m", "tiltflow", "train", algorithm, "--help"]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    known = {name: value for name, value in settings.items() if f"--set.{name} " in text}
    return [word for name, value in known.items() for word in (f"--set.{name}", str(value))]


def digest(run: Path) -> str:
    """Of everything that the run computed, whatever it is called and however long it took."""
    found = []
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        for line in (run / name).read_text().splitlines():
            record = json.loads(line)
            metrics = record.pop("metrics", {})
            kept = {key: record.get(key) for key in ("step", "score", "returns", "lengths")}
            found.append(json.dumps([kept, sorted(metrics.values())]))
    with np.load(run / "actions.npz") as stored:
        arrays = [stored[name] for name in sorted(stored.files)]
    with max(run.rglob("checkpoints/*.ckpt")).open("rb") as file:
        file.readline()  # the header
        while file.peek(1):
            arrays.append(np.load(file, allow_pickle=False))
    found += sorted(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays)
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", nargs="*", help="names to train; all without it")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "COLUMNS": "200", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    data = arguments.out / "pendulum.npz"
    pendulum(data)

    bits = {}
    for name, (algorithm, options) in {**{name: (name, {}) for name in ALGORITHMS}, **VARIANTS}.items():
        if arguments.only and name not in arguments.only:
            continue
        run = arguments.out / name.replace(" ", "-")
        command = [sys.executable, "-m", "tiltflow", "train", algorithm, "--task", "file/pendulum"]
        command += ["--env", "Pendulum-v1", "--data", str(data), "--out", str(run), "--steps", "150"]
        command += [
            "--chunk",
            "25",
            "--evaluations",
            "1",
            "--episodes",
            "2",
            "--seeds",
            "2",
            "--parallel",
            "vmap",
        ]
        command += flags(algorithm, {**SMALL, **options}, environment)
        if not (run / "result.json").exists():
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode and "does not read it" in done.stderr:  # it changed nothing where it was taken
                place = command.index("--set.critic.num-support-actions")
                del command[place : place + 2]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                print(done.stderr, file=sys.stderr)
                return 2
        bits[name] = digest(run)
        print(f"{name}: {bits[name]}", flush=True)
    (arguments.out / "bits.json").write_text(json.dumps(bits, indent=1) + "\n")
    if arguments.against is None:
        return 0
    before = json.loads(arguments.against.read_text())
    others = [name for name in bits if name in before and bits[name] != before[name]]
    print("the same bits" if not others else f"other bits: {', '.join(others)}")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())

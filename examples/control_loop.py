"""A control loop at a fixed rate against `tiltflow serve`, that prints how long an action takes.

    tiltflow serve RUN &
    python examples/control_loop.py --rate 50 --seconds 10

Put your robot in the place of `read_sensors` and `send_command`.
"""

import argparse
import time

import numpy as np
from policy_client import PolicyClient


def read_sensors(card: dict, random: np.random.Generator) -> np.ndarray:
    """An observation, its entries in the order of card["observation_names"]. Here: random numbers."""
    return random.standard_normal(len(card["observation_names"])).astype(np.float32)


def send_command(action: np.ndarray) -> None:
    """An action, its entries in the order of card["action_names"], in the data's units."""


def connected(address: str, token: str | None) -> PolicyClient:
    """A client, as soon as there is a server: it takes a while to load and compile its policy."""
    for _ in range(60):
        try:
            return PolicyClient(address, token)
        except ConnectionRefusedError:
            time.sleep(1.0)
    raise SystemExit(f"No server answers at {address}. Start one with: tiltflow serve RUN")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="ws://127.0.0.1:8000")
    parser.add_argument("--token", help="the first line of the server's --token-file")
    parser.add_argument("--rate", type=float, default=50.0, help="actions a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    policy = connected(arguments.address, arguments.token)
    print(f"{policy.card['algorithm']}: {policy.card['observation_names']} -> {policy.card['action_names']}")
    random, period = np.random.default_rng(0), 1.0 / arguments.rate
    taken, late, due = [], 0, time.perf_counter()
    for _ in range(round(arguments.seconds * arguments.rate)):
        observation = read_sensors(policy.card, random)
        began = time.perf_counter()
        send_command(policy(observation))
        now = time.perf_counter()
        taken.append(1e3 * (now - began))
        due += period
        late += now > due
        time.sleep(max(0.0, due - now))
    policy.close()
    p50, p99 = np.percentile(taken, [50, 99])
    print(f"{len(taken)} actions at {arguments.rate:g} Hz: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {late} late")


if __name__ == "__main__":
    main()

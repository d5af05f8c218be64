"""`tiltflow serve`: a policy that answers over a WebSocket, until it is stopped."""

import asyncio
import ipaddress
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.errors import UserError
from tiltflow.packages import need
from tiltflow.processes.stopping import REQUESTS


@dataclass(frozen=True)
class Serve:
    """Serve a policy over a WebSocket: observations in, actions out, in the units of the data.

    Ctrl-C or SIGTERM stops it. Only this machine can connect, unless --host says otherwise.
    """

    place: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder, or a file that `tiltflow export` wrote."""
    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 is every one of this machine."""
    port: int = 8000
    """The port; 0 is any that is free."""
    token_file: Path | None = None
    """File whose first line clients must send as their token."""
    seed: int | None = None
    """The seed of the run whose policy is served; without it its first."""
    noise: float | None = None
    """Noise temperature τ: actions start from τ·z, z ~ N(0, I); without it the run's own flow.play_noise."""
    best_of: int | None = None
    """Of so many actions of a flow or diffusion policy the one of highest Q is played."""
    critic: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run whose critic --best-of asks (same task, data and seeds), for policies that have none."""

    def run(self) -> None:
        """Load and compile the policy, then serve it until a signal comes."""
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port is {self.port}, but must be from 0 to 65535.")
        token = None if self.token_file is None else _read_token(self.token_file)
        need("websockets", "msgpack")
        from tiltflow.serving.compiled_policy import CompiledPolicy
        from tiltflow.serving.load_policy import load_policy
        from tiltflow.serving.policy_server import serve_policy
        from tiltflow.training.display import show_progress

        with show_progress() as observe:
            policy = load_policy(
                self.place,
                seed=self.seed,
                noise=self.noise,
                best_of=self.best_of,
                critic=self.critic,
                observe=observe,
            ).warm_up()

        def announce(port: int) -> None:
            card = policy.card
            print(
                f"{card.algorithm} on {card.task}, seed {card.seed}, step {card.step:,}, at "
                f"ws://{self.host}:{port}: {len(card.observation_names)} numbers in, "
                f"{len(card.action_names)} out. Ctrl-C stops it.",
                flush=True,
            )
            if token is None and not _is_loopback(self.host):
                print("Whoever reaches this address can connect: see --token-file.", file=sys.stderr)

        async def serve(policy: CompiledPolicy) -> int:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (n for n in REQUESTS if signal.getsignal(n) != signal.SIG_IGN):
                loop.add_signal_handler(number, stop.set)
            return await serve_policy(
                policy, host=self.host, port=self.port, token=token, stop=stop, announce=announce
            )

        print(f"Stopped after {asyncio.run(serve(policy)):,} messages.")


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").split("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {path} cannot be read: {error}") from error
    if not token:
        raise UserError(f"--token-file {path}: its first line is empty, but must be the token.")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(arguments: Sequence[str]) -> Serve:
    """Read the arguments behind `tiltflow serve`."""
    return tyro.cli(Serve, prog="tiltflow serve", args=arguments)

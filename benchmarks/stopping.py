"""Every request to stop, to every process, at every moment: does a training lose anything?

    python benchmarks/stopping.py OUT [SIGNAL …]                  all of them; half an hour on two cores
    python benchmarks/stopping.py one CONFIG RUN SIGNAL TO AT     a training that is asked to stop once

SIGNAL is SIGTERM, SIGINT or SIGHUP; TO is who gets it: the `parent`, one `child`, or `all` processes (twice,
as schedulers do); AT is the moment: a `chunk` of training, `drawing` support actions, `evaluating`, or
writing a `checkpoint`. Each must end with exit code 130 and a checkpoint, and resume to the bits of an
undisturbed training. The last rows close the terminal of a training.
"""

import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path

from small_runs import children, record_of, small, write_data

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")
TARGETS = ("parent", "child", "all")
MOMENTS = ("chunk", "drawing", "evaluating", "checkpoint")


def send(number: int, to: str) -> None:
    """Send the signal; to `all` twice, as schedulers do (a second Ctrl-C would mean impatience)."""
    targets = {"parent": [os.getpid()], "child": children()[:1] or [os.getpid()]}.get(to)
    if targets is None:
        targets = [*children(), os.getpid()]
        targets *= 1 if number == signal.SIGINT else 2
    for target in targets:
        os.kill(target, number)


def happens(event: dict, moment: str) -> bool:
    """Whether the event is the moment. Writing follows the evaluation, or the chunk, by a hair."""
    if moment in ("drawing", "evaluating"):
        return event["event"] == "activity" and moment in event["text"]
    return event["event"] == "chunk" and event["step"] >= 60


def stop_once(config_file: Path, run: Path, name: str, to: str, at: str) -> int:
    """Train until the moment, get the signal, and return the exit code of the command line."""
    from tiltflow.cli.failures import exit_code
    from tiltflow.files import read_json
    from tiltflow.processes.stopping import stopping_at_once
    from tiltflow.train_config import from_dict
    from tiltflow.training.run import train

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this may run under nohup
    sent = False

    def observe(event: dict) -> None:
        nonlocal sent
        if not sent and happens(event, at):
            sent = True
            delay = 0.004 if at == "checkpoint" else 0.0
            threading.Timer(delay, send, (getattr(signal, name), to)).start()

    try:
        with stopping_at_once():
            train(from_dict(read_json(config_file), str(config_file)), run, observe)
    except BaseException as error:
        print(error, file=sys.stderr)
        return exit_code(error)
    return 0


def hang_up(words: list[str], seconds: float) -> int:
    """The exit code of a command whose terminal is closed after so long."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-m", "tiltflow", *words])
    end = time.monotonic() + seconds
    os.set_blocking(terminal, False)
    while time.monotonic() < end:
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(out: Path, signals: tuple[str, ...] = SIGNALS) -> int:
    """Try everything with these signals; returns the number of failures."""
    from tiltflow.errors import UserError
    from tiltflow.files import write_json
    from tiltflow.train_config import to_dict
    from tiltflow.training.run import resume, train

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    out.mkdir(parents=True, exist_ok=True)
    failures = 0
    write_data(out / "data.npz")
    for seeds in (1, 2):
        config, whole = small("qipo-ot", out / "data.npz", seeds), out / f"whole-{seeds}"
        write_json(out / f"config-{seeds}.json", to_dict(config))
        if not (whole / "result.json").exists():
            train(config, whole)
        expected = record_of(whole)
        for name, to, at in product(signals, TARGETS, MOMENTS):
            run = out / "stopped"
            shutil.rmtree(run, ignore_errors=True)
            words = ["one", str(out / f"config-{seeds}.json"), str(run), name, to, at]
            code = subprocess.run([sys.executable, __file__, *words], stderr=subprocess.DEVNULL).returncode
            kept = len(list(run.glob("seeds/*/checkpoints/*.ckpt")))
            unfinished = not (run / "result.json").exists()
            try:
                same = record_of(resume(run)) == expected
            except UserError as error:
                print(error)
                same = False
            good = code == 130 and kept > 0 and unfinished and same
            failures += not good
            print(f"{'good' if good else 'BAD '}  {seeds} seeds  {name:8} to {to:7} at {at:11} exit {code}, "
                  f"{kept} checkpoints, {'same' if same else 'OTHER'} bits", flush=True)  # fmt: skip
        for seconds in (9.0, 13.0, 17.0):
            run = out / "hung-up"
            shutil.rmtree(run, ignore_errors=True)
            run.mkdir()
            write_json(run / "config.json", to_dict(config))
            code = hang_up(["train", "--resume", str(run)], seconds)
            finished = (run / "result.json").exists()
            same = record_of(resume(run)) == expected
            good = same and (code == 130 or finished)
            failures += not good
            what = "finished" if finished else "stopped"
            verdict = "good" if good else "BAD "
            print(f"{verdict}  {seeds} seeds  terminal closed after {seconds:g} s: {what}, "
                  f"exit {code}, {'same' if same else 'OTHER'} bits", flush=True)  # fmt: skip
    print(f"{failures} failures")
    return failures


if __name__ == "__main__":
    if sys.argv[1] == "one":
        sys.exit(stop_once(Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]))
    sys.exit(min(1, main(Path(sys.argv[1]), tuple(sys.argv[2:]) or SIGNALS)))

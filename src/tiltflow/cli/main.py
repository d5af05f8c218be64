"""`tiltflow VERB …`: finds the verb, runs it, and turns every failure into a paragraph and an exit code."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from tiltflow import __version__
from tiltflow.cli.failures import exit_code, paragraph
from tiltflow.cli.urls import urls_as_folders
from tiltflow.compiled_programs import keep_compiled
from tiltflow.errors import UserError, nearest
from tiltflow.plugins import plugged
from tiltflow.processes.stopping import stopping_at_once
from tiltflow.trust import trusting


class Command(Protocol):
    """A parsed command line, ready to go."""

    def run(self) -> None: ...


@dataclass(frozen=True)
class Verb:
    """One verb: the module whose `parse(arguments)` gives its command, imported when it is called for."""

    module: str
    summary: str


VERBS = {
    "demo": Verb("tiltflow.cli.demo", "collect data, train two policies, compare them: minutes on 2 cores"),
    "train": Verb("tiltflow.cli.train", "train an algorithm on a task, or resume a run"),
    "evaluate": Verb("tiltflow.cli.evaluate", "play a run's policies again and print the score"),
    "benchmark": Verb("tiltflow.cli.benchmark", "a suite of tasks with every agent and seed, resumable"),
    "tune": Verb("tiltflow.cli.tune", "try many configurations; the best one becomes a preset"),
    "compare": Verb("tiltflow.cli.compare", "many runs in one table and on one page, with intervals"),
    "export": Verb("tiltflow.cli.export", "write a run's policies as files that need JAX alone, or ONNX"),
    "serve": Verb("tiltflow.cli.serve", "answer a robot's observations with actions, over a WebSocket"),
    "report": Verb("tiltflow.cli.report", "write a run's page, report.html"),
    "guide": Verb("tiltflow.cli.guide", "draw new samples of your own data, tilted towards low energy"),
    "toy": Verb("tiltflow.cli.toy", "every method on six 2-D sets: figures, distances to the truth"),
    "tasks": Verb("tiltflow.cli.tasks", "list the tasks with their data sets and scores"),
    "data": Verb("tiltflow.cli.data", "list, describe, check and collect data sets"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's) and return its exit code.

    0 done, 1 a run diverged or the program failed, 2 bad usage or bad input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know fewer letters than the texts have
    debug, trust = "--debug" in arguments, "--trust" in arguments
    try:
        arguments, plugins = _take_plugins([word for word in arguments if word not in ("--debug", "--trust")])
        if arguments[:1] and arguments[0] in VERBS and not {"-h", "--help"} & set(arguments):
            keep_compiled()
        with (
            stopping_at_once(),
            trusting() if trust else nullcontext(),
            plugged(*plugins),
            urls_as_folders(arguments) as words,
        ):
            _dispatch(words)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # the parser has said what is wrong, or printed its help
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:  # the reader of a pipe went away, as in `tiltflow tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if debug:
            traceback.print_exc()
        print(paragraph(error), file=sys.stderr)
        return exit_code(error)


def _take_plugins(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--plugin FILE`, and the files."""
    rest, plugins = list[str](), list[str]()
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--plugin":
            rest.append(word)
        elif not (file := value if equals else next(words, "")):
            raise UserError("--plugin needs a file: --plugin FILE.py.")
        else:
            plugins.append(file)
    return rest, plugins


def _dispatch(arguments: list[str]) -> None:
    match arguments:
        case [] | ["-h" | "--help" | "help", *_]:
            print(_help())
        case ["--version", *_]:
            print(f"tiltflow {__version__}")
        case [verb, *rest] if verb in VERBS:
            module: Any = import_module(VERBS[verb].module)
            command: Command = module.parse(rest)
            command.run()
        case [verb, *_]:
            raise UserError(
                f"There is no verb {verb!r}.{nearest(verb, VERBS)} Known: {', '.join(VERBS)}. "
                "See tiltflow --help."
            )


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""\
usage: tiltflow VERB …

From samples of p and an energy E, learn to sample q(x) ∝ p(x)·exp(−β·E(x)).
With x an action, p the behaviour policy and E = −Q, that is offline RL.

verbs, each with its own --help:
{verbs}

options:
  -h, --help  show this text
  --version   show the version
  --debug     show the traceback of an error; may stand anywhere
  --trust     run code that a data set or run folder names, and read what unpacks to many times its size;
              may stand anywhere
  --plugin FILE.py
              run a file of yours that registers algorithms (docs/own-agent.md); may stand anywhere

exit codes: 0 done, 1 diverged or failed, 2 bad usage or input, 130 interrupted"""

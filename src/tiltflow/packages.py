"""Optional packages: which extra installs each, and imports where they are needed. Standard library only."""

import contextlib
import importlib
import io
import os
import sys
from importlib.util import find_spec
from types import ModuleType

from tiltflow.errors import UserError

EXTRAS = {
    "gymnasium": "envs",
    "gymnasium_robotics": "envs",
    "mujoco": "envs",
    "h5py": "d4rl",
    "minari": "d4rl",
    "ogbench": "ogbench",
    "pyarrow": "tables",
    "matplotlib": "plots",
    "PIL": "plots",
    "jinja2": "plots",
    "tensorboardX": "tensorboard",
    "wandb": "wandb",
    "websockets": "serve",
    "msgpack": "serve",
    "jax2onnx": "onnx",
    "onnxruntime": "onnx",
    "ray": "ray",
    "submitit": "slurm",
    "optuna": "tune",
    "fsspec": "remote",
}


def how_to_install(package: str) -> str:
    """The sentence that says how to install an optional package."""
    python = " (on Python 3.11 or 3.12)" if package == "ogbench" else ""
    extra = EXTRAS.get(package, "envs")
    return f"Install it from tiltflow's own folder: pip install -c constraints.txt '.[{extra}]'{python}"


def device_fault() -> str:
    """Why JAX has no device to compute on; empty where it has one, or nothing has imported it."""
    if "jax" not in sys.modules:
        return ""
    try:
        sys.modules["jax"].devices()
    except Exception as error:  # an AssertionError or a RuntimeError, by what it was asked for
        asked = os.environ.get("JAX_PLATFORMS")
        setting = (
            f", as JAX_PLATFORMS={asked} asks for. Unset it, or install that" if asked else ". Install its"
        )
        return (
            f"JAX finds no device to compute on{setting} version of JAX.{f' ({error})' if str(error) else ''}"
        )
    return ""


def need(*packages: str) -> None:
    """Raise ModuleNotFoundError now for what would be missed only after minutes of work."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def require(package: str) -> ModuleType:
    """Import an optional package; UserError naming the extra that installs it where it is missing."""
    try:
        # Gymnasium-Robotics and dm_control talk while they are imported.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise UserError(
            f"The Python package {name} is needed here and cannot be imported ({error}). "
            f"{how_to_install(name)}"
        ) from error

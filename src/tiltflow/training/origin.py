"""What a run ran on and from: the versions, the machine and the data that environment.json names."""

import importlib
import importlib.metadata
import platform
from typing import Any

import jax

from tiltflow.data.load import Dataset
from tiltflow.errors import UserError
from tiltflow.files import write_json
from tiltflow.processes.local import available_cores
from tiltflow.run_folder import RunFolder
from tiltflow.training.under_way import Training, started

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "optax",
    "equinox",
    "gymnasium",
    "mujoco",
    "ogbench",
    "minari",
    "h5py",
    "pyarrow",
)


HERE = "in_this_process"
"""The key of environment.json that says whether one seed was trained by the process that was called."""


def begin_run(training: Training, *, in_this_process: bool = False) -> None:
    """Write environment.json, but for a run that is finished, and tell of the run and of its data."""
    run = training.run
    for finding in training.dataset.findings:
        training.tell(str(finding), "info" if finding.level == "note" else finding.level)
    if not (run.finished and run.environment_file.exists()):
        write_json(run.environment_file, {**_origin(training.dataset), HERE: in_this_process})
    training.observe(started(training.prepared, run))


def _origin(dataset: Dataset) -> dict[str, Any]:
    """The record of environment.json."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    spec = dataset.train.spec
    interface = {} if dataset.interface is None else {"interface": dataset.interface.record()}
    return {
        "tiltflow": importlib.import_module("tiltflow").__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "device": jax.devices()[0].device_kind,
        "cores": len(available_cores()),
        "data": {
            "source": dataset.source,
            "checksum": dataset.checksum,
            "transitions": len(dataset.train),
            "observation_size": spec.observation_size,
            "action_size": spec.action_size,
            **interface,
            **({} if dataset.rewarded else {"rewarded": False}),
            **({} if dataset.held_out is None else {"held_out_episodes": dataset.held_out.episodes}),
        },
    }


def refuse_other_data(run: RunFolder, dataset: Dataset) -> None:
    """Raise UserError where the run was trained on other data."""
    if not run.environment_file.exists():  # the run was stopped before it began
        return
    checksum = run.read_environment()["data"].get("checksum")
    if checksum != dataset.checksum:
        raise UserError(
            f"{dataset.source} is not what {run.path} was trained on: its checksum is {dataset.checksum}, "
            f"and {run.environment_file} has {checksum}. Restore the data, or train into a new folder with "
            "--out. Nothing was changed."
        )

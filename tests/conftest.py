"""Fixtures that every test file may use; what XLA compiles is kept for the session; slow modules first."""

import gc
import os
import shutil
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

# Before JAX is imported, and inherited by every process that a test starts: many of them compile the same
# programs. A new folder for each session, so that nothing outlives the code that was compiled.
COMPILED = "JAX_COMPILATION_CACHE_DIR"
os.environ["TILTFLOW_CACHE"] = "off"
UNOPTIMISED = "JAX_DISABLE_MOST_OPTIMIZATIONS"
_own = None
if COMPILED not in os.environ:
    _own = tempfile.mkdtemp(prefix="tiltflow-compiled-")
    os.environ[COMPILED] = _own
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# Most tests compile longer than they run. These flags halve that, and change no law: a program is compiled
# as a whole, not in 32 parts, with fewer of LLVM's passes, and its loops by XLA's older emitters. jaxlib ends
# a process that has a flag it does not know, and 0.12 does not know the last.
_flags = [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_optimization_level=1",
]
if version("jaxlib").startswith("0.10."):
    _flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(_flags)

import jax  # noqa: E402


def pytest_unconfigure(config):
    if _own is not None:
        shutil.rmtree(_own, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Modules with slow ones first: what is left for the end is short, and the processes end together.

    A module stays in one piece: what its tests share is made once.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish(session):
    """The garbage collector looks no more at what is there by now, and seldom at what JAX traces."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Compiled programs go before they are too many.

    Each takes some ten mappings of memory, of which Linux gives a process 65,530; a process that runs all the
    tests would come to them, and crash within XLA.
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture
def key():
    return jax.random.key(0)


@contextmanager
def _without_optimisation():
    """What is compiled meanwhile, here and in new processes, is compiled quickly and runs slowly."""
    if UNOPTIMISED in os.environ:
        yield
        return
    os.environ[UNOPTIMISED] = "1"
    jax.config.update(UNOPTIMISED.lower(), True)
    yield
    jax.config.update(UNOPTIMISED.lower(), False)
    del os.environ[UNOPTIMISED]


@pytest.fixture(scope="module")
def quickly_compiled():
    """For modules whose programs take longer to compile than to run."""
    with _without_optimisation():
        yield


@pytest.fixture
def x64():
    """Double precision, for tests of exactness; they take longer to compile than to run."""
    with _without_optimisation(), jax.enable_x64(True):
        yield


@pytest.fixture
def strict_types():
    """Whatever promotes a type, or lines up arrays of unequal rank by accident, is an error."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield

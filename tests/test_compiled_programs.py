"""Compiled programs: kept in a folder of one's own, loaded to the same bits, compiled again where damaged."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tiltflow import compiled_programs
from tiltflow.compiled_programs import keep_compiled, keep_compiled_here
from tiltflow.errors import UserError

FOLDER, CACHE = "JAX_COMPILATION_CACHE_DIR", "TILTFLOW_CACHE"


@pytest.fixture
def untold(monkeypatch, tmp_path):
    """An environment in which nothing is said about compiled programs, and a home of its own."""
    for name in (FOLDER, CACHE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return monkeypatch


def test_they_are_kept_in_the_users_own_cache_or_where_a_variable_says(untold, tmp_path):
    keep_compiled()
    usual = tmp_path / "home/.cache/tiltflow/compiled"
    assert os.environ.pop(FOLDER) == str(usual)
    assert usual.stat().st_mode & 0o777 == 0o700
    untold.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    keep_compiled()
    assert os.environ.pop(FOLDER) == str(tmp_path / "xdg/tiltflow/compiled")
    untold.setenv(CACHE, str(tmp_path / "chosen"))
    keep_compiled()
    assert os.environ.pop(FOLDER) == str(tmp_path / "chosen")


def test_nothing_is_kept_with_off_and_what_the_user_told_jax_stays(untold, tmp_path):
    untold.setenv(CACHE, "off")
    keep_compiled()
    assert FOLDER not in os.environ
    untold.setenv(CACHE, str(tmp_path / "chosen"))
    untold.setenv(FOLDER, "theirs")
    keep_compiled()
    assert os.environ[FOLDER] == "theirs"
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", "theirs")
    keep_compiled_here()
    assert jax.config.jax_compilation_cache_dir == "theirs"
    jax.config.update("jax_compilation_cache_dir", before)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_others_may_write_to_is_refused(untold, tmp_path, capsys):
    shared = tmp_path / "xdg/tiltflow/compiled"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    untold.setenv(CACHE, str(shared))
    with pytest.raises(UserError, match=r"another user owns it or may write to it.*TILTFLOW_CACHE=off"):
        keep_compiled()
    untold.delenv(CACHE)
    untold.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    keep_compiled()
    assert FOLDER not in os.environ
    assert f"warning: Compiled programs are not kept in {shared}" in capsys.readouterr().err


def test_a_folder_that_somebody_else_owns_is_refused(untold, tmp_path):
    untold.setenv(CACHE, str(tmp_path))
    untold.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(UserError, match="another user owns it"):
        keep_compiled()


def test_what_was_not_used_for_longest_goes_where_there_is_too_much(untold, tmp_path):
    untold.setattr(compiled_programs, "_MOST_BYTES", 250)
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    untold.setenv(CACHE, str(tmp_path))
    keep_compiled()
    assert {path.name for path in tmp_path.iterdir()} == {"new", "middle"}


@pytest.fixture
def kept_here(untold, tmp_path):
    """JAX of this process keeps its programs in a new folder, as `tiltflow.train` has it."""
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    untold.setenv(CACHE, str(tmp_path / "kept"))
    keep_compiled_here()
    assert FOLDER not in os.environ
    yield tmp_path / "kept"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def trained() -> np.ndarray:
    """A small training, compiled or loaded."""
    keys = jax.random.split(jax.random.key(0))

    def step(w, key):
        x = jax.random.normal(key, (16, 4))
        return w - 0.1 * jax.grad(lambda w: jnp.mean(jnp.tanh(x @ w) ** 2))(w), jnp.sum(w)

    def training(keys):
        return jax.lax.scan(step, jnp.ones((4, 4)), keys)

    return np.concatenate([np.ravel(part) for part in jax.jit(training)(keys)])


def test_a_loaded_program_gives_the_bits_of_a_compiled_one_and_a_damaged_one_is_compiled_again(kept_here):
    hits: list[str] = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
    compiled = trained()
    (program,) = kept_here.glob("jit_training-*-cache")
    before = hits.count("/jax/compilation_cache/cache_hits")
    assert np.array_equal(trained(), compiled)
    assert hits.count("/jax/compilation_cache/cache_hits") > before
    content = program.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-99] + bytes(99)):
        program.write_bytes(damaged)
        with pytest.warns(UserWarning, match="compilation cache entry for 'jit_training'"):
            assert np.array_equal(trained(), compiled)
    program.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(trained(), compiled)

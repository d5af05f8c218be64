"""Fixtures for data sets."""

import pytest


@pytest.fixture(scope="module")
def ogbench():
    """The ogbench package, which cannot be installed on Python 3.13 (its dependency labmaze)."""
    return pytest.importorskip("ogbench")

"""Mutated files of every format and of a run: data or one clear error. benchmarks/strangers.py tries more."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltflow.evaluation.lines import _Metrics
from tiltflow.json_records import record_fault

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import stranger_files
import strangers

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@pytest.fixture(scope="module")
def tried(small_config, trained, tmp_path_factory):
    return stranger_files.kinds(
        tmp_path_factory.mktemp("kinds"), trained(small_config("bc-flow")), minari=False
    )


def test_whatever_stands_in_a_file_is_data_or_a_clear_error(tried):
    for name, kind in tried.items():
        faults = strangers.try_kind(kind, 8, random.Random(f"test {name}"))
        assert not faults, (name, faults)


METRICS = {"step": 1, "stage": "s", "stage_step": 1, "seconds": 0.5, "metrics": {"loss": [1.0, 2]}}


@settings(deadline=None, max_examples=60)
@given(odd=JSON, key=st.sampled_from(sorted(METRICS)))
def test_a_record_has_its_types_or_its_fault_is_named(odd, key):
    assert record_fault(odd, _Metrics)  # none is drawn by chance
    fault = record_fault({**METRICS, key: odd}, _Metrics)
    assert key in fault or isinstance(odd, type(METRICS[key])) or (key == "seconds" and type(odd) is int)


def test_what_json_can_hold_and_a_record_must_not_is_named_by_its_place():
    assert record_fault(METRICS, _Metrics) == ""
    for wrong, fault in [
        ({"step": True}, "'step' is True, not a whole number"),
        ({"seconds": float("nan")}, "'seconds' is nan, not a finite number"),
        ({"seconds": 10**400}, "'seconds' is 1"),
        ({"metrics": {"loss": [1.0, None]}}, "'metrics.loss[1]' is None, not a finite number"),
        ({"metrics": []}, "'metrics' is [], not a JSON object"),
    ]:
        assert record_fault({**METRICS, **wrong}, _Metrics).startswith(fault)

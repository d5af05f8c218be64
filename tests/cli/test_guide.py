"""`tiltflow guide`: the user's own files in, samples and their metrics out."""

import json

import numpy as np
import pytest

from tiltflow.cli.main import main

SMALL = ("--steps", "50", "--width", "16", "--depth", "2", "--samples", "200")


@pytest.fixture
def files(tmp_path):
    x = np.random.default_rng(0).standard_normal((2_000, 2))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "e.npy", x[:, 0])
    table = np.column_stack([x, -x[:, 0]])
    np.savetxt(tmp_path / "x.csv", table, delimiter=",", header="a,b,quality", comments="")
    return tmp_path


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_an_energy_file_and_a_score_column_say_the_same(files, capsys):
    words = ["--method", "resample", "--beta", "1", "--samples", "2000"]
    assert main(["guide", f"{files}/x.npy", "--energy", f"{files}/e.npy", "--out", f"{files}/1", *words]) == 0
    assert main(["guide", f"{files}/x.csv", "--score", "quality", "--out", f"{files}/2", *words]) == 0
    first, second = (np.load(files / name / "samples.npy") for name in "12")
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first.dtype == np.float32
    assert first[:, 0].mean() == pytest.approx(-1, abs=0.15)  # N(0, 1)·exp(−x)
    out = capsys.readouterr().out
    assert "effective rows" in out
    assert "distance to resampled data" in out


# One without and one with a second network, and one without a tilt; tests/guidance ask this of each.
@pytest.mark.parametrize("method", ["efm", "cep", "unguided"])
def test_every_method_writes_its_files_and_equal_seeds_equal_bytes(files, capsys, method):
    for name in "ab":
        words = ["guide", f"{files}/x.npy", "--energy", f"{files}/e.npy", "--method", method, *SMALL]
        assert main([*words, "--out", f"{files}/{name}"]) == 0
    assert (files / "a" / "samples.npy").read_bytes() == (files / "b" / "samples.npy").read_bytes()
    found = metrics(files / "a")
    assert found["method"] == method
    assert found["rows"] == 1_900  # 100 are held out
    assert found["verdict"]["rows"] == 100
    assert found["ess"] / 1_900 == pytest.approx(1.0 if method == "unguided" else 0.1, abs=0.005)
    for key in ("beta", "seconds", "network_evaluations_per_sample", "config", "sha256"):
        assert key in found
    assert (files / "a" / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert "steps" in capsys.readouterr().err


def test_conditions_are_sampled_at(files, capsys):
    c = np.repeat([0.0, 10.0], 1_000)
    np.save(files / "c.npy", c)
    np.save(files / "shifted.npy", np.load(files / "x.npy") + c[:, None])
    np.savetxt(files / "at.csv", [[10.0]], delimiter=",")
    words = [
        "--method",
        "resample",
        "--beta",
        "0",
        "--condition",
        f"{files}/c.npy",
        "--at",
        f"{files}/at.csv",
    ]
    energy = ["--energy", f"{files}/e.npy", "--out", f"{files}/o"]
    assert main(["guide", f"{files}/shifted.npy", *energy, *words]) == 0
    assert np.load(files / "o" / "samples.npy").mean() == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--beta", "1"], "Give --energy FILE|COLUMN"),
        (["--energy", "e.npy", "--score", "0"], "not both"),
        (["--energy", "0", "--beta", "1", "--target-ess", "0.1"], "not both"),
        (["--energy", "missing.npy"], "missing.npy is not a file"),
        (["--energy", "7"], "has no column '7'"),
        (["--energy", "0", "--beta", "-1"], "not negative"),
        (["--energy", "0", "--samples", "0"], "--samples is 0"),
        (["--energy", "0", "--steps", "0"], "steps = 0"),
        (["--energy", "0", "--method", "efn"], "Did you mean 'efm'"),
        (["--energy", "0", "--condition", "1"], "go together"),
        (["--energy", "0", "--held-out", "1"], "--held-out is 1.0"),
        (["--energy", "0", "--anneal", "4"], "--anneal: --method efm does not read that"),
        (["--energy", "0", "--labels", "1"], "--labels: --method efm does not read that"),
        (["--energy", "0", "--method", "cg", "--weights", "data"], "--weights: --method cg does not"),
        (["--energy", "0", "--method=resample", "--width=8"], "of resample are --steps, --batch-size"),
        (["--energy", "0", "--method", "ed", "--path", "ot"], "prediction = noise leaves the velocity"),
    ],
)
def test_bad_usage_is_one_paragraph_with_exit_code_2(files, capsys, monkeypatch, words, text):
    monkeypatch.chdir(files)
    assert main(["guide", "x.npy", "--out", "o", *words]) == 2
    captured = capsys.readouterr()
    assert text in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert not (files / "o").exists()


def test_finished_samples_are_not_overwritten(files, capsys):
    words = ["guide", f"{files}/x.npy", "--energy", "0", "--method", "resample", "--out", f"{files}/o"]
    assert main(words) == 0
    before = (files / "o" / "samples.npy").read_bytes()
    assert main([*words, "--seed", "1"]) == 2
    assert "holds samples.npy already" in " ".join(capsys.readouterr().err.split())
    assert (files / "o" / "samples.npy").read_bytes() == before

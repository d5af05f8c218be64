"""`tiltflow guide`: the user's own files in, samples and their metrics out."""

import json

import numpy as np
import pytest

from tiltflow.cli.main import main

SMALL = ("--steps", "50", "--width", "16", "--depth", "2", "--num-steps", "5", "--samples", "200")


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
    words = ["--method", "resample", "--beta", "1", "--samples", "500"]
    assert main(["guide", f"{files}/x.npy", "--energy", f"{files}/e.npy", "--out", f"{files}/1", *words]) == 0
    assert main(["guide", f"{files}/x.csv", "--score", "quality", "--out", f"{files}/2", *words]) == 0
    first, second = (np.load(files / name / "samples.npy") for name in "12")
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first.dtype == np.float32
    assert first[:, 0].mean() == pytest.approx(-1, abs=0.15)  # N(0, 1)·exp(−x)
    out = capsys.readouterr().out
    assert "effective rows" in out
    assert "distance to resampled data" in out


# The default one, and one with a second network; more of each is in tests/guidance.
@pytest.mark.parametrize("method", ["cep", "efm"])
def test_every_method_writes_its_files_and_equal_seeds_equal_bytes(files, capsys, method):
    words = ["guide", f"{files}/x.npy", "--energy", f"{files}/e.npy", "--method", method, *SMALL]
    assert main([*words, "--out", f"{files}/a"]) == 0
    if method == "cep":
        assert main([*words, "--out", f"{files}/b"]) == 0
        assert (files / "a" / "samples.npy").read_bytes() == (files / "b" / "samples.npy").read_bytes()
    found = metrics(files / "a")
    assert found["method"] == method
    assert found["rows"] == 1_900  # 100 are held out
    assert found["verdict"]["rows"] == 100
    assert found["ess"] / 1_900 == pytest.approx(0.1, abs=0.005)
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
    words = ["guide", f"{files}/x.npy", "--energy", "0", "--method", "resample", "--samples", "200"]
    words = [*words, "--out", f"{files}/o"]
    assert main(words) == 0
    before = (files / "o" / "samples.npy").read_bytes()
    assert main([*words, "--seed", "1"]) == 2
    assert "holds samples.npy already" in " ".join(capsys.readouterr().err.split())
    assert (files / "o" / "samples.npy").read_bytes() == before


def test_columns_are_chosen_and_keep_their_names(files, capsys):
    words = ["--method", "resample", "--beta", "1", "--samples", "200"]
    at = f"{files}/x.csv"
    assert main(["guide", at, "--score", "quality", "--columns", "b", "--out", f"{files}/1", *words]) == 0
    assert (files / "1" / "samples.csv").read_text().splitlines()[0] == "b"
    saved = np.loadtxt(files / "1" / "samples.csv", delimiter=",", skiprows=1, ndmin=2)
    np.testing.assert_allclose(saved, np.load(files / "1" / "samples.npy"), rtol=1e-7)
    assert metrics(files / "1")["columns"] == ["b"]
    assert f"b of {at}" in " ".join(capsys.readouterr().out.split())
    assert main(["guide", at, "--energy", "a", "--columns", "b", "a", "--out", f"{files}/2", *words]) == 0
    assert np.load(files / "2" / "samples.npy").shape == (200, 2)
    assert main(["guide", f"{files}/x.npy", "--energy", "0", "--out", f"{files}/3", *words]) == 0
    assert not (files / "3" / "samples.csv").exists()


def test_a_column_named_as_an_energy_is_never_a_coordinate_by_itself(files, capsys):
    (files / "t.csv").write_text("x,y,Energy\n" + "0,1,2\n3,4,5\n" * 5)
    words = ["guide", f"{files}/t.csv", "--out", f"{files}/o", "--beta", "1", "--samples", "200", "--method"]
    assert main([*words, "unguided"]) == 2
    assert "column 'Energy' that no option reads" in " ".join(capsys.readouterr().err.split())
    np.save(files / "e.npy", np.zeros(10))
    assert main([*words, "resample", "--energy", f"{files}/e.npy", "--columns", "x", "x"]) == 2
    assert "names x twice" in capsys.readouterr().err
    assert main([*words, "resample", "--energy", f"{files}/e.npy"]) == 2
    assert main([*words, "resample", "--energy", "Energy"]) == 0
    assert metrics(files / "o")["columns"] == ["x", "y"]


def test_more_samples_of_a_saved_model(files, capsys):
    words = [
        "guide",
        f"{files}/x.csv",
        "--score",
        "quality",
        "--method",
        "flow-is",
        "--transform",
        "quantile",
    ]
    assert main([*words, *SMALL, "--out", f"{files}/o"]) == 0
    first = np.load(files / "o" / "samples.npy")
    again = ["guide", "--more", f"{files}/o", "--samples", "200"]
    assert main([*again, "--seed", "0", "--out", f"{files}/same"]) == 0
    np.testing.assert_array_equal(np.load(files / "same" / "samples.npy"), first)
    verdicts = [metrics(files / name)["verdict"] for name in ("o", "same")]
    assert verdicts[0] == verdicts[1]
    for seed in (1, 2):
        assert main(again) == 0
        assert not np.isin(np.load(files / "o" / f"more-{seed}" / "samples.npy"), first).any()
    assert main([*again, "--out", f"{files}/third"]) == 0
    seen = np.load(files / "o" / "more-1" / "samples.npy")
    assert not np.isin(np.load(files / "third" / "samples.npy"), seen).any()
    assert (files / "o" / "more-1" / "samples.csv").read_text().startswith("a,b\n")


def test_a_damaged_model_is_refused_and_a_missing_one_named(files, capsys):
    np.savez(files / "m.npz", head=np.frombuffer(b'{"format": 1, "method": "efm"}', np.uint8))
    assert main(["guide", "--more", f"{files}/m.npz"]) == 2
    assert "is no model that" in " ".join(capsys.readouterr().err.split())
    assert main(["guide", "--more", f"{files}/none"]) == 2
    assert "does not exist" in " ".join(capsys.readouterr().err.split())

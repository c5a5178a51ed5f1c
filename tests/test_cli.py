"""The command line: what a newcomer types, and what a mistake prints."""
import subprocess
import sys

import pandas as pd
import pytest
from toys import toy_cohort


def synthkit(*words: str, folder=None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "synthkit", *words], capture_output=True, text=True, cwd=folder, timeout=1200)


def test_help_names_the_commands():
    text = synthkit("--help").stdout
    assert all(word in text for word in ("quickstart", "train", "evaluate", "lab", "data", "doctor"))


def test_doctor_reports_versions_and_what_is_missing():
    answer = synthkit("doctor")
    assert "torch" in answer.stdout and "bf16" in answer.stdout and "chest-phantom-64" in answer.stdout


def test_data_list_and_show():
    assert "nih-cxr64" in synthkit("data", "list").stdout
    assert "Wang" in synthkit("data", "show", "nih-cxr64").stdout


def test_a_mistake_is_one_line_and_exit_status_2(tmp_path):
    answer = synthkit("quickstart", "--data", "no-such-set", folder=tmp_path)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr and len(answer.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_evaluate_writes_a_page_and_two_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    for seed, name in enumerate(("real", "fake")):
        toy_cohort(120, seed=seed, prefix=name).save(tmp_path / name)
    words = [str(tmp_path / "real"), str(tmp_path / "fake"), "--out", str(tmp_path / "out"), "--by", "sex", "--extractor", "radiomics"]
    answer = synthkit("evaluate", *words, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "real patients are split: 42 images to compare with, 42 for the encoder, 36 for the judge and the floor" in answer.stdout
    scores, images = (pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("scores", "images"))
    assert {"all", "sex=F", "sex=M", "lesion"} <= set(scores["group"]) and (scores.loc[scores["group"] == "all", "n_real"] == 42).all()
    assert len(images) == 120 and {"image_id", "failed", "duplicate_of"} <= set(images.columns)
    assert "Quality control of 120 images" in (tmp_path / "out" / "report.html").read_text()


def test_evaluate_refuses_cohorts_that_do_not_fit_and_writes_nothing(tmp_path):
    toy_cohort(40).save(tmp_path / "real")
    toy_cohort(40, size=(8, 8)).save(tmp_path / "fake")
    answer = synthkit("evaluate", str(tmp_path / "real"), str(tmp_path / "fake"), "--out", str(tmp_path / "out"))
    assert answer.returncode == 2 and "sizes (16, 16) and (8, 8)" in answer.stderr and not list((tmp_path / "out").iterdir())
    (tmp_path / "file").touch()
    answer = synthkit("evaluate", str(tmp_path / "real"), str(tmp_path / "real"), "--out", str(tmp_path / "file"))
    assert answer.returncode == 2 and "cannot be made" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.slow
def test_quickstart_from_a_folder_of_dicoms_trains_and_reports(tmp_path):
    import synthkit as sk

    sk.write_practice_dicoms(sk.ChestPhantom(size=32).cohort(120, seed=5), tmp_path / "films")
    sk.load(tmp_path / "films", table="labels.csv", size=32, factors=["age", "sex", "effusion"]).save(tmp_path / "cohort")
    answer = synthkit("quickstart", "--data", str(tmp_path / "cohort"), "--train", "--budget", "smoke", "--out", str(tmp_path / "out"))
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "<section" in (tmp_path / "out" / "report.html").read_text()
    back = sk.load(tmp_path / "out" / "synthetic")
    assert back.provenance.kind == "synthetic" and len(back) > 12

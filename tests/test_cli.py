"""The command line: what a newcomer types, and what a mistake prints."""
import subprocess
import sys

import pandas as pd
import pytest
from toys import SCHEMA, toy_cohort

from synthkit.commands.generate import _requests
from synthkit.commands.recipes import families, recipe_named
from synthkit.errors import FitError, SchemaError, StoreError, SynthkitError

SMALL = ["--option", 'options={"widths": [16, 16], "embedding": 32}', "--option", "batch_size=16", "--option", "steps=2"]


def synthkit(*words: str, folder=None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "synthkit", *words], capture_output=True, text=True, cwd=folder, timeout=1200)


def invoked(*words: str) -> str:
    """What a command prints, in this process; its error is raised here."""
    from typer.testing import CliRunner

    from synthkit.__main__ import app

    answer = CliRunner().invoke(app, list(words), catch_exceptions=True)
    if isinstance(answer.exception, SynthkitError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_help_names_the_commands():
    text = synthkit("--help").stdout
    assert all(word in text for word in ("quickstart", "train", "generate", "evaluate", "compare", "privacy", "lab", "data", "doctor"))


def test_every_family_of_the_package_can_be_named():
    known = families()
    assert {"diffusion"} <= set(known) and all(kind.__module__.startswith("synthkit.generators.") for kind in known.values())
    recipe = recipe_named("Diffusion", ["steps=4", "learning_rate=0.002", 'options={"widths": [16, 16]}'])
    assert (recipe.steps, recipe.learning_rate, recipe.options) == (4, 0.002, {"widths": [16, 16]})


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("nonesuch", [], "no family is called 'nonesuch'; there are .*diffusion"),
        ("diffusion", ["steps"], "'steps': give key=value; Diffusion has steps"),
        ("diffusion", ["stride=3"], "'stride=3': give key=value"),
        ("diffusion", ["steps=many"], "steps is a whole number, 12 by default"),
        ("diffusion", ["steps=4.5"], "steps is a whole number"),
        ("diffusion", ["learning_rate=true"], "learning_rate is a number"),
        ("diffusion", ["steps=0"], "1 or more"),
    ],
)
def test_unknown_families_and_settings_are_refused(family, options, message):
    with pytest.raises(FitError, match=message):
        recipe_named(family, options)


def test_requests_are_every_combination_of_what_is_given():
    table = _requests(SCHEMA, ["lesion=absent,present", "age=30"])
    assert table["lesion"].tolist() == ["absent", "present"] and (table["age"] == 30).all()
    assert len(_requests(SCHEMA, [])) == 1
    for given, message in ((["lesion"], "give each factor once"), (["age=140"], "outside"), (["weight=3"], "unknown factor"), (["sex=F", "sex=M"], "once")):
        with pytest.raises(SchemaError, match=message):
            _requests(SCHEMA, given)


def test_train_then_generate_from_a_table_and_from_factors(tmp_path):
    import synthkit as sk

    toy_cohort(24).save(tmp_path / "data")
    gen = str(tmp_path / "gen")
    assert "generator" in invoked("train", str(tmp_path / "data"), "--out", gen, "--family", "diffusion", *SMALL, "--budget", "2 steps")
    pd.DataFrame({"image_id": ["a", "b", "c"], "lesion": ["present", "absent", None]}).to_csv(tmp_path / "want.csv", index=False)
    sheet = tmp_path / "sheet.png"
    told = invoked("generate", f"{gen}/generator", str(tmp_path / "want.csv"), "--seed", "4", "--out", str(tmp_path / "fake"), "--sheet", str(sheet))
    assert "3 images by diffusion on toy, 4 network evaluation(s) each, seed 4" in told and "present" in told
    fake = sk.load(tmp_path / "fake")
    assert fake.table["request_id"].tolist() == ["a", "b", "c"] and fake.provenance.kind == "synthetic" and fake.provenance.seed == 4
    assert b"synthetic images made by synthkit" in sheet.read_bytes() and sk.verify(tmp_path / "fake").passed
    pd.DataFrame({"image_id": ["001", "1"], "sex": ["F", "F"]}).to_csv(tmp_path / "ids.csv", index=False)
    invoked("generate", f"{gen}/generator", str(tmp_path / "ids.csv"), "--out", str(tmp_path / "ids"))
    twins = sk.load(tmp_path / "ids")
    assert twins.table["request_id"].tolist() == ["001", "1"] and (twins.images.raw([0]) != twins.images.raw([1])).any(), "ids key the noise as written"
    told = invoked("generate", f"{gen}/generator", "--n", "4", "--given", "sex=F,M", "--steps", "1", "--out", str(tmp_path / "few"))
    assert "4 images by diffusion on toy, 2 network evaluation(s)" in told and sk.load(tmp_path / "few").table["sex"].tolist() == ["F", "M", "F", "M"]
    assert len(sk.load(invoked("generate", f"{gen}/generator", "--n", "2", "--out", str(tmp_path / "any")) and tmp_path / "any")) == 2
    for n in ("2", "7"):
        invoked("generate", f"{gen}/generator", str(tmp_path / "want.csv"), "--n", n, "--out", str(tmp_path / n))
        assert sk.load(tmp_path / n).table["request_id"].tolist() == ["a", "b", "c", "a#2", "b#2", "c#2", "a#3"][: int(n)], "first ones only, or again in turn"
    with pytest.raises(StoreError, match="--sheet .*want.csv/sheet.png cannot be written .*; the cohort is whole"):
        invoked("generate", f"{gen}/generator", "--n", "2", "--out", str(tmp_path / "any"), "--sheet", str(tmp_path / "want.csv" / "sheet.png"))
    for words, message in ((["x.csv", "--given", "sex=F"], "either a table"), ([], "either a table"), (["none.csv"], "cannot be read")):
        with pytest.raises(SynthkitError, match=message):
            invoked("generate", f"{gen}/generator", *words, "--out", str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()


def test_an_interrupted_generation_says_how_it_goes_on(monkeypatch, capsys):
    import synthkit as sk
    from synthkit.commands.generate import generate

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sk, "generate", stopped)
    with pytest.raises(KeyboardInterrupt):
        generate("chest-phantom-64", out="never", n=2)
    assert "what is finished is kept; the same command goes on where it stopped" in capsys.readouterr().err


def test_a_wrong_budget_or_folder_is_said_before_images_are_loaded(tmp_path):
    with pytest.raises(FitError, match="budget 'soon'"):
        invoked("train", "no-such-set", "--out", str(tmp_path / "gen"), "--budget", "soon")
    with pytest.raises(FitError, match="budget 'soon'"):
        invoked("compare", "no-such-set", "--families", "diffusion", "--out", str(tmp_path / "out"), "--budget", "soon")
    with pytest.raises(StoreError, match="runs/nobody is no folder; give that of a saved generator"):
        invoked("train", "no-such-set", "--out", str(tmp_path / "gen"), "--start", "runs/nobody")
    with pytest.raises(StoreError, match="no pretrained generator 'nobody'"):
        invoked("train", "no-such-set", "--out", str(tmp_path / "gen"), "--start", "nobody")
    with pytest.raises(FitError, match="Student learns from a fitted Diffusion, and none was given"):
        invoked("train", "no-such-set", "--out", str(tmp_path / "gen"), "--family", "student")
    with pytest.raises(SynthkitError, match="two families would be called 'gan'"):
        invoked("compare", "no-such-set", "--families", "gan,gan", "--out", str(tmp_path / "out"))
    with pytest.raises(SynthkitError, match="no-such-set"):
        invoked("compare", "no-such-set", "--families", "diffusion", "--out", str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_compare_writes_a_page_a_table_and_the_generators(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    toy_cohort(80).save(tmp_path / "data")
    words = ["compare", str(tmp_path / "data"), "--families", "diffusion,vae", "--budget", "2 steps", "--extractor", "radiomics", "--no-footprints"]
    told = invoked(*words, "--out", str(tmp_path / "out"))
    assert "train 2 of 2 families: diffusion 2 steps, vae 2 steps; then 16 images of each" in told and "differs from diffusion" in told
    assert set(pd.read_csv(tmp_path / "out" / "families.csv")["family"]) == {"diffusion", "vae"}
    assert "<section" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "runs" / "vae" / "generator" / "generator.json").is_file()


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


def test_privacy_holds_the_known_patients_against_the_others(tmp_path):
    import synthkit as sk

    data = toy_cohort(80)
    sk.Diffusion(options={"widths": [16, 16], "embedding": 32}).fit(data[:50], budget="2 steps", seed=0).save(tmp_path / "gen")
    data.save(tmp_path / "data")
    said = invoked("privacy", str(tmp_path / "gen"), str(tmp_path / "data"), "--out", str(tmp_path / "out"))
    assert "50 images of patients it was trained on, 30 of others" in said and any(word in said for word in ("NO COPYING DETECTED", "EVIDENCE"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "attacks.csv", "pairs.csv"}
    data[:50].save(tmp_path / "all")
    assert "NOT ASSESSED: No holdout" in invoked("privacy", str(tmp_path / "gen"), str(tmp_path / "all"), "--out", str(tmp_path / "out"))
    toy_cohort(30, prefix="x").save(tmp_path / "others")
    with pytest.raises(SynthkitError, match="learnt from none of the patients"):
        invoked("privacy", str(tmp_path / "gen"), str(tmp_path / "others"), "--out", str(tmp_path / "out"))

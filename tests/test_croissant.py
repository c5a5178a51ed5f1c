"""Croissant: valid by its own library, which reads every value and picture as it is; what a description says of origin and limits is what is known."""
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_export import COHORTS, toys
from toys import toy_cohort

import synthkit as sk
from synthkit.core import store
from synthkit.core.files import read_manifest
from synthkit.core.lineage import record_digest, records
from synthkit.errors import DataError, StoreError

mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed; it comes with the test extra")
MORE = {"creator": {"@type": "Organization", "name": "A hospital"}, "citeAs": "A hospital, 2026", "datePublished": "2026-11-30", "url": "https://example.org/set"}


def opened(path: Path) -> "mlc.Dataset":
    """The data set; any error of validation is raised."""
    return mlc.Dataset(str(path))


def read(path: Path) -> pd.DataFrame:
    """All rows as mlcroissant yields them; its texts are bytes."""
    rows = [{name.removeprefix("images/"): value for name, value in row.items()} for row in opened(path).records("images")]
    return pd.DataFrame([{name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows])


def texts(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("kind", [*COHORTS, "real"])
def test_its_own_library_reads_every_value_and_picture(tmp_path, kind):
    cohort = toy_cohort(6) if kind == "real" else COHORTS[kind]()
    path = sk.to_croissant(cohort, tmp_path / "a", more=MORE)
    issues = opened(path).metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    found = read(path)
    assert len(found) == len(cohort)
    for column in cohort.table.columns:
        assert [None if pd.isna(value) else value for value in found[column]] == [None if pd.isna(value) else value for value in cohort.table[column]], column
    raw, marks = cohort.images.raw(), [record_digest(one) for one in records(cohort)]
    for number, row in found.iterrows():
        assert np.array_equal(np.load(tmp_path / "a" / row["pixels_file"])[row["pixels_row"]], raw[number])
        if "image" in found:
            pixels = np.asarray(row["image"])
            assert np.array_equal(np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None], raw[number])
            assert row["image"].text["Description"] == f"{'Real' if kind == 'real' else 'Synthetic'}; record sha256:{marks[number]}"
    assert ("image" in found) == (kind not in ("brain", "nodule"))
    assert sk.verify(tmp_path / "a" / "cohort").passed and sk.load(tmp_path / "a" / "cohort").version == cohort.version


def test_every_file_is_named_by_its_digest_and_damage_is_refused(tmp_path):
    path = sk.to_croissant(toys(), tmp_path / "a")
    named = {one["contentUrl"]: one["sha256"] for one in texts(path)["distribution"]}
    there = {one.relative_to(tmp_path / "a").as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
             for one in (tmp_path / "a").rglob("*") if one.is_file() and one.name not in (path.name, store.LOCK)}  # fmt: skip
    assert named == there and len(there) == 6
    again = sk.to_croissant(toys(), tmp_path / "b")
    assert again.read_bytes() == path.read_bytes(), "the same cohort gives the same bytes"
    rows = tmp_path / "a" / "records.parquet"
    rows.write_bytes(rows.read_bytes() + b"x")
    with pytest.raises(Exception, match="records.parquet") as refused:
        read(path)
    assert "not identical with the reference" in str(refused.value.__cause__)


def test_types_and_meanings_follow_the_schema(tmp_path):
    fields = {one["name"]: one for one in texts(sk.to_croissant(toys(), tmp_path))["recordSet"][0]["field"]}
    assert {name: fields[name]["dataType"] for name in ("image_id", "lesion", "age", "pixels_row", "image")} == {
        "image_id": "sc:Text", "lesion": "sc:Text", "age": "sc:Float", "pixels_row": "sc:Integer", "image": "sc:ImageObject"}  # fmt: skip
    assert fields["diameter"]["description"] == "factor diameter: 2 to 8 mm; only where lesion is present"
    assert fields["sex"]["description"] == "factor sex: one of F, M; sensitive"


def test_what_is_said_of_origin_and_limits_is_what_is_known(tmp_path):
    fake = toys()
    told = texts(sk.to_croissant(fake, tmp_path / "a", biases=["Of one scanner."], limitations=["Chest films only."], more={"rai:dataUseCases": ["Teaching"]}))
    assert told["rai:hasSyntheticData"] is True and told["license"] == "CC0" and told["version"] == f"1.0.0+{fake.version}"
    assert fake.provenance.digests["weights"] in told["rai:dataCollection"] and "seed 3" in told["rai:dataCollection"]
    women = int((fake.table["sex"] == "F").sum())
    assert told["rai:dataBiases"] == [f"sex: F {women}, M {4 - women} of 4 images", told["rai:dataBiases"][1], "Of one scanner."]
    assert {"Chest films only.", *fake.caveats()} <= set(told["rai:dataLimitations"]) and told["rai:dataUseCases"] == ["Teaching"]
    assert told["rai:personalSensitiveInformation"][0] == "Sensitive columns: sex, age."
    real = texts(sk.to_croissant(toy_cohort(4), tmp_path / "b", name="Mine", more={"description": "Toys."}))
    assert real["rai:hasSyntheticData"] is False and "rai:dataCollectionType" not in real and real["rai:dataUseCases"] == ["not stated"]
    assert (real["name"], real["description"]) == ("Mine", "Toys.") and "of patients" in real["rai:personalSensitiveInformation"][1]


def test_a_saved_cohort_is_described_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 2 * 2 * 256)
    fake = toys()
    folder = fake.save(tmp_path / "sets" / "mine", qc=sk.check(fake))
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    path = sk.to_croissant(folder, tmp_path / "sets")
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before and len(read_manifest(folder / "cohort.json")["shards"]) == 2
    assert read(path)["pixels_row"].tolist() == [0, 1, 0, 1] and len(texts(path)["distribution"]) == 2 + 2 * 4 + 1
    with pytest.raises(DataError, match="does not lie inside"):
        sk.to_croissant(folder, tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="no saved cohort"):
        sk.to_croissant(tmp_path / "sets", tmp_path)
    next(folder.glob("qc-*")).write_bytes(b"")
    with pytest.raises(StoreError, match="changed or damaged"):
        sk.to_croissant(folder, tmp_path / "sets")


def test_channels_that_png_holds_one_by_one(tmp_path):
    base = toys()
    space = sk.Space((16, 16), (sk.Channel("T1", high=65535), sk.Channel("T2", high=65535)))
    raw = np.random.default_rng(0).integers(0, 65536, (4, 2, 16, 16)).astype(np.uint16)
    cohort = sk.Cohort.of(raw, base.table, schema=base.schema, space=space, provenance=base.provenance)
    rows = pd.read_parquet(sk.to_croissant(cohort, tmp_path).parent / "records.parquet")
    assert all(np.array_equal(np.asarray(Image.open(io.BytesIO(rows[f"image_T{1 + channel}"][2]))), raw[2, channel]) for channel in (0, 1))


def test_what_cannot_be_described_is_refused(tmp_path):
    fake = toys()
    (tmp_path / "file").write_text("mine")
    for cohort, folder, more, said in (
        (fake[:0], tmp_path / "a", {}, "is empty; give one image or more"), (fake, tmp_path, {}, "holds other files"),
        (fake, tmp_path / "file", {}, "is a file"), (fake, tmp_path / "a", {"license": "mine"}, "'license' follows from the cohort"),
        (fake, tmp_path / "a", {"recordSet": []}, "'recordSet' follows"), (fake, tmp_path / "a", {"rai:hasSyntheticData": False}, "follows"),
        ("nowhere", tmp_path / "a", {}, "no saved cohort"), (5, tmp_path / "a", {}, "got 5; give a cohort"),
    ):  # fmt: skip
        with pytest.raises((DataError, StoreError), match=said):
            sk.to_croissant(cohort, folder, more=more)
    for options, said in (({"biases": 3}, "biases: got 3; give a sentence"), ({"limitations": {1}}, "limitations: got a set"), ({"name": 5}, "name: got 5"),
                          ({"more": ["x"]}, "more: got a list; give a mapping")):  # fmt: skip
        with pytest.raises(DataError, match=said):
            sk.to_croissant(fake, tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()
    sk.to_croissant(fake, tmp_path / "b")
    with pytest.raises(DataError, match="holds another cohort"):
        sk.to_croissant(fake[:2], tmp_path / "b")
    with store.writing(tmp_path / "d" / "cohort"):
        with pytest.raises(StoreError, match="written by another process"):
            sk.to_croissant(fake, tmp_path / "d")
    clash = sk.Cohort(fake.images, fake.table.assign(image="x"), fake.schema, fake.provenance)
    with pytest.raises(DataError, match="has a column 'image'"):
        sk.to_croissant(clash, tmp_path / "c")


@pytest.mark.parametrize("at", [1, 5, 6])
def test_an_interrupted_description_is_absent_and_completed_by_the_same_call(tmp_path, monkeypatch, at):
    sync, calls = os.fsync, []

    def breaks(number: int) -> None:
        calls.append(number)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises((DataError, StoreError), match="No space left on device"):
        sk.to_croissant(toys(), tmp_path / "a")
    monkeypatch.undo()
    assert not (tmp_path / "a" / "croissant.json").exists() and not [*tmp_path.rglob("*.part")]
    assert len(read(sk.to_croissant(toys(), tmp_path / "a"))) == 4

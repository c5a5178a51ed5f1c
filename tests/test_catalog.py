"""The catalog: what it says, where it looks for copies, and how it makes them."""
import sys
import types

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthkit.data import entry as entries_module
from synthkit.data.catalog import catalog, check, entry, entry_names, load_entry, prepare
from synthkit.data.entry_load import schema_of
from synthkit.data.load import load
from synthkit.errors import DataError, MissingExtraError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty machine: no data, an own cache and key."""
    monkeypatch.delenv("SYNTHKIT_DATA", raising=False)
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path / "config"))
    return tmp_path


def test_every_entry_says_what_a_user_must_know(home):
    table = catalog()
    assert table["name"].tolist() == [*entry_names()] and {"chest-phantom", "nih-cxr64", "mni152"} <= set(table["name"])
    assert (table["licence"].str.len() > 3).all() and set(table["available"]) <= {"yes", "no"} and table["how"].str.len().gt(5).all()
    for name in entry_names():
        one = entry(name)
        assert one.citation and one.terms and one.source and one.notes and name in one.text() and one._repr_html_()
        assert one.get == "embedded" or one.address.startswith("https://")
        assert one.layout != "arrays" or (one.schema.factors and one.patient and set(one.schema.sensitive) == {"sex", "age"})
        for known in one.files.values():
            assert all(len(digest) in (len("sha256:") + 64, len("md5:") + 32) for digest in known)


def test_the_findings_of_nih_are_declared():
    names = entry("nih-cxr64").schema.names
    assert names[:3] == ("age", "sex", "view") and len(names) == 17 and "pleural_thickening" in names


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(DataError, match="no 'nih-cxr'; did you mean 'nih-cxr64'"):
        entry("nih-cxr")


def test_a_missing_copy_says_what_to_do(home):
    with pytest.raises(DataError) as caught:
        load("nih-cxr64")
    for part in ("https://nihcc.app.box.com", "synthkit data prepare nih-cxr64 --from FOLDER", "SYNTHKIT_DATA", "cxr_nih64"):
        assert part in str(caught.value)
    assert check("nih-cxr64")["verdict"].tolist() == ["missing", "missing"]


def test_a_failed_download_says_what_to_do(home, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("offline")

    monkeypatch.setattr("pooch.retrieve", refuse)
    with pytest.raises(DataError, match="could not be downloaded.*zenodo.*by hand"):
        load("pneumoniamnist")


def test_a_download_is_asked_for_with_its_digest(home, monkeypatch):
    asked = {}

    def fetch(url, *, known_hash, fname, path):
        asked.update(url=url, hash=known_hash)
        path.mkdir(parents=True)
        rng = np.random.default_rng(0)
        arrays = {f"{p}_images": rng.integers(0, 255, (4, 28, 28), np.uint8) for p in ("train", "val", "test")}
        np.savez(path / fname, **arrays, **{f"{p}_labels": np.array([[0], [1], [1], [0]]) for p in ("train", "val", "test")})

    monkeypatch.setattr("pooch.retrieve", fetch)
    cohort = load("pneumoniamnist")
    assert asked["hash"].startswith("md5:") and asked["url"].endswith("pneumoniamnist.npz")
    assert (cohort.table["pneumonia"] == "present").sum() == 6 and cohort.table["split"].nunique() == 3
    assert any("not the copy whose digest" in note for note in cohort.notes)


def test_what_the_entry_decides_is_not_an_option():
    with pytest.raises(DataError, match="patient= has no effect on 'nih-cxr64'"):
        load("nih-cxr64", patient="patient_id")


def nih_download(folder):
    (folder / "images_001" / "images").mkdir(parents=True)
    labels = ["Effusion|Mass", "No Finding", "Pleural_Thickening", "Hernia"]
    names = [f"{number // 2:08d}_{number % 2:03d}.png" for number in range(4)]
    for number, name in enumerate(names):
        picture = np.random.default_rng(number).integers(0, 255, (128, 128)).astype(np.uint8)
        Image.fromarray(np.dstack([picture] * 3 + [np.full_like(picture, 255)]) if number == 3 else picture).save(folder / "images_001" / "images" / name)
    table = {"Image Index": [*names, "gone.png"], "Finding Labels": [*labels, "Mass"], "Follow-up #": range(5), "Patient ID": ["1", "1", "2", "2", "3"],
             "Patient Age": [58, 414, 61, 30, 9], "Patient Gender": list("MFFMM"), "View Position": ["PA", "AP", "PA", "PA", "PA"], "Height]": 1}  # fmt: skip
    pd.DataFrame(table).to_csv(folder / "Data_Entry_2017_v2020.csv", index=False)
    (folder / "test_list.txt").write_text(names[0])
    return folder


def test_nih_is_prepared_from_its_download(home, tmp_path):
    written = prepare("nih-cxr64", nih_download(tmp_path / "download"))
    assert written == tmp_path / "cache" / "data" / "cxr_nih64" and entry("nih-cxr64").local_folder() == written
    cohort = load("nih-cxr64")
    assert cohort.space.shape == (1, 64, 64) and len(cohort.schema.names) == 17
    assert cohort.table["effusion"].tolist() == ["present", "absent", "absent", "absent"]
    assert cohort.table["patient_id"].tolist() == ["1", "1", "2", "2"] and cohort.table["image_id"][3] == "00000001_001"
    assert cohort.table["age"].isna().tolist() == [False, True, False, False] and cohort.table["split"].tolist() == ["test", "train", "train", "train"]
    assert any("not the copy whose digest" in note for note in cohort.notes) and set(check("nih-cxr64")["verdict"]) == {"differs"}
    assert load("nih-cxr64", size=32, factors=["sex", "effusion"]).schema.names == ("sex", "effusion")


def test_ham_is_prepared_from_its_download(home, tmp_path):
    source = tmp_path / "download" / "HAM10000_images_part_1"
    source.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (90, 120, 3)).astype(np.uint8)).save(source / f"ISIC_{number}.jpg")
    table = {"lesion_id": ["a", "a", "b"], "image_id": [f"ISIC_{n}" for n in range(3)], "dx": ["nv", "nv", "mel"], "dx_type": "histo", "age": [40, 40, ""],
             "sex": ["male", "male", "unknown"], "localization": ["back", "back", "unknown"]}  # fmt: skip
    pd.DataFrame(table).to_csv(tmp_path / "download" / "HAM10000_metadata.csv", index=False)
    prepare("ham10000-64", tmp_path / "download")
    cohort = load_entry("ham10000-64")
    assert cohort.space.shape == (3, 64, 64) and cohort.table["patient_id"].tolist() == ["a", "a", "b"]
    assert cohort.table["sex"].isna().tolist() == [False, False, True] and cohort.table["dx"].tolist() == ["nv", "nv", "mel"]


def test_what_cannot_be_prepared_says_how(home, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no Data_Entry_2017\*.csv"):
        prepare("nih-cxr64", tmp_path / "empty")
    with pytest.raises(DataError, match="metadata.csv with the columns index .*, patient_id, age"):
        prepare("cohen-cxr128", tmp_path / "empty")
    with pytest.raises(DataError, match="needs no preparation"):
        prepare("mni152", tmp_path / "empty")
    with pytest.raises(DataError, match="is no folder"):
        prepare("nih-cxr64", tmp_path / "nowhere")


def test_the_template_comes_with_nilearn(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(MissingExtraError, match="pip install nilearn"):
        load("mni152")
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((6, 7, 8)), np.diag([2, 2, 2, 1]))
    image.header.set_xyzt_units("mm")
    datasets = types.SimpleNamespace(load_mni152_template=lambda resolution: image)
    monkeypatch.setitem(sys.modules, "nilearn", types.SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "nilearn.datasets", datasets)
    cohort = load("mni152")
    assert len(cohort) == 1 and cohort.space.shape == (1, 8, 7, 6) and cohort.space.spacing_mm == (2, 2, 2)


def test_the_catalog_is_found_inside_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "site" / "synthkit" / "data"
    package.mkdir(parents=True)
    fields = "title: t, get: embedded, layout: phantom, images: 1, size: [8, 8], channel: x, source: s, licence: l, terms: t, citation: c"
    (package.parent / "data_catalog.yaml").write_text(f"only: {{{fields}}}")
    monkeypatch.setattr(entries_module, "__file__", str(package / "entry.py"))
    entries_module.entries.cache_clear()
    try:
        assert [*entries_module.entries()] == ["only"]
    finally:
        entries_module.entries.cache_clear()


@pytest.mark.parametrize(("name", "shape", "factors"), [
    ("chest-phantom", (1, 32, 32), ["age", "effusion"]),
    ("brain-phantom", (4, 32, 32, 32), ["age", "tumour"]),
    ("nodule-phantom", (1, 32, 32, 32), ["diameter", "malignancy"]),
])  # fmt: skip
def test_phantoms_are_loaded_by_name(home, monkeypatch, name, shape, factors):
    from synthkit.phantoms.phantom import Phantom

    few = Phantom.cohort
    monkeypatch.setattr(Phantom, "cohort", lambda self, count, seed=0: few(self, 2, seed=seed))
    cohort = load(name, size=32, factors=factors)
    assert cohort.provenance.kind == "synthetic" and cohort.space.shape == shape and cohort.schema.names == tuple(factors)
    assert set(factors) <= set(schema_of(entry(name)).names)
    with pytest.raises(DataError, match="equal sides"):
        load(name, size=(32, 64) if len(shape) == 3 else (32, 32, 64))


@pytest.mark.parametrize(("name", "shape"), [("nih-cxr64", (1, 64, 64)), ("ham10000-64", (3, 64, 64)), ("cohen-cxr128", (1, 128, 128)),
                                            ("lgg-flair-3d", (1, 32, 64, 64)), ("pneumoniamnist", (1, 28, 28))])  # fmt: skip
def test_real_copies_load_by_name(real_data, home, monkeypatch, name, shape):
    monkeypatch.setenv("SYNTHKIT_DATA", str(real_data))
    cohort = load(name)
    assert cohort.space.shape == shape and cohort.schema == entry(name).schema and "split" in cohort.table
    assert cohort.provenance.source == name and cohort.provenance.licence == entry(name).licence and len(cohort.skipped) == 0
    counts = cohort.counts()
    assert (counts["level"] != "missing").any() and cohort.schema.encode(cohort.table).std() > 0
    assert bool(entry(name).patient) == (cohort.table["patient_id"].nunique() != len(cohort) or name in ("lgg-flair-3d", "ham10000-64"))

"""FHIR out: valid R4 by an independent validator, marked on every resource, and read back as it was."""
import json

import numpy as np
import pytest
from toys import toy_cohort

import synthkit as sk
from synthkit.export.fhir import study_uid, to_fhir


@pytest.fixture(scope="module")
def films():
    return sk.ChestPhantom(32).cohort(12, seed=3)


def test_every_resource_is_valid_r4_and_marked(films, tmp_path):
    bundles = pytest.importorskip("fhir.resources.R4B.bundle", reason="fhir.resources is not installed; it comes with the test extra")
    paths = to_fhir(films, tmp_path)
    assert len(paths) == 12 and sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        text = path.read_text()
        assert len(bundles.Bundle.model_validate_json(text).entry) >= 2
        for one in (json.loads(text), *(entry["resource"] for entry in json.loads(text)["entry"])):
            assert one["meta"]["security"][0]["code"] == "HTEST" and one["meta"]["tag"][0]["code"] == "synthetic"


def test_what_was_written_is_read_back(films, tmp_path):
    to_fhir(films, tmp_path)
    codes = sk.fhir_codes()
    codes.loc[len(codes)] = ["Observation", "urn:mine", "ctr", "heart_ratio", "", "1", 0, 1]
    to_fhir(films, tmp_path, codes=codes)
    back = sk.load_fhir(tmp_path, codes=codes).table.set_index("study_uid")
    told = back.loc[[study_uid(name) for name in films.table["image_id"]]]
    for name in ("sex", "effusion"):
        assert told[name].tolist() == films.table[name].tolist()
    assert np.allclose(told["heart_ratio"], films.table["heart_ratio"]) and np.abs(told["age"].to_numpy() - films.table["age"]).max() < 1


def test_factors_without_a_code_keep_their_name(films, tmp_path):
    entries = [entry["resource"] for path in to_fhir(films, tmp_path) for entry in json.loads(path.read_text())["entry"]]
    texts = {one["code"]["text"] for one in entries if one["resourceType"] == "Observation"}
    assert {"heart ratio", "opacity", "view", "site"} <= texts
    unknown = sk.load_fhir(tmp_path).unknown
    assert "heart ratio" in unknown["display"].tolist() and not set(unknown["display"]) & {"effusion"}


def test_real_images_are_never_called_test_data(tmp_path):
    with pytest.raises(sk.AbilityError, match="the cohort is real; only synthetic"):
        to_fhir(toy_cohort(3), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_to_write_and_nowhere_to_write(films, tmp_path):
    (tmp_path / "file").write_text("")
    for cohort, folder in ((films[:0], tmp_path), (films, tmp_path / "file")):
        with pytest.raises(sk.DataError, match="one image or more, and a folder"):
            to_fhir(cohort, folder)
    with pytest.raises(sk.DataError, match="cohort: got a Table|cohort: got a DataFrame"):
        to_fhir(films.table, tmp_path)

"""FHIR out: valid R4 by an independent validator, marked on every resource, and read back as it was."""
import json
import os
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from toys import exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.lineage import record_digest, records
from synthkit.export.fhir import to_fhir
from synthkit.export.uids import study_uid, uid

SHA256, UID = "urn:synthkit:sha256", "urn:dicom:uid"


@pytest.fixture(scope="module")
def films():
    return sk.ChestPhantom(32).cohort(12, seed=3)


def toys(count: int = 4) -> sk.Cohort:
    return exact_generator(toy_cohort(24)).sample(toy_table(count).assign(age=[30.5, np.nan, *[61.25] * (count - 2)]), seed=3)


def two_studies() -> sk.Cohort:
    """One patient with a sampled and an edited image, by two makers."""
    gen = exact_generator(toy_cohort(24))
    sampled = gen.sample(toy_table(1), seed=3)
    both = sampled + gen.edit(sampled, {"lesion": "present"})
    return sk.Cohort(both.images, both.table.assign(patient_id="one"), both.schema, both.provenance)


COHORTS = {
    "films": lambda: sk.ChestPhantom(32).cohort(12, seed=3), "sampled": toys, "two studies": two_studies,
    "brain": lambda: sk.BrainPhantom(32).cohort(1, seed=3),
    "edited": lambda: exact_generator(toy_cohort(24)).edit(toy_cohort(4), {"lesion": "present"}),
}  # fmt: skip


def bundles(paths: list[Path]) -> list[dict[str, list[dict]]]:
    """{type: resources} of each file."""
    out = []
    for path in paths:
        kinds: dict[str, list[dict]] = {}
        for entry in json.loads(path.read_text())["entry"]:
            kinds.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
        out.append(kinds)
    return out


@pytest.mark.parametrize("kind", COHORTS)
def test_every_resource_is_valid_r4_marked_and_refers_to_what_is_there(kind, tmp_path):
    models = pytest.importorskip("fhir.resources.R4B", reason="fhir.resources is not installed; it comes with the test extra")
    cohort = COHORTS[kind]()
    paths = to_fhir(cohort, tmp_path)
    assert len(paths) == cohort.table["patient_id"].nunique() and sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        text = path.read_text()
        bundle = json.loads(text)
        entries = [entry["resource"] for entry in bundle["entry"]]
        assert len({one["id"] for one in entries}) == len(entries)
        for one in (bundle, *entries):
            assert one["meta"]["security"][0]["code"] == "HTEST" and one["meta"]["tag"][0]["code"] == "synthetic"
            models.get_fhir_model_class(one["resourceType"]).model_validate(one)
        addresses = {entry["fullUrl"] for entry in bundle["entry"]}
        named = re.findall(r'"reference": "([^"]+)"', text)
        assert named and set(named) <= addresses
    again = to_fhir(cohort, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths], "the same cohort gives the same bytes"


def test_the_study_is_that_of_the_dicom_files(tmp_path):
    for kind in ("films", "sampled", "brain", "edited"):
        cohort = COHORTS[kind]()
        files = [pydicom.dcmread(path, stop_before_pixels=True) for path in sk.to_dicom(cohort, tmp_path / kind / "dicom")]
        written = {(one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality, one.SOPInstanceUID, f"urn:oid:{one.SOPClassUID}", one.InstanceNumber)
                   for one in files}  # fmt: skip
        told = set()
        for kinds in bundles(to_fhir(cohort, tmp_path / kind / "fhir")):
            for study in kinds["ImagingStudy"]:
                (identifier,) = (one["value"].removeprefix("urn:oid:") for one in study["identifier"] if one["system"] == UID)
                assert study["numberOfInstances"] == sum(series["numberOfInstances"] for series in study["series"])
                told |= {(identifier, series["uid"], series["modality"]["code"], one["uid"], one["sopClass"]["code"], one["number"])
                         for series in study["series"] for one in series["instance"]}  # fmt: skip
        assert told == written and len(told) == len(files), kind
    spaced = sk.ChestPhantom(32).cohort(1, seed=3)
    with pytest.raises(sk.DataError, match="spacing of these images is not known; give modality='CR'"):
        to_fhir(spaced, tmp_path / "DX", modality="DX")
    assert not (tmp_path / "DX").exists()


def test_a_record_and_its_files_find_each_other(films, tmp_path):
    sk.to_dicom(films, tmp_path / "dicom")
    to_fhir(films, tmp_path / "fhir")
    joined = sk.load_fhir(tmp_path / "fhir").images(tmp_path / "dicom")
    assert len(joined) == len(films) and joined.provenance.kind == "synthetic"
    key = {pixels.tobytes(): row for row, pixels in enumerate(films.images.raw())}
    rows = [key[pixels.tobytes()] for pixels in joined.images.raw()]
    assert sorted(rows) == [*range(len(films))]
    for name in ("sex", "effusion"):
        assert joined.table[name].tolist() == films.table[name].iloc[rows].tolist()


def test_a_report_says_what_was_asked_for_and_that_nobody_read_it(films, tmp_path):
    for kinds, (_, row) in zip(bundles(to_fhir(films, tmp_path)), films.table.iterrows()):
        (report,), (study,) = kinds["DiagnosticReport"], kinds["ImagingStudy"]
        assert report["imagingStudy"][0]["reference"].endswith(study["id"]) and "nobody has read it" in report["conclusion"]
        assert {one["reference"][9:] for one in report["result"]} == {one["id"] for one in kinds["Observation"]}
        assert f"effusion {row['effusion']};" in report["conclusion"]
        assert ("effusion side" in report["conclusion"]) == (row["effusion"] == "present"), "what does not apply is not said to be missing"
        present = [name for name in films.schema.names if row[name] == "present"]
        assert [code["text"] for code in report.get("conclusionCode", [])] == [name.replace("_", " ") for name in present]


def test_provenance_names_record_model_and_data(tmp_path):
    train = toy_cohort(24)
    gen = exact_generator(train)
    fake = gen.sample(toy_table(3), seed=3)
    edited = gen.edit(train[:2], {"lesion": "present"})
    for cohort in (fake, edited):
        marks = [record_digest(one) for one in records(cohort)]
        for number, kinds in enumerate(bundles(to_fhir(cohort, tmp_path / cohort.provenance.kind))):
            (told,), (device,) = kinds["Provenance"], kinds["Device"]
            assert {one["reference"][9:] for one in told["target"]} == {kinds["ImagingStudy"][0]["id"], kinds["DiagnosticReport"][0]["id"]}
            assert told["agent"][0]["who"]["reference"][9:] == device["id"] and device["modelNumber"] == "Diffusion"
            assert {"type": {"text": "software"}, "value": fake.provenance.code} in device["version"]
            digests = {one["what"]["identifier"]["value"] for one in told["entity"] if one["what"].get("identifier", {}).get("system") == SHA256}
            assert {marks[number], gen.weights_digest(), "0"} <= digests  # "0": the toy's training data
            sources = [one["what"]["identifier"] for one in told["entity"] if one["role"] == "source"]
            wanted = [] if cohort is fake else [{"system": UID, "value": f"urn:oid:{uid('source', cohort.table['source_id'][number])}"}]
            assert sources == wanted
    (kinds,) = bundles(to_fhir(two_studies(), tmp_path / "two"))
    assert len(kinds["ImagingStudy"]) == len(kinds["Provenance"]) == len(kinds["Device"]) == 2
    assert {one["agent"][0]["who"]["reference"][9:] for one in kinds["Provenance"]} == {one["id"] for one in kinds["Device"]}


def test_an_export_that_broke_off_leaves_whole_bundles_and_is_completed(films, tmp_path, monkeypatch):
    sync, calls = os.fsync, []

    def breaks(number: int) -> None:
        calls.append(number)
        if len(calls) == 6:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises(sk.DataError, match="No space left on device.*completes what is there"):
        to_fhir(films, tmp_path / "a")
    monkeypatch.undo()
    left = [*(tmp_path / "a").iterdir()]
    assert len(left) == 5 and all({"Patient", "ImagingStudy", "Provenance"} <= set(kinds) for kinds in bundles(left))
    whole = to_fhir(films, tmp_path / "b")
    assert [path.read_bytes() for path in to_fhir(films, tmp_path / "a")] == [path.read_bytes() for path in whole]


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
    with pytest.raises(sk.DataError, match="is empty; give one image or more"):
        to_fhir(films[:0], tmp_path)
    with pytest.raises(sk.DataError, match="is a file; give a folder"):
        to_fhir(films, tmp_path / "file")
    with pytest.raises(sk.DataError, match="cohort: got a Table|cohort: got a DataFrame"):
        to_fhir(films.table, tmp_path)

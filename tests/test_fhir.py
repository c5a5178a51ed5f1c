"""Clinical records in FHIR R4: a bundle written by hand from the specification, one in Synthea's style, and what is wrong with others."""
import json

import numpy as np
import pandas as pd
import pytest
from pydicom.uid import generate_uid
from test_dicom import ramp, write

import synthkit as sk

SNOMED, LOINC, ICD = "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"
STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
UIDS = [generate_uid(entropy_srcs=[name]) for name in ("one", "two", "three")]


def concept(system: str, code: str, display: str = "") -> dict:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def condition(name: str, patient: str, code: dict, *, verified: str = "confirmed", **more: object) -> dict:
    return {"resourceType": "Condition", "id": name, "clinicalStatus": concept(STATUS, "active"), "verificationStatus": concept(VERIFIED, verified),
            "code": code, "subject": {"reference": patient}, **more}  # fmt: skip


def measurement(name: str, patient: str, code: str, value: float, unit: str, when: str, **more: object) -> dict:
    quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {"resourceType": "Observation", "id": name, "status": "final", "code": concept(LOINC, code), "subject": {"reference": patient},
            "effectiveDateTime": when, "valueQuantity": quantity, **more}  # fmt: skip


def study(name: str, patient: str, uid: str, started: str) -> dict:
    return {"resourceType": "ImagingStudy", "id": name, "status": "available", "subject": {"reference": patient}, "started": started,
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "series": [{"uid": generate_uid(entropy_srcs=[name]),
                        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "DX"}}]}  # fmt: skip


def by_hand() -> dict:
    """Two patients and three studies, with references as "Patient/…"."""
    a, b = "Patient/a", "Patient/b"
    smoking = {"resourceType": "Observation", "id": "s1", "status": "final", "code": concept(LOINC, "72166-2"), "subject": {"reference": b},
               "effectiveDateTime": "2020-05-01", "valueCodeableConcept": concept(SNOMED, "8517006", "Ex-smoker")}  # fmt: skip
    pressure = {"resourceType": "Observation", "id": "p1", "status": "final", "code": concept(LOINC, "85354-9"), "subject": {"reference": a},
                "effectiveDateTime": "2020-03-01", "component": [{"code": concept(LOINC, "8480-6"),
                                                              "valueQuantity": {"value": 142, "code": "mm[Hg]"}}]}  # fmt: skip
    resources = [
        {"resourceType": "Patient", "id": "a", "gender": "female", "birthDate": "1950-06-15"},
        {"resourceType": "Patient", "id": "b", "gender": "male", "birthDate": "1988"},
        study("one", a, UIDS[0], "2020-03-01T10:30:00+01:00"), study("two", a, UIDS[1], "2023-03-01"), study("three", b, UIDS[2], "2020-06-01"),
        condition("c1", a, concept(SNOMED, "60046008"), onsetDateTime="2020-03-04", abatementDateTime="2020-04-20"),
        condition("c2", a, concept(ICD, "J44.9"), onsetDateTime="2021-01-01"),
        condition("c3", b, concept(SNOMED, "233604007"), verified="provisional", onsetDateTime="2020-05-30"),
        condition("c4", b, concept(ICD, "J93.9"), verified="refuted", onsetDateTime="2020-05-30"),
        condition("c5", b, concept(SNOMED, "195662009", "Acute viral pharyngitis"), recordedDate="2019-01-01"),
        measurement("o1", a, "29463-7", 150.0, "[lb_av]", "2020-01-01"), measurement("o2", a, "29463-7", 80.0, "kg", "2022-12-01"),
        measurement("o3", b, "39156-5", 500.0, "kg/m2", "2020-05-01"), measurement("o4", b, "8302-2", 6.0, "[ft_i]", "2020-05-01"), smoking, pressure,
    ]  # fmt: skip
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource} for resource in resources]}


def synthea(number: int, uid: str) -> dict:
    """One patient a bundle, entries that refer to each other by urn:uuid, resources of kinds that are not wanted."""
    who = f"urn:uuid:0000-{number}"
    entries = {
        who: {"resourceType": "Patient", "id": f"0000-{number}", "gender": "male", "birthDate": "1960-02-02", "name": [{"family": "Abbott774"}]},
        f"urn:uuid:enc-{number}": {"resourceType": "Encounter", "id": f"enc-{number}", "status": "finished", "class": {"code": "AMB"}},
        f"urn:uuid:con-{number}": condition(f"con-{number}", who, concept(SNOMED, "59621000", "Hypertension"), onsetDateTime="2001-05-05T03:11:11-04:00"),
        f"urn:uuid:obs-{number}": measurement(f"obs-{number}", who, "39156-5", 28.4, "kg/m2", "2019-11-11T03:11:11-05:00"),
        f"urn:uuid:img-{number}": study(f"img-{number}", who, uid, "2020-02-03T03:11:11-05:00"),
    }
    return {"resourceType": "Bundle", "type": "transaction",
            "entry": [{"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
                      for url, one in entries.items()]}  # fmt: skip


@pytest.fixture
def record(tmp_path):
    (tmp_path / "bundle.json").write_text(json.dumps(by_hand()))
    return sk.load_fhir(tmp_path / "bundle.json")


def test_each_study_has_the_factors_of_its_own_day(record):
    rows = record.table.set_index("study_uid").loc[UIDS]
    assert rows["age"].tolist() == [69, 72, 31] and rows["sex"].tolist() == ["F", "F", "M"] and rows["patient_id"].tolist() == ["a", "a", "b"]
    assert rows["effusion"].tolist() == ["present", "absent", "absent"], "found three days after the first study, gone before the second"
    assert rows["copd"].tolist() == ["absent", "present", "absent"]
    assert rows["weight"].round(2).tolist()[:2] == [68.04, 80.0] and np.isnan(rows["weight"].iloc[2])
    assert rows["systolic_pressure"].tolist()[0] == 142 and np.isnan(rows["systolic_pressure"].iloc[1]), "three years off"
    assert rows["smoking"].tolist() == [None, None, "former"] and record.schema["smoking"].levels == ("never", "former", "current")


def test_what_is_uncertain_refuted_or_wrong_is_not_a_finding(record):
    rows = record.table.set_index("study_uid").loc[UIDS]
    assert rows["pneumonia"].tolist() == ["absent", "absent", None] and "pneumothorax" not in rows and "bmi" not in rows and "height" not in rows
    reasons = record.skipped.set_index("id")["reason"]
    assert "bmi 500 kg/m2 is outside 8..90" in reasons["o3"] and "height in [ft_i]" in reasons["o4"]


def test_unknown_codes_are_listed_and_can_be_made_known(record, tmp_path):
    assert record.unknown["code"].tolist() == ["195662009"] and record.unknown["display"].tolist() == ["Acute viral pharyngitis"]
    codes = sk.fhir_codes()
    codes.loc[len(codes)] = ["Condition", "SNOMED CT", "195662009", "pharyngitis", "present", "", None, None]
    again = sk.load_fhir(tmp_path / "bundle.json", codes=codes)
    assert again.table["pharyngitis"].tolist() == ["absent", "absent", "present"] and not len(again.unknown)
    assert "1 entries carry 1 codes" in " ".join(record.notes) and "study_uid" in record._repr_html_()


def test_a_folder_in_syntheas_style_is_joined_to_its_images(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path / "config"))
    for folder in ("fhir", "images"):
        (tmp_path / folder).mkdir()
    for number, uid in enumerate(UIDS):
        (tmp_path / "fhir" / f"Abbott774_{number}.json").write_text(json.dumps(synthea(number, uid)))
        write(tmp_path / "images" / f"{number}.dcm", ramp(), StudyInstanceUID=uid, PatientID=f"0000-{number}")
    write(tmp_path / "images" / "other.dcm", ramp(), StudyInstanceUID=generate_uid(entropy_srcs=["nobody"]), PatientID="z")
    record = sk.load_fhir(tmp_path / "fhir")
    cohort = record.images(tmp_path / "images")
    known = cohort.table["hypertension"].notna()
    told = cohort.table.loc[known, ["hypertension", "sex", "age", "bmi"]].drop_duplicates()
    assert len(cohort) == 4 and known.sum() == 3 and told.to_numpy().tolist() == [["present", "M", 60.0, 28.4]]
    assert "Abbott" not in cohort.table.to_csv() and "0000-" not in cohort.table.to_csv() and any("counts as absent" in note for note in cohort.notes)


def test_ndjson_and_patients_without_images(tmp_path):
    lines = [entry["resource"] for entry in by_hand()["entry"] if entry["resource"]["resourceType"] != "ImagingStudy"]
    (tmp_path / "all.ndjson").write_text("\n".join(json.dumps(line) for line in lines))
    record = sk.load_fhir(tmp_path / "all.ndjson")
    found = record.table
    assert found["patient_id"].tolist() == ["a", "b"] and found["copd"].tolist() == ["present", "absent"] and found["age"].tolist() == [72, 31]
    with pytest.raises(sk.DataError, match="no imaging study with a DICOM UID"):
        record.images(tmp_path)


def test_an_entry_whose_patient_is_missing_is_listed(tmp_path):
    bundle = by_hand()
    bundle["entry"].append({"resource": condition("lost", "Patient/nobody", concept(SNOMED, "60046008"))})
    (tmp_path / "b.json").write_text(json.dumps(bundle))
    record = sk.load_fhir(tmp_path / "b.json")
    assert "'Patient/nobody' is no Patient" in record.skipped.set_index("id").loc["lost", "reason"] and len(record.table) == 3


def changed(change) -> dict:
    bundle = by_hand()
    change({entry["resource"].get("id"): entry["resource"] for entry in bundle["entry"]})
    return bundle


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(lambda by: by["c1"].update(clinicalStatus="active")), "'clinicalStatus as text', which is FHIR STU3; FHIR R4"),
        (changed(lambda by: by["one"]["series"][0].update(modality=concept("x", "DX"))), "which is FHIR R5"),
        (changed(lambda by: by["a"].update(meta={"profile": ["http://hl7.org/fhir/5.0/StructureDefinition/Patient"]})), "meta.profile of 5.0"),
        ({"resourceType": "Bundle", "type": "collection", "entry": []}, "no Patient among its resources"),
        ({"resourceType": "Bundle", "entry": [{"resource": condition("c", "Patient/a", concept(SNOMED, "1"))}]},
         r"no Patient among its resources \(1 Condition\)"),
        ({"name": "not fhir"}, "JSON without a resourceType"),
        ([1, 2], "JSON without a resourceType"),
    ],
)
def test_other_versions_and_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(sk.DataError, match=message):
        sk.load_fhir(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("source", "codes", "message"),
    [
        ("nowhere", None, "is no file or folder"),
        (".", None, "no .json or .ndjson file in this folder"),
        ("broken.json", None, "not readable as JSON"),
        ("b.json", pd.DataFrame({"code": ["1"]}), "no column 'resource'"),
        ("b.json", "codes.csv", "codes: got 'codes.csv'"),
    ],
)
def test_sources_and_codes_that_cannot_be_used(source, codes, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "b.json").write_text(json.dumps(by_hand()))
    with pytest.raises(sk.DataError, match=message):
        sk.load_fhir(tmp_path / "empty" if source == "." else tmp_path / source, codes=codes)


def test_a_code_table_with_a_wrong_row_says_which(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(by_hand()))
    codes = sk.fhir_codes()
    codes.loc[3, "resource"] = "Procedure"
    with pytest.raises(sk.DataError, match="codes, row 3: resource 'Procedure'"):
        sk.load_fhir(tmp_path / "b.json", codes=codes)


def test_what_is_faulty_is_named_and_stops_nothing_else(tmp_path):
    people = [{"resourceType": "Patient", "id": "a", "gender": "martian", "birthDate": "yesterday"},
              {"resourceType": "Patient", "id": "b", "gender": "female", "birthDate": "1950-01-01"}]  # fmt: skip
    unit = {"code": "kg/m2"}
    values = {"text": {"value": "fat", **unit}, "none": {"value": None}, "nan": {"value": float("nan"), **unit}, "furlong": {"value": 25, "code": "furlong"}}
    seen = [{"resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": "Patient/b"}, "code": concept(LOINC, "39156-5"),
             "effectiveDateTime": "2020-01-01", "valueQuantity": value} for name, value in values.items()]  # fmt: skip
    odd = [{**seen[0], "id": "odd", "code": "39156-5"}]
    (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Bundle", "entry": [{"resource": one} for one in people + seen + odd] + [{"resource": None}]}))
    record = sk.load_fhir(tmp_path)
    assert record.table["sex"].tolist() == [None, "F"] and len(record.skipped) == 6 and "6 entries skipped" in repr(record)
    said = record.skipped.set_index(["resource", "id"])["reason"]
    assert "furlong" in said["Observation", "furlong"] and "no number" in said["Observation", "text"] and "'39156-5'" not in said.to_string()
    reasons = set(record.skipped.loc[record.skipped["resource"] == "Patient", "reason"])
    assert reasons == {"birthDate 'yesterday' is no date", "gender 'martian' is not one of FHIR's"}


@pytest.mark.parametrize("entry", ["x", [None], {"a": 1}])
def test_a_bundle_whose_entries_are_no_list_is_named(tmp_path, entry):
    (tmp_path / "odd.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entry}))
    with pytest.raises(sk.DataError, match="odd.json: its entry is no list of objects"):
        sk.load_fhir(tmp_path)
    with pytest.raises(sk.DataError, match="source=5|source: got 5"):
        sk.load_fhir(5)

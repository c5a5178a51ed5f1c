"""Exports: valid by an independent validator, marked as synthetic, and read back to the bit with factors and lineage."""
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.lineage import record_digest, records
from synthkit.core.space import Channel, Space
from synthkit.data.own_export import SIDECAR, read_exported
from synthkit.errors import AbilityError, DataError
from synthkit.export.uids import study_uid

# The validator of 2022 does not know the attribute Synthetic Data, which the standard took up in 2023.
YOUNGER = "not a recognized standard attribute - (0x0008,0x001c)"
WRITERS = {"dicom": sk.to_dicom, "nifti": sk.to_nifti, "png": sk.to_png}


def toys(count: int = 4) -> sk.Cohort:
    return exact_generator(toy_cohort(24)).sample(toy_table(count).assign(age=[30.5, np.nan, *[61.25] * (count - 2)]), seed=3)


def with_spacing(cohort: sk.Cohort, *steps: float) -> sk.Cohort:
    space = replace(cohort.space, spacing_mm=steps)
    return sk.Cohort.of(cohort.images.raw(), cohort.table, schema=cohort.schema, space=space, provenance=cohort.provenance)


def colours() -> sk.Cohort:
    base, space = toys(), Space((16, 16), tuple(Channel(name, "colour") for name in ("red", "green", "blue")))
    raw = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    return sk.Cohort.of(raw, base.table, schema=base.schema, space=space, provenance=base.provenance)


COHORTS = {
    "grey": toys, "colours": colours, "edited": lambda: exact_generator(toy_cohort(24)).edit(toy_cohort(4), {"lesion": "present"}),
    "chest": lambda: sk.ChestPhantom(64).cohort(3, seed=5), "brain": lambda: sk.BrainPhantom(32).cohort(2, seed=5),
    "nodule": lambda: sk.NodulePhantom(32).cohort(2, seed=5), "mixed": lambda: toys() + exact_generator(toy_cohort(24)).sample(toy_table(3), seed=8),
}  # fmt: skip


@pytest.mark.parametrize("kind", COHORTS)
@pytest.mark.parametrize("form", WRITERS)
def test_the_cohort_comes_back_to_the_bit(tmp_path, kind, form):
    cohort = COHORTS[kind]()
    if form == "png" and kind in ("brain", "nodule"):
        with pytest.raises(DataError, match="do not fit into PNG"):
            sk.to_png(cohort, tmp_path / "a")
        return
    files = WRITERS[form](cohort, tmp_path / "a")
    back = sk.load(tmp_path / "a")
    assert np.array_equal(back.images.raw(), cohort.images.raw()) and back.images.raw().dtype == cohort.images.raw().dtype
    assert (back.space, back.schema, back.provenance) == (cohort.space, cohort.schema, cohort.provenance)
    assert [*records(back)] == [*records(cohort)] and back.version == cohort.version
    again = WRITERS[form](cohort, tmp_path / "b")
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again], "the same cohort gives the same bytes"
    assert read_exported(files[-1]).record in [*records(cohort)]


def complaints(path: Path) -> list[str]:
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    return [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error") and YOUNGER not in line]


@pytest.mark.parametrize(("kind", "modality", "wanted"), [
    ("chest", None, {"CR"}), ("chest", "DX", {"DX"}), ("brain", None, {"MR", "CT"}), ("nodule", None, {"CT"}), ("colours", None, {"OT"}),
    ("grey", None, {"OT"}), ("edited", None, {"OT"}),
])  # fmt: skip
def test_an_independent_validator_finds_no_error(tmp_path, need, kind, modality, wanted):
    need(shutil.which("dciodvfy") is not None, "dciodvfy (Debian: dicom3tools)")
    import pydicom

    cohort = COHORTS[kind]()
    files = sk.to_dicom(with_spacing(cohort, 5, 5) if modality == "DX" else cohort, tmp_path / "a", modality=modality)
    chosen = [*files[:: max(1, len(files) // 8)], files[-1]]
    assert {pydicom.dcmread(path).Modality for path in chosen} == wanted
    assert {str(path): found for path in chosen if (found := complaints(path))} == {}


def test_a_broken_file_would_be_found(tmp_path, need):
    need(shutil.which("dciodvfy") is not None, "dciodvfy (Debian: dicom3tools)")
    import pydicom

    (path,) = sk.to_dicom(sk.ChestPhantom(64).cohort(1, seed=5), tmp_path)
    dataset = pydicom.dcmread(path)
    del dataset.StudyInstanceUID
    dataset.save_as(path)
    assert complaints(path)


@pytest.mark.parametrize(("phantom", "channel"), [(sk.NodulePhantom(32), 0), (sk.BrainPhantom(32), 0)])
def test_a_series_is_a_volume_to_others(tmp_path, need, phantom, channel):
    try:
        import SimpleITK as sitk
    except ImportError:
        need(False, "SimpleITK")
    cohort = phantom.cohort(1, seed=5)
    (folder,) = {path.parent for path in sk.to_dicom(cohort, tmp_path)}
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    assert len(series) == len(cohort.space.channels)
    found = {}
    for one in series:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one)
        volume = sitk.ReadImage(names)
        found[int(Path(names[0]).name.split("-")[0])] = volume
    volume = found[channel]
    assert np.array_equal(sitk.GetArrayFromImage(volume), cohort.images.raw()[0, channel])
    assert volume.GetSpacing() == pytest.approx(cohort.space.spacing_mm[::-1]) and volume.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_files_say_that_they_are_synthetic_and_lead_back(tmp_path):
    import nibabel
    import pydicom
    from PIL import Image

    cohort = COHORTS["edited"]()
    mark, name = record_digest(next(records(cohort))), cohort.table["image_id"][0]
    dicom, nifti, png = (writer(cohort, tmp_path / form)[0] for form, writer in WRITERS.items())
    dataset = pydicom.dcmread(dicom)
    assert dataset.SyntheticData == "YES" and dataset.DerivationDescription == f"Synthetic; record sha256:{mark}" and dataset.ImageType[0] == "DERIVED"
    machine = dataset.ContributingEquipmentSequence[0]
    assert machine.PurposeOfReferenceCodeSequence[0].CodeValue == "109100" and mark in machine.ContributionDescription
    assert dataset.StudyInstanceUID == study_uid(name) and dataset.SourceImageSequence and dataset.PatientID == cohort.table["patient_id"][0]
    assert "SourceImageSequence" not in pydicom.dcmread(sk.to_dicom(toys(), tmp_path / "more")[0])
    assert nibabel.load(nifti).header["descrip"].item().decode() == f"synthetic; record sha256:{mark}"[:79]
    assert Image.open(png).text["Description"] == f"Synthetic; record sha256:{mark}"
    for path in (dicom, nifti, png):
        found = sk.trace(path)
        assert found.holds and mark in found.frame()["digest"].tolist() and found.record["image_id"] == name


def test_changed_pixels_no_longer_fit_their_record(tmp_path):
    import pydicom

    cohort = toys()
    path = sk.to_dicom(cohort, tmp_path / "a")[0]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]
    dataset.save_as(path)
    found = sk.trace(path)
    assert not found.holds and "changed after it was made" in found.frame()["what"].str.cat()
    (slice_, *_) = sk.to_dicom(sk.NodulePhantom(32).cohort(1, seed=5), tmp_path / "b")
    assert sk.trace(slice_).holds and "a part of the image" in sk.trace(slice_).frame()["what"].str.cat()
    (tmp_path / "x.dcm").write_bytes(b"no image")
    for bad, said in ((tmp_path / "x.dcm", "carries no record"), (tmp_path / "none.png", "is no file")):
        with pytest.raises(DataError, match=said):
            sk.trace(bad)


def test_an_export_that_broke_off_is_seen_and_completed(tmp_path, monkeypatch):
    from synthkit.export import dicom

    cohort, calls, write = COHORTS["nodule"](), [], dicom.write_atomically

    def breaks(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 40:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(dicom, "write_atomically", breaks)
    with pytest.raises(DataError, match="No space left on device.*completes what is there"):
        sk.to_dicom(cohort, tmp_path / "a")
    with pytest.raises(DataError, match="1 of 2 images are not there or not whole"):
        sk.load(tmp_path / "a")
    monkeypatch.undo()
    sk.to_dicom(cohort, tmp_path / "a")
    assert sk.load(tmp_path / "a").version == cohort.version and not [*(tmp_path / "a").rglob("*.part")]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("at", [1, 4])
def test_a_full_disk_is_named_and_the_same_call_completes(tmp_path, monkeypatch, form, at):
    cohort, sync, calls = toys(), os.fsync, []

    def breaks(number: int) -> None:
        calls.append(number)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises(DataError, match=f"to_{form}: .*No space left on device.*make room"):
        WRITERS[form](cohort, tmp_path / "a")
    monkeypatch.undo()
    assert not [*tmp_path.rglob("*.part")]
    if at > 1:
        with pytest.raises(DataError, match="2 of 4 images are not there or not whole"):
            sk.load(tmp_path / "a")
    WRITERS[form](cohort, tmp_path / "a")
    assert sk.load(tmp_path / "a").version == cohort.version


PROGRAM = """
import sys
import synthkit as sk
cohort = sk.NodulePhantom(32).cohort(6, seed=5)
print("begins", flush=True)
sk.to_dicom(cohort, sys.argv[1] + "/dicom")
sk.to_fhir(cohort, sys.argv[1] + "/fhir")
sk.to_croissant(cohort, sys.argv[1] + "/croissant")
print("done", flush=True)
"""


@pytest.mark.slow
def test_exports_killed_at_any_moment_are_seen_and_completed(tmp_path):
    cohort, folder, caught, refused = sk.NodulePhantom(32).cohort(6, seed=5), tmp_path / "out", 0, 0
    for moment in (0.02, 0.1, 0.25, 0.45):
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "begins\n"
        time.sleep(moment)
        program.kill()
        caught += "done" not in program.communicate()[0]
        try:
            assert sk.load(folder / "dicom").version == cohort.version
        except DataError as error:
            refused += "not there or not whole" in str(error)
        for path in folder.glob("fhir/*.json"):
            assert json.loads(path.read_text())["resourceType"] == "Bundle"
    sk.to_dicom(cohort, folder / "dicom"), sk.to_fhir(cohort, folder / "fhir"), sk.to_croissant(cohort, folder / "croissant")
    assert caught >= 2 and refused and sk.load(folder / "dicom").version == sk.load(folder / "croissant" / "cohort").version == cohort.version
    assert len([*folder.glob("fhir/*.json")]) == 6


def test_foreign_and_missing_files_are_named(tmp_path):
    cohort = toys()
    files = sk.to_dicom(cohort, tmp_path / "a")
    shutil.copy(sk.to_dicom(toys(3), tmp_path / "b")[0], tmp_path / "a" / "more.dcm")
    with pytest.raises(DataError, match="more.dcm is not of the export"):
        sk.load(tmp_path / "a")
    (tmp_path / "a" / "more.dcm").unlink()
    files[0].unlink()
    with pytest.raises(DataError, match="1 of 4 images are not there"):
        sk.load(tmp_path / "a")


@pytest.mark.parametrize("form", WRITERS)
def test_what_says_that_it_is_synthetic_is_never_loaded_as_real(tmp_path, form):
    fake = sk.ChestPhantom(64).cohort(3, seed=5)
    files = WRITERS[form](fake, tmp_path / "a")
    (tmp_path / "a" / SIDECAR).write_text("{")
    loaded = sk.load(tmp_path / "a", table=None if form == "dicom" else "table.csv")
    assert len(loaded) == 3 and loaded.provenance.kind == "synthetic" and loaded.table["sex"].tolist() == fake.table["sex"].iloc[
        np.argsort([path.name for path in files])].tolist()  # fmt: skip
    with pytest.raises(AbilityError, match="is real"):
        sk.to_png(toy_cohort(3), tmp_path / "b")


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_cannot_be_exported_is_refused(tmp_path, writer):
    fake = toys()
    with pytest.raises(AbilityError, match="is real; only synthetic"):
        writer(toy_cohort(3), tmp_path / "a")
    with pytest.raises(AbilityError, match="is mixed; only synthetic"):
        writer(fake + toy_cohort(3), tmp_path / "a")
    with pytest.raises(DataError, match="is empty"):
        writer(fake[:0], tmp_path / "a")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        writer(fake, tmp_path / "file")
    with pytest.raises(DataError, match="holds other files"):
        writer(fake, tmp_path)
    writer(fake, tmp_path / "b")
    with pytest.raises(DataError, match="holds an export of cohort"):
        writer(fake[:2], tmp_path / "b")
    assert not (tmp_path / "a").exists() and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("kind", "modality", "said"), [("grey", "XX", "allowed are CR, DX, CT, MR, OT"), ("nodule", "CR", "a radiograph is a 2D image"),
                                                        ("colours", "DX", "a radiograph"), ("grey", "CT", "not in Hounsfield units"),
                                                        ("chest", "DX", "spacing of these images is not known; give modality='CR'"),
                                                        ("grey", "MR", "give modality='OT'")])  # fmt: skip
def test_modalities_that_do_not_fit_are_refused(tmp_path, kind, modality, said):
    with pytest.raises(DataError, match=said):
        sk.to_dicom(COHORTS[kind](), tmp_path / "a", modality=modality)
    assert not (tmp_path / "a").exists()

"""DICOM in: what the screen would show, true millimetres, and nothing that names a person."""
import json
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from synthkit.core import store
from synthkit.data import pseudonym as keys
from synthkit.data.dicom_volume import geometry
from synthkit.data.load import load
from synthkit.data.pseudonym import pseudonym
from synthkit.data.skipped import find_skipped
from synthkit.errors import DataError, StoreError

CR, CT, MR, US = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.3.1"
CLASSES = {"CR": CR, "DX": "1.2.840.10008.5.1.4.1.1.1.1", "CT": CT, "MR": MR, "US": US}
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def own_key(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CONFIG", str(tmp_path_factory.mktemp("config")))
        yield


def write(path: Path, pixels: np.ndarray, *, modality: str = "CR", **tags: object) -> Path:
    """A small DICOM file; `tags` are added or replace what is there, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CLASSES[modality], generate_uid(), ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, modality
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    if colour:
        ds.PlanarConfiguration = 0
    if pixels.ndim - colour == 3:
        ds.NumberOfFrames = len(pixels)
    ds.PixelData = np.ascontiguousarray(pixels).tobytes() + b"\0" * (pixels.nbytes % 2)
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.save_as(path)
    return path


def item(**tags: object) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def ramp(height: int = 16, width: int = 16, top: int = 4000) -> np.ndarray:
    return np.linspace(0, top, height * width).reshape(height, width).astype(np.uint16)


def shown(path: Path, **options: object) -> np.ndarray:
    """The pixels of a single file on 0..1."""
    return load(path, **options).images.raw()[0] / 65535


# ---- a hospital's folder, with names everywhere

SURNAMES = ("ABENDROTH", "CASTELLANO", "QUILLFEATHER", "WOJCIECHOWSKI")
SECRETS = ("MERCYGENERAL", "DRHOUSEMAN", "555-0199", "ACC77", "Elmstreet")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """200 films of 60 patients in three sizes, every fifth MONOCHROME1, and labels.csv; one file is broken."""
    folder, rows, planted = tmp_path_factory.mktemp("hospital"), [], set(SECRETS)
    rng = np.random.default_rng(1)
    for number in range(200):
        who = number % 60
        name, mrn, born = f"{SURNAMES[who % 4]}{who:02d}^JANE", f"MRN{880000 + 37 * who}", f"19{30 + who:02d}0317"
        file = f"{name.split('^')[0]}_{mrn}_{number:03d}.dcm"
        base = ramp(*[(40, 40), (48, 40), (64, 64)][number % 3]) + rng.integers(0, 50)
        inverted = number % 5 == 0
        path = write(
            folder / file, (4095 - base if inverted else base).astype(np.uint16), PatientName=name, PatientID=mrn, PatientBirthDate=born,
            PatientSex="FM"[who % 2], PatientAge=f"{20 + who:03d}Y", ViewPosition=("PA", "AP")[number % 2], AccessionNumber=f"ACC77{number:03d}",
            InstitutionName="MERCYGENERAL", ReferringPhysicianName="DRHOUSEMAN", PatientAddress="Elmstreet 5", PatientTelephoneNumbers="555-0199",
            BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096, PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
            BurnedInAnnotation="YES" if number == 7 else "NO", StudyDescription=f"Chest of {name}", ImageComments=mrn, SeriesDescription=name,
        )  # fmt: skip
        planted |= {name, name.split("^")[0], mrn, mrn.removeprefix("MRN"), born, file, path.stem, f"ACC77{number:03d}"}
        planted |= {str(pydicom.dcmread(path, specific_tags=[k])[k].value) for k in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")}
        rows.append({
            "file": file, "mrn": mrn, "name": name, "contact": f"{name.split('^')[0].lower()} ward", "chief": f"{SURNAMES[number % 4]}{number % 4:02d}^JANE",
            "hospital": ["MERCYGENERAL", "MERCYGENERAL WEST"][number % 2], "findings": ["Effusion|Mass", "No Finding", "Effusion", ""][number % 4],
            "Edema": [1, 0, -1, ""][number % 4], "nodule_mm": round(3 + number / 10, 1),
        })  # fmt: skip
    (folder / "ABENDROTH99_MRN999999.dcm").write_bytes((folder / rows[0]["file"]).read_bytes()[:-1000])
    planted |= {"ABENDROTH99", "MRN999999"}
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder, planted


@pytest.fixture(scope="module")
def cohort(hospital):
    with pytest.warns(UserWarning, match="ABENDROTH99_MRN999999.dcm"):
        return load(hospital[0], table="labels.csv", patient="mrn", size=32)


def test_one_line_loads_a_hospitals_folder(cohort):
    assert len(cohort) == 200 and cohort.space.shape == (1, 32, 32)
    assert cohort.table["patient_id"].nunique() == 60
    assert {"age", "sex", "view", "effusion", "mass", "edema", "nodule_mm"} <= set(cohort.schema.names)
    assert "chief" not in cohort.table and cohort.table["site"].nunique() == 2
    assert cohort.table["effusion"].isna().sum() == 50 and (cohort.table["effusion"] == "present").sum() == 100
    assert cohort.table["edema"].isna().sum() == 100 and (cohort.table["edema"] == "present").sum() == 50
    assert (cohort.table["burned_in"] == "yes").sum() == 1 and any("burnt-in" in note for note in cohort.notes)


def test_the_same_line_without_join_and_patient(hospital):
    with pytest.warns(UserWarning):
        cohort = load(hospital[0], table="labels.csv", size=64)
    assert len(cohort) == 200 and cohort.table["patient_id"].nunique() == 60


def test_monochrome1_is_bright_where_the_others_are(cohort):
    middle = cohort.images.tensor()[:, 0, :, 16].numpy()  # every fifth film is MONOCHROME1
    assert (middle[:, 28] > middle[:, 4] + 0.5).all() and np.ptp(middle.mean(1)) < 0.06


def test_nothing_that_was_planted_is_saved(cohort, hospital, tmp_path):
    folder, planted = hospital
    cohort.save(tmp_path / "saved")
    texts = [path.read_bytes() for path in (tmp_path / "saved").iterdir()]
    again = load(tmp_path / "saved")
    for frame in (again.table, again.skipped):
        texts += [frame.to_csv().encode(), json.dumps({str(k): str(v) for k, v in frame.attrs.items()}).encode()]
    texts += [cohort._repr_html_().encode(), repr(cohort).encode(), "\n".join(cohort.caveats()).encode(), json.dumps(cohort.provenance.to_json()).encode()]
    for text in texts:
        low = text.lower()
        assert not [word for word in planted if word.lower().encode() in low]
    assert str(folder).encode() not in b"".join(texts)
    assert again.table.equals(cohort.table) and len(again.skipped) == 1


def test_a_skipped_file_is_found_again_by_its_user(cohort, hospital):
    found = find_skipped(cohort, hospital[0])
    assert found["path"].tolist() == [str(hospital[0] / "ABENDROTH99_MRN999999.dcm")]
    assert "pixel data are truncated" in found["reason"][0]


def test_the_join_finds_dicom_attributes(hospital, tmp_path):
    ages = pd.DataFrame({"case": [f"MRN{880000 + 37 * who}" for who in range(60)], "stage": ["I", "II"] * 30})
    with pytest.warns(UserWarning):
        cohort = load(hospital[0], table=ages, join="case", size=16)
    assert (cohort.table["stage"] == "I").sum() == 100 and cohort.table["patient_id"].nunique() == 60


def test_strict_stops_at_the_broken_file(hospital):
    with pytest.raises(DataError, match="ABENDROTH99_MRN999999.dcm"):
        load(hospital[0], table="labels.csv", size=16, strict=True)


def test_sizes_that_differ_are_listed(hospital):
    with pytest.raises(DataError, match=r"40 x 40 \(67\).*give size="):
        load(hospital[0])


# ---- pseudonyms


def test_codes_are_stable_keyed_and_spell_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path / "a"))
    first = pseudonym("patient", "123")
    assert first == pseudonym("patient", " 123 ") != pseudonym("image", "123").replace("image", "patient")
    assert set(first.removeprefix("patient-")) <= set("bcdfghjkmnpqrstv")
    mode = keys.key_path().stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path / "b"))
    assert pseudonym("patient", "123") != first


def test_a_damaged_key_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path))
    (tmp_path / "pseudonym.key").write_text("abc")
    with pytest.raises(StoreError, match="damaged"):
        pseudonym("patient", "1")


def test_processes_that_start_together_share_one_key(tmp_path):
    code = "from synthkit.data.pseudonym import pseudonym; print(pseudonym('patient', 'x'))"
    environment = {"SYNTHKIT_CONFIG": str(tmp_path / "new"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pseudonym.key"]


# ---- grey values


def test_the_window_is_that_of_the_standard(tmp_path):
    pixels, values = ramp(), ramp().astype(float)
    path = write(tmp_path / "a.dcm", pixels, WindowCenter=2000, WindowWidth=1000)
    assert shown(path)[0] == pytest.approx(np.clip((values - 1999.5) / 999 + 0.5, 0, 1), abs=2e-5)
    path = write(tmp_path / "b.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    assert shown(path)[0] == pytest.approx(np.clip((values - 2000) / 1000 + 0.5, 0, 1), abs=2e-5)
    path = write(tmp_path / "c.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert shown(path)[0] == pytest.approx(1 / (1 + np.exp(-4 * (values - 2000) / 1000)), abs=2e-5)
    assert shown(path, window=(1000, 3000))[0] == pytest.approx(np.clip((values - 1000) / 2000, 0, 1), abs=2e-5)


def test_the_rescale_comes_before_the_window(tmp_path):
    path = write(tmp_path / "a.dcm", ramp(), RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3900, WindowWidth=8000, VOILUTFunction="LINEAR_EXACT")
    assert shown(path)[0] == pytest.approx((ramp() * 2.0 - 100 - 3900) / 8000 + 0.5, abs=2e-5)


def test_a_lut_is_looked_up(tmp_path):
    table = np.array([0, 10, 200, 255] * 64, np.uint16)
    lut = item(LUTDescriptor=[256, 0, 8], LUTData=table.tobytes())
    lut["LUTData"].VR = "OW"
    lut["LUTDescriptor"].VR = "US"
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = write(tmp_path / "a.dcm", pixels, VOILUTSequence=Sequence([lut]))
    assert shown(path)[0] == pytest.approx(table.reshape(16, 16) / 255, abs=2e-5)


def test_monochrome1_is_the_complement(tmp_path):
    plain = shown(write(tmp_path / "a.dcm", ramp(), WindowCenter=2000, WindowWidth=4000))
    inverted = shown(write(tmp_path / "b.dcm", ramp(), WindowCenter=2000, WindowWidth=4000, PhotometricInterpretation="MONOCHROME1"))
    assert plain + inverted == pytest.approx(1)


def test_ct_is_in_hounsfield_units(tmp_path):
    pixels = np.linspace(0, 3000, 256).reshape(16, 16).astype(np.int16)
    path = write(tmp_path / "a.dcm", pixels, modality="CT", RescaleSlope=1, RescaleIntercept=-1024, PixelSpacing=[0.5, 0.7])
    cohort = load(path)
    assert np.array_equal(cohort.images.raw()[0, 0], pixels - 1024)
    assert cohort.space.channels[0].unit == "HU" and cohort.space.spacing_mm == (0.5, 0.7)
    assert (load(path, window=(-160, 240)).space.channels[0].low, cohort.space.channels[0].high) == (-160, 1000)
    unstated = load(write(tmp_path / "b.dcm", pixels, modality="CT", RescaleSlope=1, RescaleIntercept=0, RescaleType="US"))
    assert unstated.space.channels[0].unit == ""


def test_colours_arrive_as_rgb(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(load(write(tmp_path / "a.dcm", picture, modality="US")).images.raw()[0], picture.transpose(2, 0, 1))
    lut = {name: np.arange(256, dtype=np.uint8)[::step] for name, step in (("Red", 1), ("Green", -1), ("Blue", 1))}
    tags = {f"{name}PaletteColorLookupTableData": values.tobytes() for name, values in lut.items()}
    tags |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 8] for name in lut}
    index = np.arange(64, dtype=np.uint8).reshape(8, 8)
    palette = load(write(tmp_path / "b.dcm", index, modality="US", PhotometricInterpretation="PALETTE COLOR", **tags)).images.raw()[0]
    assert np.array_equal(palette, [index, 255 - index, index])
    ybr = np.full((8, 8, 3), (76, 85, 255), np.uint8)  # pure red
    ybr[0, 0] = (0, 128, 128)
    red = load(write(tmp_path / "c.dcm", ybr, modality="US", PhotometricInterpretation="YBR_FULL")).images.raw()[0]
    assert (np.abs(red[:, 4, 4].astype(int) - [255, 0, 0]) <= 2).all()


def test_frames_of_a_cine_are_images_of_one_patient(tmp_path):
    frames = np.stack([ramp(top=100 + 30 * n).astype(np.uint8) for n in range(3)])
    cohort = load(write(tmp_path / "a.dcm", frames, modality="US", PatientID="7"))
    assert len(cohort) == 3 and cohort.space.dims == 2 and cohort.table["patient_id"].nunique() == 1 and cohort.table["image_id"].is_unique


# ---- volumes


def series(folder: Path, positions: list[float], *, modality: str = "CT", thickness: float = 9, **tags: object) -> list[np.ndarray]:
    """Slices written in shuffled order, each with its own grey level; answers them by position."""
    uid, slices = generate_uid(), {}
    for number in np.random.default_rng(0).permutation(len(positions)):
        slices[positions[number]] = pixels = (ramp(8, 6) + 10 * number).astype(np.int16)
        write(
            folder / f"{chr(97 + int(number) * 7 % 26)}{number}.dcm", pixels, modality=modality, SeriesInstanceUID=uid, PatientID="9",
            ImagePositionPatient=[1, 2, positions[number]], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[0.5, 0.7], SliceThickness=thickness,
            RescaleSlope=1, RescaleIntercept=0, **tags,
        )  # fmt: skip
    return [slices[z] for z in sorted(slices)]


def test_a_series_is_one_volume_in_the_order_of_its_positions(tmp_path):
    expected = series(tmp_path, [-5, 2.5, 0, -2.5, 5])
    cohort = load(tmp_path)
    assert cohort.space.size == (5, 8, 6) and cohort.space.spacing_mm == pytest.approx((2.5, 0.5, 0.7))
    assert np.array_equal(cohort.images.raw()[0, 0], expected)
    assert cohort.provenance.recipe["load"]["files"] == 5


def test_a_resized_volume_keeps_true_spacing(tmp_path):
    series(tmp_path, [0, 3, 6, 9])
    cohort = load(tmp_path, size=(8, 16, 16))
    assert cohort.space.spacing_mm == pytest.approx((1.5, 0.25, 0.35))
    assert load(tmp_path, spacing_mm=1.0).space.size == (12, 4, 4)


def test_a_missing_slice_is_noticed(tmp_path):
    series(tmp_path, [0, 2, 4, 8])
    with pytest.raises(DataError, match="missing: they are 2 to 4 mm apart"):
        load(tmp_path)


def test_copies_of_slices_are_left_out(tmp_path):
    series(tmp_path, [0, 2, 4])
    first = sorted(tmp_path.iterdir())[0]
    (tmp_path / "z.dcm").write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match="z.dcm: it is a copy"):
        assert load(tmp_path).space.size[0] == 3


def test_phases_become_volumes_of_their_own(tmp_path):
    for phase in (1, 2):
        (tmp_path / str(phase)).mkdir()
        series(tmp_path / str(phase), [0, 2, 4], AcquisitionNumber=phase)
    uid = generate_uid()
    for path in tmp_path.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.SeriesInstanceUID = uid
        ds.save_as(path)
    assert len(load(tmp_path)) == 2


def test_geometry_follows_the_normal_not_an_axis():
    plan = geometry([[3, 0, 0], [0, 0, 0], [1.5, 0, 0]], [0, 1, 0, 0, 0, 1])
    assert plan.order == (1, 2, 0) and plan.distance_mm == pytest.approx(1.5)


def test_a_multi_frame_file_is_a_volume_by_its_frame_positions(tmp_path):
    frames = np.stack([ramp(8, 8) + 100 * n for n in range(3)]).astype(np.uint16)
    positions = [[0, 0, z] for z in (4, 0, 2)]
    own = Sequence([item(PlanePositionSequence=Sequence([item(ImagePositionPatient=p)])) for p in positions])
    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.5, 0.6], SliceThickness=7)]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU")]),
    )
    path = write(tmp_path / "a.dcm", frames, modality="CT", PerFrameFunctionalGroupsSequence=own, SharedFunctionalGroupsSequence=Sequence([shared]))
    cohort = load(path)
    assert cohort.space.spacing_mm == pytest.approx((2, 0.5, 0.6)) and cohort.space.channels[0].unit == "HU"
    assert np.array_equal(cohort.images.raw()[0, 0], frames[[1, 2, 0]].astype(int) - 1000)


# ---- which way a volume lies

STEPS = (3.0, 0.9, 0.7)  # millimetres upward, to the back, to the left
RIGHT_FRONT_BOTTOM = (0, 0, 0)
ACQUIRED = {  # where the rows and the columns of a slice point: x to the left, y to the back, z upward
    "axial": ([1, 0, 0], [0, 1, 0]),
    "axial prone": ([-1, 0, 0], [0, -1, 0]),
    "axial feet first": ([-1, 0, 0], [0, 1, 0]),
    "axial mirrored": ([1, 0, 0], [0, -1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "coronal from the back": ([-1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "sagittal upside down": ([0, -1, 0], [0, 0, 1]),
}


def patient() -> np.ndarray:
    """Hounsfield units, different in every voxel, on the axes of the viewer; a metal block marks the corner at the right, front and bottom."""
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    values[:2, :2, :2] = 3000
    return values


def tilt(degrees: float) -> np.ndarray:
    """Rotation about the axis from right to left."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def acquired(rows: list[float], columns: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patient cut into slices: values (slice, row, column), the place of each slice's first pixel, and steps along the three axes."""
    axes = np.array([np.cross(rows, columns), columns, rows])
    across, size = np.array(STEPS[::-1]), np.array(patient().shape[::-1])
    first = np.where(axes.sum(0) < 0, (size - 1) * across, 0)
    shape, steps = np.abs(axes) @ size, np.abs(axes) @ across
    points = first + np.einsum("asrc,ax->srcx", np.indices(shape), axes * steps[:, None])
    x, y, z = np.moveaxis(np.rint(points / across).astype(int), -1, 0)
    return patient()[z, y, x], points[:, 0, 0], steps


def scan(folder: Path, name: str, *, degrees: float = 0, descending: bool = False) -> None:
    """The patient as a CT series in one of the ways above."""
    folder.mkdir(exist_ok=True)
    (slices, places, steps), uid, turned = acquired(*ACQUIRED[name]), generate_uid(), tilt(degrees)
    for number, (pixels, place) in enumerate(zip(slices, places)):
        write(
            folder / f"{len(slices) - number if descending else number}.dcm", pixels, modality="CT", SeriesInstanceUID=uid, PatientID=name,
            ImagePositionPatient=[round(c, 5) for c in turned @ place],
            ImageOrientationPatient=[round(float(c), 6) for axis in ACQUIRED[name] for c in turned @ axis],
            PixelSpacing=[*steps[1:]], RescaleSlope=1, RescaleIntercept=0,
        )  # fmt: skip


def frames_of(name: str) -> tuple[np.ndarray, list[Dataset], Dataset]:
    """The patient as pixels and functional groups of one multi-frame file: each frame's own, and what they share."""
    slices, places, steps = acquired(*ACQUIRED[name])
    own = [item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[*place])])) for place in places]
    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[float(c) for axis in ACQUIRED[name] for c in axis])]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[*steps[1:]])]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=1, RescaleIntercept=0, RescaleType="HU")]),
    )
    return slices, own, shared


def write_frames(path: Path, slices: np.ndarray, own: list[Dataset], shared: Dataset) -> Path:
    tags = {"PerFrameFunctionalGroupsSequence": Sequence(own), "SharedFunctionalGroupsSequence": Sequence([shared])}
    return write(path, slices, modality="CT", **tags)


def notes_on_axes(cohort) -> list[str]:
    return [note for note in cohort.notes if "oblique" in note or "left" in note]


@pytest.mark.parametrize("name", ACQUIRED)
def test_a_series_lies_the_same_way_however_it_was_acquired(tmp_path, name):
    scan(tmp_path, name)
    cohort = load(tmp_path)
    raw = cohort.images.raw()[0, 0]
    assert raw[RIGHT_FRONT_BOTTOM] == 3000 and np.array_equal(raw, patient())
    assert cohort.space.spacing_mm == pytest.approx(STEPS) and not notes_on_axes(cohort)


@pytest.mark.parametrize("name", ["axial", "coronal"])
def test_the_order_of_the_files_does_not_matter(tmp_path, name):
    scan(tmp_path, name, descending=True)
    assert np.array_equal(load(tmp_path).images.raw()[0, 0], patient())


def test_series_of_every_kind_share_a_cohort(tmp_path):
    for name in ACQUIRED:
        scan(tmp_path / name, name)
    cohort = load(tmp_path)
    assert len(cohort) == len(ACQUIRED) and cohort.space.spacing_mm == pytest.approx(STEPS)
    assert (cohort.images.raw()[:, 0] == patient()).all()


def test_a_turned_series_is_resampled_along_its_new_axes(tmp_path):
    scan(tmp_path, "sagittal")
    assert load(tmp_path, spacing_mm=(1.5, 0.45, 0.35)).space.size == (8, 10, 12)


@pytest.mark.parametrize("name", ["axial prone", "coronal", "sagittal"])
def test_a_multi_frame_file_is_turned_too(tmp_path, name):
    cohort = load(write_frames(tmp_path / "a.dcm", *frames_of(name)))
    assert np.array_equal(cohort.images.raw()[0, 0], patient())
    assert cohort.space.spacing_mm == pytest.approx(STEPS) and not notes_on_axes(cohort)


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_an_oblique_series_takes_the_nearest_axes_and_says_so(tmp_path, name):
    scan(tmp_path / "slightly", name, degrees=8)
    assert not notes_on_axes(load(tmp_path))
    scan(tmp_path / "clearly", name, degrees=-25)
    cohort = load(tmp_path)
    assert (cohort.images.raw()[:, 0] == patient()).all()
    (note,) = notes_on_axes(cohort)
    assert note.startswith("1 of 2 volumes") and "25°" in note


def test_the_same_oblique_volume_is_the_same_as_nifti(tmp_path):
    import nibabel

    scan(tmp_path / "dicom", "coronal", degrees=25)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ tilt(25) @ np.diag(STEPS[::-1])
    image = nibabel.Nifti1Image(patient().transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    dicom, nifti = load(tmp_path / "dicom"), load(tmp_path / "a.nii.gz")
    assert nifti.space.spacing_mm == pytest.approx(STEPS) and nifti.images.raw()[0, 0][RIGHT_FRONT_BOTTOM] == nifti.images.raw().max()
    assert notes_on_axes(dicom) == notes_on_axes(nifti) != []


@pytest.mark.parametrize("missing", ["orientation", "positions", "common plane"])
def test_without_an_orientation_the_axes_stay_and_the_sides_are_unknown(tmp_path, missing):
    slices, own, shared = frames_of("coronal")
    if missing == "orientation":
        del shared.PlaneOrientationSequence
    elif missing == "positions":
        del own[0].PlanePositionSequence
    else:
        own[-1].PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    cohort = load(write_frames(tmp_path / "a.dcm", slices, own, shared))
    assert np.array_equal(cohort.images.raw()[0, 0], slices)
    (note,) = notes_on_axes(cohort)
    assert "1 of 1" in note and "not known" in note


def test_planes_of_two_kinds_in_one_series_are_two_volumes(tmp_path):
    for name in ("axial", "coronal"):
        scan(tmp_path / name, name)
    uid = generate_uid()
    for path in tmp_path.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.SeriesInstanceUID = uid
        ds.save_as(path)
    assert (load(tmp_path).images.raw()[:, 0] == patient()).all() and len(load(tmp_path)) == 2


def test_films_are_not_turned(tmp_path):
    cohort = load(write(tmp_path / "a.dcm", ramp(), ImageOrientationPatient=[-1, 0, 0, 0, 0, 1], ImagePositionPatient=[0, 0, 0]))
    assert (np.diff(cohort.images.raw()[0, 0].astype(int).ravel()) >= 0).all() and not notes_on_axes(cohort)


# ---- millimetres of a film


def test_millimetres_at_the_detector_are_not_those_of_the_patient(tmp_path):
    assert load(write(tmp_path / "a.dcm", ramp(), ImagerPixelSpacing=[0.2, 0.2])).space.spacing_mm is None
    assert load(write(tmp_path / "b.dcm", ramp(), PixelSpacing=[0.2, 0.2], ImagerPixelSpacing=[0.2, 0.2])).space.spacing_mm is None
    magnified = load(write(tmp_path / "c.dcm", ramp(), ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=1.25))
    assert magnified.space.spacing_mm == pytest.approx((0.16, 0.16))


# ---- what cannot be read


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PixelData": b"\0" * 40}, "truncated: 40 of 512 bytes"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": None}, "without an image"),
        ({"PixelData": b"\0" * 512}, "constant"),
        ({"Modality": "SR"}, r"a report \(SR\)"),
    ],
)
def test_an_unreadable_file_is_named_with_its_cause(tmp_path, tags, reason):
    write(tmp_path / "bad.dcm", ramp(), **tags)
    with pytest.raises(DataError, match=f"bad.dcm: .*{reason}"):
        load(tmp_path)
    write(tmp_path / "good.dcm", ramp())
    with pytest.warns(UserWarning, match="bad.dcm"):
        cohort = load(tmp_path)
    assert len(cohort) == 1 and len(cohort.skipped) == 1 and "bad" not in cohort.skipped["file"][0]


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_malformed_values_are_no_reason_to_fail_or_to_leak(tmp_path):
    path = write(tmp_path / "a.dcm", ramp(), PatientName="SECRET^A")
    raw = path.read_bytes()
    ds = pydicom.dcmread(path)
    ds.PatientAge, ds.PatientSex, ds.ViewPosition, ds.PixelSpacing = "SECR", "SECRET", "SECRET", [0, 0]
    ds.save_as(path)
    cohort = load(path)
    assert "SECR" not in cohort.table.to_csv() and cohort.space.spacing_mm is None
    for tags in ({"Modality": "SECRET"}, {"Modality": "MR", "ImageType": ["DERIVED", "PRIMARY", "OTHER", "SECRET"]}):
        assert "SECR" not in str(load(write(tmp_path / "c.dcm", ramp(), **tags)).space)
    (tmp_path / "c.dcm").unlink()
    (tmp_path / "b.dcm").write_bytes(raw[:400])
    with pytest.warns(UserWarning):
        assert "SECR" not in load(tmp_path).skipped.to_csv()


def test_kinds_are_not_mixed(tmp_path):
    series(tmp_path, [0, 2, 4])
    write(tmp_path / "film.dcm", ramp())
    with pytest.warns(UserWarning, match="film.dcm: it belongs to the 2D images of xray"):
        cohort = load(tmp_path)
    assert cohort.space.dims == 3 and len(cohort.skipped) == 1


# ---- real files


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sample_is_loaded_or_listed(real_data):
    folder = real_data / "dicom_samples"
    files = sorted(folder.rglob("*.dcm"))
    for options in ({}, {"size": 64}):
        cohort = load(folder, **options)
        assert cohort.provenance.recipe["load"]["files"] + len(cohort.skipped) == len(files)
        assert cohort.skipped["reason"].str.len().min() > 10
        named = find_skipped(cohort, folder)["path"]
        assert named.notna().all() and named.is_unique


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sample_alone_is_an_image_or_a_clear_error(real_data):
    loaded = {}
    for path in sorted((real_data / "dicom_samples").rglob("*.dcm")):
        try:
            loaded[path.name] = load(path)
        except DataError as error:
            assert path.name in str(error) and len(str(error)) > 40
    assert {"CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "examples_palette.dcm", "RG1_J2KI.dcm"} <= set(loaded)
    assert {"MR_truncated.dcm", "rtdose.dcm", "no_meta.dcm", "liver.dcm"}.isdisjoint(loaded)
    plain, packed = (loaded[name].images.raw() for name in ("MR_small_implicit.dcm", "MR_small_jpeg_ls_lossless.dcm"))
    assert np.array_equal(plain, packed)


def test_the_real_ct_series_is_one_volume_with_the_spacing_of_its_positions(real_data):
    folder = real_data / "dicom_samples" / "torchio_ct_series"
    headers = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    places = sorted(float(h.ImagePositionPatient[2]) for h in headers)
    cohort = load(folder)
    assert len(cohort) == 1 and cohort.space.size == (17, 128, 88)
    assert cohort.space.spacing_mm == pytest.approx((np.diff(places).mean(), *map(float, headers[0].PixelSpacing)))
    ordered = np.stack([h.pixel_array for h in sorted(headers, key=lambda h: float(h.ImagePositionPatient[2]))]).astype(float)
    assert [*headers[0].ImageOrientationPatient] == [-1, 0, 0, 0, -1, 0]  # stored with columns to the right and rows to the front
    ordered = ordered[:, ::-1, ::-1]
    assert np.corrcoef(ordered.ravel(), cohort.images.raw()[0, 0].ravel())[0, 1] > 0.99


def test_a_loaded_cohort_is_saved_and_read_back(cohort, tmp_path):
    cohort.save(tmp_path / "c")
    again = load(tmp_path / "c")
    assert store.is_saved(tmp_path / "c") and np.array_equal(again.images.raw(), cohort.images.raw()) and again.provenance == cohort.provenance

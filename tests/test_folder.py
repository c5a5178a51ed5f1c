"""Folders of images, volumes and arrays with their tables; and every way in which they do not fit together."""
import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthkit.core.cohort import NO_PATIENTS
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.data.load import load
from synthkit.data.resize import resample
from synthkit.errors import DataError, SchemaError, StoreError


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path_factory.getbasetemp() / "config"))


def noise(*shape, seed=0, top=255):
    return np.random.default_rng(seed).integers(0, top, shape).astype(np.uint8 if top <= 255 else np.uint16)


@pytest.fixture
def folder(tmp_path):
    """Twelve grey PNGs of four patients, with labels.csv."""
    for number in range(12):
        Image.fromarray(noise(20, 16, seed=number)).save(tmp_path / f"img_{number:02d}.png")
    rows = {"file": [f"img_{n:02d}.png" for n in range(12)], "who": [f"P{n % 4}" for n in range(12)], "age": range(30, 42)}
    pd.DataFrame({**rows, "side": ["left", "right"] * 6, "score": range(12)}).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def relabel(folder, **columns):
    pd.read_csv(folder / "labels.csv").assign(**columns).to_csv(folder / "labels.csv", index=False)


# ---- image files


def test_images_and_table_become_a_cohort(folder):
    cohort = load(folder, patient="who")
    assert cohort.space.shape == (1, 20, 16) and cohort.images.raw().dtype == np.uint8 and cohort.space.spacing_mm is None
    assert np.array_equal(cohort.images.raw()[3, 0], noise(20, 16, seed=3))
    assert cohort.table["patient_id"].nunique() == 4 and not cohort.table["patient_id"].str.contains("P").any()
    assert cohort.schema.names == ("age", "side", "score") and cohort.table["age"].tolist() == [*range(30, 42)]
    assert "file" not in cohort.table and cohort.provenance.kind == "real" and str(folder) not in str(cohort.provenance)


def test_rows_follow_their_files_not_the_order_of_the_table(folder):
    pd.read_csv(folder / "labels.csv").iloc[::-1].to_csv(folder / "labels.csv", index=False)
    assert load(folder).table["age"].tolist() == [*range(30, 42)]


@pytest.mark.parametrize("heading", [{"f": "img_{:02d}"}, {"Path": "other/place/img_{:02d}.png"}, {"img": "IMG_{:02d}.PNG"}])
def test_the_join_column_is_found_by_path_name_or_stem(folder, heading):
    name, pattern = next(iter(heading.items()))
    table = pd.DataFrame({name: [pattern.format(n) for n in range(12)], "age": range(12), "dose": np.arange(12) / 7})
    cohort = load(folder, table=table)
    assert cohort.table["age"].tolist() == [*range(12)] and f"column {name!r}" in " ".join(cohort.notes)


def test_without_patients_the_caveat_stays(folder):
    assert NO_PATIENTS in load(folder).caveats()
    relabel(folder, patient_id=[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, None])
    cohort = load(folder)
    assert NO_PATIENTS not in cohort.caveats() and cohort.table["patient_id"].nunique() == 7
    assert any("1 of 12 images have no patient id" in note for note in cohort.notes)


def test_image_ids_hold_for_the_bytes_of_the_file(folder, tmp_path_factory):
    before = dict(zip(load(folder).table["age"], load(folder, size=8).table["image_id"]))
    other = tmp_path_factory.mktemp("other")
    (other / "renamed.png").write_bytes((folder / "img_04.png").read_bytes())
    assert load(other).table["image_id"].tolist() == [before[34]]


def test_rows_without_file_and_files_without_row_are_counted(folder):
    table = pd.read_csv(folder / "labels.csv").iloc[2:]
    table = pd.concat([table, pd.DataFrame({"file": ["gone.png"], "age": [50]})])
    cohort = load(folder, table=table)
    assert len(cohort) == 12 and cohort.table["age"].isna().sum() == 2
    assert any("2 of 12 images have no row" in n for n in cohort.notes) and any("1 of 11 table rows" in n for n in cohort.notes)


def test_colour_deep_and_transparent_images(tmp_path):
    rgb = noise(8, 8, 3)
    (tmp_path / "rgb").mkdir()
    Image.fromarray(rgb).save(tmp_path / "rgb" / "a.png")
    Image.fromarray(np.repeat(noise(8, 8, 1), 3, 2)).save(tmp_path / "rgb" / "b.tif")  # grey among colours
    cohort = load(tmp_path / "rgb")
    assert [c.name for c in cohort.space.channels] == ["red", "green", "blue"] and np.array_equal(cohort.images.raw()[0], rgb.transpose(2, 0, 1))
    deep = noise(8, 8, top=4095)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    cohort = load(tmp_path / "deep.png")
    assert np.array_equal(cohort.images.raw()[0, 0], deep) and cohort.space.channels[0].high == 4095
    grey = noise(8, 8)
    Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 255)])).save(tmp_path / "rgba.png")
    assert np.array_equal(load(tmp_path / "rgba.png").images.raw()[0, 0], grey)


def test_a_mask_beside_its_image_is_left_out(folder):
    Image.fromarray(noise(20, 16)).save(folder / "img_00_mask.png")
    with pytest.warns(UserWarning, match="img_00_mask.png: it is called a mask"):
        assert len(load(folder)) == 12


# ---- size and spacing


def test_padding_keeps_the_aspect_and_the_darkest_value(tmp_path):
    Image.fromarray(np.full((40, 20), 200, np.uint8) + noise(40, 20, top=5)).save(tmp_path / "a.png")
    raw = load(tmp_path / "a.png", size=20).images.raw()[0, 0]
    assert (raw[:, :5] == 0).all() and (raw[:, 15:] == 0).all() and (raw[:, 5:15] > 195).all()


def test_shrinking_averages_all_pixels():
    checkers = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)[None]
    assert np.abs(resample(checkers, (8, 8)).astype(int) - 100).max() <= 2
    flat = np.full((1, 9, 30, 31), 7, np.int16)
    assert (resample(flat, (4, 16, 16)) == 7).all()
    slope = np.broadcast_to(np.arange(32, dtype=np.uint16)[:, None, None] * 100, (32, 8, 8))[None]
    assert np.abs(np.diff(resample(slope, (8, 8, 8))[0, 1:-1, 0, 0].astype(int)) - 400).max() <= 1


def test_the_middle_is_kept_where_spacing_is_given(tmp_path):
    image = nibabel.Nifti1Image(noise(20, 20, 10, top=1000).astype(np.int16), np.diag([-1, -1, 2, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    cohort = load(tmp_path, spacing_mm=(2, 2, 2), size=(10, 8, 8))
    assert cohort.space.size == (10, 8, 8) and cohort.space.spacing_mm == (2, 2, 2)
    declared = tmp_path / "flat"
    declared.mkdir()
    Image.fromarray(noise(32, 32)).save(declared / "a.png")
    assert load(declared, spacing_mm=0.5, size=16).space.spacing_mm == (1, 1)


def test_sizes_that_differ_are_listed(folder):
    Image.fromarray(noise(9, 9)).save(folder / "odd.png")
    with pytest.raises(DataError, match=r"20 x 16 \(12\), 9 x 9 \(1\); give size="):
        load(folder)
    assert load(folder, size=8).space.shape == (1, 8, 8)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": (8, 8, 8, 8)}, {"size": "big"}, {"spacing_mm": -1}, {"window": (5, 5)}, {"factors": "age"}])
def test_impossible_options_are_refused(folder, options):
    with pytest.raises(DataError, match=next(iter(options))):
        load(folder, **options)


def test_a_volume_size_for_images_is_refused(folder):
    with pytest.raises(DataError, match="2D images"):
        load(folder, size=(8, 8, 8))


# ---- factors


def test_factors_are_chosen_by_name_object_or_schema(folder):
    assert load(folder, factors=["age"]).schema.names == ("age",)
    side = Category("side", ("right", "left"))
    assert load(folder, factors=["age", side]).schema.factors == (load(folder).schema["age"], side)
    schema = Schema((Quantity("score", 0, 20), Quantity("age", 18, 90, "years")), sensitive=("age",))
    assert load(folder, factors=schema).schema == schema


def test_a_factor_that_is_not_there_is_refused(folder):
    with pytest.raises(SchemaError, match="'siide'; did you mean 'side'"):
        load(folder, factors=["siide"])
    with pytest.raises(SchemaError, match="35|30 years is outside 40..90"):
        load(folder, factors=[Quantity("age", 40, 90, "years")])
    relabel(folder, doctor=["A", "B"] * 6)
    with pytest.raises(SchemaError, match="'doctor' was left out: personal"):
        load(folder, factors=["doctor"])
    assert load(folder, factors=[Category("doctor", ("A", "B"))]).schema.names == ("doctor",)


# ---- tables that do not fit


def test_a_table_of_other_files_is_refused_with_examples(folder):
    table = pd.DataFrame({"file": ["x1.png", "x2.png"], "age": [1, 2]})
    with pytest.raises(DataError, match="'x1.png', 'x2.png'; the files are img_00.png"):
        load(folder, table=table, join="file")
    with pytest.raises(DataError, match="no column of the table names the files"):
        load(folder, table=table)


def test_a_file_named_twice_is_refused(folder):
    table = pd.read_csv(folder / "labels.csv")
    with pytest.raises(DataError, match=r"img_03.png is named by several rows.*rows 4, 13"):
        load(folder, table=pd.concat([table, table.iloc[[3]]]))


def test_a_row_that_names_two_files_is_refused(folder):
    for part in ("a", "b"):
        (folder / part).mkdir()
        (folder / part / "img_03.png").write_bytes((folder / "img_03.png").read_bytes())
    assert load(folder, table="labels.csv").table["age"].isna().sum() == 2  # img_03.png alone is a whole path
    (folder / "img_03.png").unlink()
    with pytest.raises(DataError, match="names several files: a/img_03.png, b/img_03.png"):
        load(folder, table="labels.csv", join="file")


def test_wrong_names_get_a_suggestion(folder):
    with pytest.raises(DataError, match="'labls.csv' is neither.*did you mean 'labels.csv'"):
        load(folder, table="labls.csv")
    with pytest.raises(DataError, match="join='fil' is no column of the table; did you mean 'file'"):
        load(folder, table="labels.csv", join="fil")
    with pytest.raises(DataError, match="patient='woh' is no column of the table; did you mean 'who'"):
        load(folder, patient="woh")


def test_other_separators_and_encodings(folder):
    table = pd.read_csv(folder / "labels.csv").assign(side=["größer", "kleiner"] * 6)
    (folder / "labels.csv").write_bytes(table.to_csv(index=False, sep=";").encode("cp1252"))
    assert load(folder).schema["side"].levels == ("größer", "kleiner")


# ---- unreadable


def test_an_empty_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match=r"holds no image files \(it holds notes.txt\)"):
        load(tmp_path)


def test_a_folder_that_is_not_there():
    with pytest.raises(DataError, match="neither a file or folder nor a name of the catalog; did you mean 'chest-phantom'"):
        load("chest-fantom")


def test_nothing_readable_is_one_error_with_all_reasons(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "b.png")
    good = noise(64, 64)
    Image.fromarray(good).save(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:500])
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "d.tif")
    (tmp_path / "e.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 5 files") as caught:
        load(tmp_path)
    for line in ("a.png: it is no image", "b.png: it is constant", "c.png: it is truncated", "d.tif: it holds NaN", "e.png: it is empty"):
        assert line in str(caught.value)


def test_a_bad_file_among_good_ones_is_listed_or_stops(folder):
    Image.fromarray(np.full((20, 16), 9, np.uint8)).save(folder / "Jane_Doe.png")
    with pytest.warns(UserWarning, match="Jane_Doe.png: it is constant"):
        cohort = load(folder)
    assert len(cohort) == 12 and cohort.skipped["reason"].tolist() == ["it is constant: every pixel has the same value"]
    assert cohort.skipped["file"][0].endswith(".png") and "Jane" not in cohort.skipped["file"][0]
    with pytest.raises(DataError, match="Jane_Doe.png: it is constant"):
        load(folder, strict=True)


# ---- NIfTI


def write_nifti(path, values, affine=None):
    image = nibabel.Nifti1Image(values, np.diag([2, 3, 4, 1]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def test_a_volume_is_turned_and_keeps_its_spacing(tmp_path):
    values = np.zeros((4, 5, 6), np.uint8)
    values[3, 0, 5] = 200  # right, posterior, superior: the affine is RAS
    values[0, 4, 0] = 100  # left, anterior, inferior
    write_nifti(tmp_path / "a.nii.gz", values)
    cohort = load(tmp_path)
    assert cohort.space.size == (6, 5, 4) and cohort.space.spacing_mm == (4, 3, 2)
    raw = cohort.images.raw()[0, 0]
    assert raw[5, 4, 0] == 200 and raw[0, 0, 3] == 100  # rows to the back, columns to the left


def test_nifti_that_cannot_be_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    write_nifti(tmp_path / "nan.nii", np.where(values > 1, np.nan, values))
    write_nifti(tmp_path / "four.nii", np.stack([values] * 2, -1))
    write_nifti(tmp_path / "cut.nii.gz", noise(20, 20, 20))
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "cut.nii.gz").read_bytes()[:3000])
    (tmp_path / "no.nii").write_bytes(b"x" * 400)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    for line in ("nan.nii: it holds NaN", "four.nii: it holds 4 x 4 x 4 x 2", "cut.nii.gz: it is truncated", "no.nii: it is no NIfTI"):
        assert line in str(caught.value)


def test_real_nifti_volumes_without_their_masks(real_data):
    with pytest.warns(UserWarning, match="called a mask"):
        cohort = load(real_data / "brain_lgg3d" / "nifti", size=(16, 32, 32))
    assert len(cohort) == 6 and cohort.space.dims == 3 and len(cohort.skipped) == 6


# ---- arrays


def write_arrays(folder, images, key="images", name=None, **columns):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name or key}.npz", **{key: images})
    if columns:
        pd.DataFrame(columns).to_csv(folder / "metadata.csv", index=False)
    return folder


def test_arrays_are_joined_by_index(tmp_path):
    images = noise(6, 8, 8)
    columns = {"patient_id": ["p", "p", "q", "q", "r", "s"], "split": ["train", "test"] * 3}
    folder = write_arrays(tmp_path / "a", images, index=[5, 4, 3, 2, 1, 0], age=[50, 40, 30, 20, 10, 1], **columns)
    cohort = load(folder)
    assert cohort.table["age"].tolist() == [1, 10, 20, 30, 40, 50] and np.array_equal(cohort.images.raw()[:, 0], images)
    assert cohort.table["patient_id"].nunique() == 4 and "split" in cohort.table and "split" not in cohort.schema


def test_shapes_of_arrays(tmp_path):
    assert load(write_arrays(tmp_path / "rgb", noise(3, 8, 8, 3))).space.shape == (3, 8, 8)
    assert load(write_arrays(tmp_path / "vol", noise(3, 5, 8, 8), key="volumes")).space.shape == (1, 5, 8, 8)
    unit = np.random.default_rng(0).random((3, 8, 8))
    raw = load(write_arrays(tmp_path / "unit", unit)).images.raw()[:, 0]
    assert raw.dtype == np.uint16 and np.abs(raw / 65535 - unit).max() < 1e-5


def test_the_medmnist_layout(tmp_path):
    parts = {"train": 5, "val": 2, "test": 3}
    arrays = {f"{p}_images": noise(n, 28, 28, seed=n) for p, n in parts.items()} | {f"{p}_labels": np.arange(n)[:, None] % 2 for p, n in parts.items()}
    np.savez(tmp_path / "some.npz", **arrays)
    cohort = load(tmp_path / "some.npz")
    assert cohort.table["split"].value_counts().to_dict() == parts and cohort.schema["label"].levels == ("absent", "present")
    assert np.array_equal(cohort.images.raw()[5:7, 0], arrays["val_images"])


def test_array_rows_that_hold_no_image(tmp_path):
    images = np.random.default_rng(0).random((4, 8, 8))
    images[1, 0, 0], images[2] = np.nan, 0.5
    folder = write_arrays(tmp_path / "a", images, index=range(4), age=[10, 20, 30, 40])
    with pytest.warns(UserWarning, match="row 1: it holds NaN"):
        cohort = load(folder)
    assert cohort.table["age"].tolist() == [10, 40] and cohort.skipped["file"].tolist() == ["row 1", "row 2"]
    with pytest.raises(DataError, match="row 1 of the array: it holds NaN"):
        load(folder, strict=True)


def test_arrays_that_do_not_fit(tmp_path):
    folder = write_arrays(tmp_path / "a", noise(4, 8, 8), index=[0, 1, 2, 4], age=[1, 2, 3, 4])
    with pytest.raises(DataError, match="holds '4', which is no row of the array; allowed are 0 to 3"):
        load(folder)
    write_arrays(folder, noise(4, 8, 8), index=[0, 1, 1, 2], age=[1, 2, 3, 4])
    with pytest.raises(DataError, match="names array row 1 twice"):
        load(folder)
    write_arrays(folder, noise(4, 8, 8), age=[1, 2, 3])
    with pytest.raises(DataError, match="4 images but 3 table rows"):
        load(folder)
    write_arrays(tmp_path / "b", noise(4, 8), key="images")
    with pytest.raises(DataError, match=r"of shape \(4, 8\); it needs `images`"):
        load(tmp_path / "b")
    path = write_arrays(tmp_path / "c", noise(40, 8, 8)) / "images.npz"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match="images.npz is truncated or damaged"):
        load(tmp_path / "c")


# ---- saved cohorts


def test_a_saved_cohort_is_read_back(folder, tmp_path):
    cohort = load(folder, patient="who", size=8)
    cohort.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.table.equals(cohort.table) and np.array_equal(again.images.raw(), cohort.images.raw())
    with pytest.raises(StoreError, match="leave out size="):
        load(tmp_path / "saved", size=4)
    assert set(load(folder, patient="who").table["patient_id"]) == set(cohort.table["patient_id"])

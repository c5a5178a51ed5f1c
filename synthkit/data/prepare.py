"""Small copies of published data sets, made from their official downloads."""
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.data.entry import Entry
from synthkit.data.files import in_parallel
from synthkit.data.resize import resample
from synthkit.errors import DataError

SIDE = 64
NIH_FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule",
    "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NIH_COLUMNS = {
    "Image Index": "image", "Finding Labels": "finding", "Follow-up #": "followup", "Patient ID": "patient_id", "Patient Age": "age",
    "Patient Gender": "sex", "Patient Sex": "sex", "View Position": "view",
}  # fmt: skip
HAM_NAMES = {
    "akiec": "actinic keratosis", "bcc": "basal cell carcinoma", "bkl": "benign keratosis", "df": "dermatofibroma", "mel": "melanoma",
    "nv": "melanocytic naevus", "vasc": "vascular lesion",
}  # fmt: skip


def prepare_nih(source: Path) -> dict[str, bytes]:
    """ChestX-ray14 (images/*.png at 1024 x 1024, Data_Entry_2017*.csv) as 64 x 64 arrays with one column per finding."""
    table = pd.read_csv(_one(source, "Data_Entry_2017*.csv"), dtype=str).rename(columns=NIH_COLUMNS)
    absent = sorted({"image", "finding", "patient_id", "age", "sex", "view"} - set(table))
    if absent:
        raise DataError(f"Data_Entry_2017*.csv has no column for {', '.join(absent)}; it has {', '.join(table.columns)}")
    table, paths = _with_images(table, table["image"], source, "*.png")
    listed = [set(cell.split("|")) for cell in table["finding"]]
    columns = [name for name in ("patient_id", "followup", "age", "sex", "view", "finding") if name in table]
    rows = table[columns].assign(abnormal=[int(found != {"No Finding"}) for found in listed])
    for name in NIH_FINDINGS:
        rows[name] = [int(name in found) for found in listed]
    rows.insert(0, "image_id", table["image"].str.removesuffix(".png"))
    test = next(iter(sorted(source.rglob("test_list*.txt"))), None)
    if test is not None:
        names = set(test.read_text().split())
        rows["split"] = ["test" if image in names else "train" for image in table["image"]]
    return _written(in_parallel(_grey, paths, "Shrinking"), rows)


def prepare_ham(source: Path) -> dict[str, bytes]:
    """HAM10000 (*.jpg in any folders, HAM10000_metadata) as 64 x 64 colour arrays; the middle square of each image is kept."""
    table = pd.read_csv(_one(source, "HAM10000_metadata*"), dtype=str)
    absent = sorted({"image_id", "lesion_id", "dx", "age", "sex", "localization"} - set(table))
    if absent:
        raise DataError(f"HAM10000_metadata has no column {', '.join(absent)}; it has {', '.join(table.columns)}")
    table, paths = _with_images(table, table["image_id"] + ".jpg", source, "*.jpg")
    rows = table.assign(finding=table["dx"].map(HAM_NAMES), malignant=table["dx"].isin(["akiec", "bcc", "mel"]).astype(int))
    return _written(in_parallel(_square_colour, paths, "Shrinking"), rows)


def _one(source: Path, pattern: str) -> Path:
    found = sorted(source.rglob(pattern))
    if not found:
        raise DataError(f"{source} holds no {pattern}; it is part of the official download, put it there")
    return found[0]


def _with_images(table: pd.DataFrame, names: pd.Series, source: Path, pattern: str) -> tuple[pd.DataFrame, list[Path]]:
    """The rows whose image is there, and the images in that order."""
    paths = {path.name: path for path in source.rglob(pattern)}
    here = names.isin(list(paths))
    if not here.any():
        raise DataError(f"{source} holds {len(paths)} {pattern} files, but none that the table names (first: {names.iloc[0]}); unpack the images there")
    return table[here].reset_index(drop=True), [paths[name] for name in names[here]]


def _grey(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return resample(np.asarray(image.convert("L"))[None], (SIDE, SIDE))[0]


def _square_colour(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = np.asarray(image.convert("RGB").crop((left, top, left + side, top + side)))
    return np.moveaxis(resample(np.moveaxis(square, -1, 0), (SIDE, SIDE)), 0, -1)


def _written(images: list[np.ndarray], rows: pd.DataFrame) -> dict[str, bytes]:
    """Both files of the layout `arrays`."""
    packed = io.BytesIO()
    np.savez_compressed(packed, images=np.stack(images))
    rows.insert(0, "index", range(len(rows)))
    return {"images.npz": packed.getvalue(), "metadata.csv": rows.to_csv(index=False).encode()}


def by_hand(one: Entry) -> str:
    """What to write by hand where there is no recipe."""
    if one.get != "prepare":
        return f"{one.name} needs no preparation: {one.how()}"
    volumes = len(one.size) == 3
    shape = f"{'volumes' if volumes else 'images'}, uint8, N x {' x '.join(map(str, one.size))}"
    return (
        f"{one.name} has no recipe. Make two files in {one.target_folder()}: {'volumes' if volumes else 'images'}.npz (key {shape}) and metadata.csv with the "
        f"columns index (row of the array), {one.patient}, {', '.join(one.schema.names)}. The images come from {one.address}"
    )


RECIPES: dict[str, Callable[[Path], dict[str, bytes]]] = {"nih-cxr64": prepare_nih, "ham10000-64": prepare_ham}

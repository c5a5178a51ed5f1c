"""A practice folder: phantom films written as a hospital would hand them out, identifiers and oddities included."""
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import generator
from synthkit.errors import DataError

SURNAMES = ("Abendroth", "Bellweather", "Castellano", "Drummond", "Eisenhauer", "Fairbanks", "Granville", "Hollister")
GIVEN = ("Adelheid", "Bartholomew", "Cordelia", "Desmond", "Ernestine", "Ferdinand", "Gwendolyn", "Humphrey")
FINDINGS = ("effusion", "lesion", "consolidation")


def write_practice_dicoms(cohort: Cohort, folder: str | Path, *, seed: int = 0) -> pd.DataFrame:
    """Write phantom films as 16-bit DICOM files in three sizes, every fourth one MONOCHROME1, beside `labels.csv`.

    Names, record numbers and birth dates are invented and planted in the files, as a real export would have them.

    Args:
        cohort: 2D single-channel phantom films with the chest phantom's factors.
        folder: made if absent.
    Returns:
        What was planted: one row per file with `file`, `patient_name`, `mrn`, `birth_date` and the labels.
    """
    missing = [name for name in ("age", "sex", "view", *FINDINGS) if name not in cohort.schema]
    if missing or cohort.space.dims != 2:
        raise DataError(f"practice DICOMs are made of chest phantom films; this cohort lacks {', '.join(missing) or 'two dimensions'}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = generator(seed, "practice", "identities"), []
    for number, row in enumerate(cohort.table.to_dict("records")):
        patient = number // 2  # two films each
        person = {
            "patient_name": f"{SURNAMES[patient % 8]}{patient:03d}^{GIVEN[(patient // 8) % 8]}", "mrn": f"MRN{7_000_000 + 37 * patient}",
            "birth_date": f"19{30 + patient % 60:02d}0{1 + patient % 9}1{patient % 9}",
        }  # fmt: skip
        name = f"film_{number:04d}.dcm"
        _write(folder / name, cohort.images[number][0].numpy(), row, person, number)
        found = [finding.capitalize() for finding in FINDINGS if row[finding] == "present"]
        blank, unsure = rng.random(2)
        rows.append({
            "file": name, **person, "Finding Labels": "" if blank < 0.05 else "|".join(found) or "No Finding",
            "Pneumothorax": -1 if unsure < 0.1 else int(row["pneumothorax"] == "present"), "View Position": row["view"],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table.drop(columns=["patient_name", "birth_date"]).to_csv(folder / "labels.csv", index=False)
    return table


def _write(path: Path, image: np.ndarray, row: dict[str, object], person: dict[str, str], number: int) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    inverted = number % 4 == 3
    shapes = (image, image[2:-2, 4:-4], image.repeat(2, 0).repeat(2, 1))
    pixels = np.rint((shapes[number % 3] + 1) / 2 * 4095).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = ComputedRadiographyImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[person["mrn"], str(number)])
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, "CR"
    file.PatientName, file.PatientID, file.PatientBirthDate = person["patient_name"], person["mrn"], person["birth_date"]
    file.PatientSex, file.PatientAge, file.ViewPosition = str(row["sex"]), f"{int(row['age']):03d}Y", str(row["view"])
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(entropy_srcs=[person["mrn"]]), generate_uid(entropy_srcs=[path.name])
    file.BurnedInAnnotation = "YES" if row["marker"] == "present" else "NO"
    file.PhotometricInterpretation, file.SamplesPerPixel = "MONOCHROME1" if inverted else "MONOCHROME2", 1
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.WindowCenter, file.WindowWidth = 2048, 4096
    file.PixelData = (4095 - pixels if inverted else pixels).tobytes()
    file.save_as(path)

"""What the headings and cells of a raw table mean: standard names, and columns that identify a person or keep the books."""
import re
from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd

ALIASES = {
    "age": r"(patients?_)?age(_in)?(_years?|_yrs?|_y)?",
    "sex": r"(patients?_)?(sex|gender)",
    "view": r"view(_position)?|ap_pa|pa_ap",
}  # fmt: skip

# What a column is called that names a person, or only keeps the books.
PERSONAL = re.compile(
    r"(.*_)?(mrn|ssn|nhs|dob|birth_?(date|day|place|name)|address|street|zip(_?code)?|post(al|_?code)|(tele)?phone|fax|mobile|e?mail|accession|physician"
    r"|doctor|operator|radiologist|technician|initials|surname|firstname|lastname|forename|insurance|passport|record_number)(_.*)?|(.*_)?births?"
    r"|((pat|patients?|subjects?|full|first|last|family|given|middle|maiden|persons?)_)?names?"
)  # fmt: skip
IDENTITY = re.compile(r"(.*_)?(p?ids?|pat_?ids?|uid|uuid|guid|index|idx|key|hash|barcode|number|nr|no)|patient|subject|case|unnamed_\d+")
SPLIT = re.compile(r"split|fold|cv_fold|subset|partition|set|dataset_split")
ABOUT_FILE = re.compile(r"(.*_)?(licen[cs]e|citation|doi|url|pixel_spacing)(_.*)?|source|rows|col(umn)?s|width|height|bits.*|bytes|frames|orig(inal)?_.*")
DATE = re.compile(r"(19|20)\d{2}[-/.](0?[1-9]|1[0-2])[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.](19|20)\d{2}.*|(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])")
ADDRESS = re.compile(r"(https?|ftp|s3)://.*|10\.\d{4,}/.*")
FILE_NAME = re.compile(r".*\.(png|jpe?g|bmp|webp|tiff?|dcm|dicom|ima|nii|nii\.gz|npy|npz)", re.IGNORECASE)
BOOKS = (
    ("personal", PERSONAL, "the name says that it identifies a person"), ("id", IDENTITY, "an identifier, not a property"),
    ("split", SPLIT, "says which part of a split a row belongs to"), ("about the file", ABOUT_FILE, "describes the file, not the patient"),
)  # fmt: skip
CONTENTS = (("date", DATE, "dates"), ("address", ADDRESS, "web addresses"), ("file name", FILE_NAME, "names of files"))


def snake(column: object) -> str:
    """A column's name in lower case with underscores: "Pleural Thickening", "PleuralThickening" → pleural_thickening."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", str(column).replace("'", ""))
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def standard_name(column: object) -> str:
    """The factor name that a raw column becomes: age, sex and view under any usual heading, else its name in snake case."""
    name = snake(column)
    return next((standard for standard, pattern in ALIASES.items() if re.fullmatch(pattern, name)), name)


def as_text(values: pd.Series) -> pd.Series:
    """Cells as stripped text, whole numbers without ".0"; blank cells are None."""
    cells = [None if pd.isna(v) else re.sub(r"^(-?\d+)\.0+$", r"\1", str(v).strip()) for v in values]
    return pd.Series([cell or None for cell in cells], index=values.index, dtype=object)


def closest(name: object, options: Sequence[object]) -> str:
    """The end of an error message: which option is spelled like the name, and all options."""
    folded = {snake(option): str(option) for option in options}
    near = get_close_matches(snake(name), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]!r}? It has {', '.join(map(str, options))}" if near else f"it has {', '.join(map(str, options)) or 'nothing'}"


def not_a_factor(name: str, known: pd.Series) -> tuple[str, str] | None:
    """Why a column is no factor, as (what it is, reason), from its standard name and its known cells; None if it may be one."""
    for label, pattern, why in BOOKS:
        if pattern.fullmatch(name):
            return label, why
    for label, pattern, why in CONTENTS:
        if sum(pattern.fullmatch(cell) is not None for cell in known) > len(known) / 2:
            return label, why
    if re.fullmatch(r"(.*_)?(date|time|datetime|timestamp)(_.*)?", name):
        return "date", "the name says that it is a date or time"
    if known.str.fullmatch(r"\d+").all() and known.str.fullmatch(r"0\d+").any():
        return "id", "numbers with leading zeros are names, not quantities"
    return None

"""Files that were left out: coded where they are kept with a cohort, in the clear where only the caller sees them."""
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.data.files import KNOWN_SUFFIXES, image_files
from synthkit.data.picture import Skip
from synthkit.data.pseudonym import pseudonym


def skipped_frame(skips: Sequence[Skip], *, private: bool) -> pd.DataFrame:
    """`file` and `reason`. The name of a private file may hold a patient's, so it is coded; `find_skipped` finds it again."""
    return pd.DataFrame({"file": [_code(s.file) if private and s.is_file else s.file for s in skips], "reason": [s.reason for s in skips]}, dtype=object)


def _code(file: str) -> str:
    return pseudonym("file", file) + next((suffix for suffix in KNOWN_SUFFIXES if file.lower().endswith(suffix)), "")


def find_skipped(cohort: Cohort, folder: str | Path) -> pd.DataFrame:
    """`cohort.skipped` with the column `path`: which files of the folder it was loaded from the coded names mean.

    The codes are made with this user's key, so this works for who loaded the cohort.
    """
    root = Path(folder)
    paths = {_code(path.relative_to(root).as_posix()): str(path) for path in image_files(root)}
    return cohort.skipped.assign(path=[paths.get(file) for file in cohort.skipped["file"]])


def listed(skips: Sequence[Skip], most: int = 6) -> str:
    """One line per file, in the clear."""
    lines = "\n".join(f"  {skip.file}: {skip.reason}" for skip in skips[:most])
    return lines + (f"\n  and {len(skips) - most} more" if len(skips) > most else "")


def nothing_read(skips: Sequence[Skip]) -> str:
    """The error text where no file could be read."""
    return f"none of the {len(skips)} files could be read:\n{listed(skips, 12)}"


def warn_skipped(skips: Sequence[Skip], *, read: int) -> None:
    """Tell the caller once which files were left out, by name."""
    if skips:
        hint = ".skipped lists all, with coded names that sk.find_skipped(cohort, folder) finds again"
        warnings.warn(f"{len(skips)} of {len(skips) + read} files were skipped ({hint}):\n{listed(skips)}", stacklevel=6)

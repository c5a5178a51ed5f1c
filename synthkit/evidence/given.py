"""A cohort that was given as such, or as the folder of a saved one."""
from pathlib import Path

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.store import load


def cohort_of(name: str, given: str | Path | Cohort) -> Cohort:
    """The cohort; DataError for another kind of argument, StoreError where no cohort was saved."""
    require_kind(name, given, (Cohort, str, Path), "a cohort, or the folder of a saved one")
    return given if isinstance(given, Cohort) else load(Path(given).expanduser())

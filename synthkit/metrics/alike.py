"""Which cohorts may be held against each other."""
from collections.abc import Mapping

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError


def require_alike(first: str, cohorts: Mapping[str, Cohort]) -> None:
    """Raise DataError unless all cohorts have images of one size, with the channels and windows of the one called `first`."""
    for name, cohort in cohorts.items():
        apart = cohorts[first].space.difference(cohort.space)
        if apart:
            raise DataError(f"the {first} and the {name} images do not fit together: {apart}; load both with the same size=, channels and window=")


def doubts(cohorts: Mapping[str, Cohort]) -> list[str]:
    """What else makes a comparison of `real` and `fake` doubtful, in words: spacing, shared patients, several images of one patient."""
    real, fake, notes = cohorts["real"], cohorts["fake"], []
    known = {name: cohort.space.spacing_mm for name, cohort in cohorts.items() if cohort.space.spacing_mm}
    if len(known) > 1 and not all(np.allclose(spacing, next(iter(known.values())), rtol=0.01) for spacing in known.values()):
        said = ", ".join(f"{name} {' x '.join(f'{s:g}' for s in spacing)} mm" for name, spacing in known.items())
        notes.append(f"The pixels are of different sizes ({said}): textures and shapes are compared in pixels, not in millimetres.")
    for name, cohort in cohorts.items():
        both = set(fake.table["patient_id"]) & set(cohort.table["patient_id"]) if name != "fake" else ()
        if both:
            notes.append(f"{len(both)} patient(s) stand in fake and in {name}: copies or edits of the images compared with score too well.")
    patients = real.table["patient_id"].nunique()
    if 2 * patients <= len(real) and 2 * fake.table["patient_id"].nunique() > len(fake):
        notes.append(f"The {len(real)} real images are of {patients} patients, the synthetic ones stand alone: at equal n the real side holds fewer cases.")
    return notes


def in_order(cohort: Cohort) -> Cohort:
    """The same rows by image id, so that no score depends on how they were stored."""
    return cohort[np.argsort(cohort.table["image_id"].to_numpy(str), kind="stable")]

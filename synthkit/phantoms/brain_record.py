"""The clinical record of the brain phantom: what anatomy causes outside the image. No column here changes a voxel.

Volumes, scores and thresholds are of the usual order; the sizes of the effects are the phantom's own.
"""
import numpy as np

from synthkit.phantoms.factor import PRESENCE, Array, Factor, sigmoid

STAGE_POINTS = np.array([0.0, 3.5, 9.0, 15.0])  # lost on the Mini-Mental State Examination


def mmse(noise: Array, atrophy: Array, wm_lesion_load: Array, ventricle_volume: Array) -> Array:
    """Points of 30; not rounded to whole points, so that the noise can be recovered from them."""
    lost = STAGE_POINTS[atrophy.astype(int)] + 0.08 * wm_lesion_load + 0.03 * (ventricle_volume - 25)
    return 28.8 - lost + 1.2 * noise


def haemoglobin(noise: Array, age: Array, sex: Array) -> Array:
    """g/dl: higher in men, falling a little with age."""
    return 13.6 + 1.4 * sex - 0.015 * (age - 50) + 1.1 * noise


def dementia(noise: Array, atrophy: Array, mmse: Array) -> Array:
    """The code of a dementia: with atrophy and a low score."""
    return noise < sigmoid(-3.5 + 0.9 * atrophy + 0.45 * (24 - mmse))


def glioma(noise: Array, tumour: Array) -> Array:
    """The code of a tumour: one in twenty goes uncoded, and a few are coded for nothing."""
    return noise < np.where(tumour > 0, 0.95, 0.005)


def anaemia(noise: Array, sex: Array, haemoglobin: Array) -> Array:
    """The code of a haemoglobin under 12 g/dl (women) or 13 g/dl (men) (WHO 2011); one in ten goes uncoded."""
    return (haemoglobin < 12 + sex) & (noise < 0.9)


def record() -> tuple[Factor, ...]:
    """Measurements and diagnosis codes, after the anatomy that causes them."""
    return (
        Factor("mmse", mmse, ("atrophy", "wm_lesion_load", "ventricle_volume"), low=0, high=30, unit="points", cuts=(24.0,)),
        Factor("haemoglobin", haemoglobin, ("age", "sex"), low=6, high=20, unit="g/dl", cuts=(12.0,)),
        Factor("dementia", dementia, ("atrophy", "mmse"), noise="uniform", levels=PRESENCE),
        Factor("glioma", glioma, ("tumour",), noise="uniform", levels=PRESENCE),
        Factor("anaemia", anaemia, ("sex", "haemoglobin"), noise="uniform", levels=PRESENCE),
    )

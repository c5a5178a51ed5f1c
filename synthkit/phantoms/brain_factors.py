"""The causal model of the brain phantom: anatomy, disease and acquisition."""
import numpy as np

from synthkit.phantoms.brain_record import record
from synthkit.phantoms.factor import PRESENCE, Array, Factor, coin, sigmoid

STAGES = ("none", "mild", "moderate", "severe")
SCANNERS = ("A", "B")


def age(noise: Array) -> Array:
    """Years; clipped to 20..90."""
    return 58 + 16 * noise


def intracranial_volume(noise: Array, sex: Array) -> Array:
    """ml inside the skull, larger in men."""
    return _usual_skull(sex) + 95 * noise


def atrophy(noise: Array, age: Array) -> Array:
    """Ordered logit: each stage's odds grow with age."""
    decades = (age - 58) / 16
    at_least = [sigmoid(shift + 1.1 * decades) for shift in (-1.4, -2.4, -3.5)]
    return sum(noise > 1 - share for share in at_least)


def brain_volume(noise: Array, age: Array, sex: Array, intracranial: Array, atrophy: Array) -> Array:
    """1450 + 130 male - 3.5 (age - 50) + 90 u ml, most of u the size of the skull; less 32 ml a stage."""
    usual = 1450 + 130 * sex - 3.5 * (age - 50) - 32 * atrophy
    return usual + 0.85 * (intracranial - _usual_skull(sex)) + 40 * noise


def ventricle_volume(noise: Array, age: Array, brain: Array, atrophy: Array) -> Array:
    """ml: wider with age, with a small brain and with each stage of atrophy."""
    return np.exp(np.log(25) + 0.02 * (age - 50) - 0.0006 * (brain - 1450) + 0.16 * atrophy + 0.35 * noise)


def wm_lesion_load(noise: Array, age: Array) -> Array:
    """ml of white-matter lesions, log-normal, doubling every 15 years."""
    return 1.2 * np.exp(0.045 * (age - 50) + 0.9 * noise)


def tumour(noise: Array, age: Array) -> Array:
    """Far commoner than in any population, so that cohorts hold enough."""
    return noise < sigmoid(-1.4 + 0.25 * (age - 58) / 16)


def tumour_volume(noise: Array) -> Array:
    """ml, log-normal around 16."""
    return 16 * np.exp(0.6 * noise)


def beside_midline(noise: Array) -> Array:
    """18 to 38 mm to either side, clear of the ventricles."""
    return np.where(noise < 0.5, -38 + 40 * noise, 18 + 40 * (noise - 0.5))


def oedema_width(noise: Array) -> Array:
    """mm around the tumour."""
    return 10 + 4 * noise


def enhancement(noise: Array) -> Array:
    """How much contrast agent the rim takes up, 0 to 1."""
    return 0.6 + 0.25 * noise


def dose(noise: Array) -> Array:
    """Tube current of the CT in mAs, log-normal around 220."""
    return 220 * np.exp(0.4 * noise)


def motion(noise: Array) -> Array:
    """Most lie still."""
    return noise**4


def factors() -> tuple[Factor, ...]:
    """All nodes, parents before children."""
    return (
        Factor("age", age, low=20, high=90, unit="years", cuts=(40.0, 65.0)),
        Factor("sex", coin, noise="uniform", levels=("F", "M")),
        Factor("intracranial_volume", intracranial_volume, ("sex",), low=1300, high=2200, unit="ml"),
        Factor("atrophy", atrophy, ("age",), noise="uniform", levels=STAGES),
        Factor("brain_volume", brain_volume, ("age", "sex", "intracranial_volume", "atrophy"), low=900, high=1950, unit="ml"),
        Factor("ventricle_volume", ventricle_volume, ("age", "brain_volume", "atrophy"), low=6, high=160, unit="ml"),
        Factor("wm_lesion_load", wm_lesion_load, ("age",), low=0.1, high=60, unit="ml"),
        *_tumour(),
        Factor("scanner", coin, noise="uniform", levels=SCANNERS),
        Factor("dose", dose, low=40, high=600, unit="mAs"),
        Factor("motion", motion, noise="uniform", low=0, high=1),
        *record(),
    )


def _tumour() -> tuple[Factor, ...]:
    mm = {"noise": "uniform", "unit": "mm", "when": "tumour"}
    return (
        Factor("tumour", tumour, ("age",), noise="uniform", levels=PRESENCE),
        Factor("tumour_volume", tumour_volume, low=1, high=60, unit="ml", when="tumour"),
        Factor("tumour_x", beside_midline, low=-45, high=45, **mm),
        Factor("tumour_y", lambda noise: -40 + 80 * noise, low=-50, high=55, **mm),
        Factor("tumour_z", lambda noise: 8 + 26 * noise, low=-20, high=45, **mm),
        Factor("oedema_width", oedema_width, low=0, high=25, unit="mm", when="tumour"),
        Factor("enhancement", enhancement, low=0, high=1, when="tumour"),
    )


def _usual_skull(sex: Array) -> Array:
    return 1670 + 150 * sex

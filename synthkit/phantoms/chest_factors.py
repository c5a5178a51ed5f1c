"""The chest phantom's causal model: which factor causes which, and how.

`spread` is (age - 58) / 16; categories arrive coded 0 and 1.
"""
from collections.abc import Callable

import numpy as np

from synthkit.phantoms.factor import PRESENCE, Array, Factor, coin, sigmoid


def _spread(age: Array) -> Array:
    return (age - 58) / 16


def age(noise: Array) -> Array:
    """Years; clipped to 20..90."""
    return 58 + 16 * noise


def bmi(noise: Array, age: Array, male: Array) -> Array:
    """kg/m2, rising with age, one higher in men."""
    return 26 + 0.7 * _spread(age) + male + 3.5 * noise


def cardiomegaly(noise: Array, age: Array, bmi: Array) -> Array:
    """Rare in the young and thin: log-odds -2.2 at 58 years and 26 kg/m2."""
    return noise < sigmoid(-2.2 + 0.6 * _spread(age) + 0.06 * (bmi - 26))


def heart_ratio(noise: Array, age: Array, bmi: Array, cardiomegaly: Array) -> Array:
    """Width of the heart over width of the thorax, as a reader would measure them."""
    return 0.45 + 0.02 * _spread(age) + 0.004 * (bmi - 26) + 0.08 * cardiomegaly + 0.032 * noise


def effusion(noise: Array, age: Array, heart_ratio: Array) -> Array:
    """Pleural fluid: more often in the old and with a large heart."""
    return noise < sigmoid(-0.9 + 0.5 * _spread(age) + 9 * (heart_ratio - 0.46))


def effusion_fill(noise: Array) -> Array:
    """Height of the fluid, 0 (angle only) to 1."""
    return 0.55 + 0.18 * noise


def opacity(noise: Array, age: Array, effusion: Array) -> Array:
    """Haze of the lungs, 0..0.5: with age, and beside fluid."""
    return 0.06 + 0.02 * _spread(age) + 0.12 * effusion + 0.05 * noise


def lesion(noise: Array, age: Array) -> Array:
    """A nodule or mass: more often in the old."""
    return noise < sigmoid(-0.7 + 0.5 * _spread(age))


def lesion_radius(noise: Array) -> Array:
    """mm, log-normal around 15."""
    return 15 * np.exp(0.25 * noise)


def lesion_spiculation(noise: Array, lesion_radius: Array) -> Array:
    """How far strands reach out from the rim, 0 smooth to 1; larger lesions are rougher."""
    return 0.3 + 0.02 * (lesion_radius - 15) + 0.22 * noise


def lesion_x(noise: Array) -> Array:
    """mm from mid-chest, 48..96 on either side: within a lung."""
    across = 2 * noise - 1
    return np.where(across < 0, -1, 1) * (48 + 48 * np.abs(across))


def lesion_y(noise: Array) -> Array:
    """mm from mid-chest, positive towards the feet."""
    return -85 + 110 * noise


def pacemaker(noise: Array, age: Array) -> Array:
    """A pacemaker: more often in the old."""
    return noise < sigmoid(-3.6 + 0.8 * _spread(age))


def clips(noise: Array, age: Array) -> Array:
    """Sternal wires and surgical clips, after heart surgery."""
    return noise < sigmoid(-3.4 + 0.5 * _spread(age))


def pneumothorax(noise: Array) -> Array:
    """Free air in the pleural space: 3 in 100."""
    return noise < 0.03


def consolidation(noise: Array, age: Array) -> Array:
    """A lobar patch without air."""
    return noise < sigmoid(-2.4 + 0.3 * _spread(age))


def emerging(prevalence: float) -> Callable[..., Array]:
    """The invented disease's equation: nobody has it unless a prevalence is asked for."""

    def equation(noise: Array) -> Array:
        return noise < prevalence

    return equation


def marker(confounding: float) -> Callable[..., Array]:
    """The planted shortcut's equation: P(marker | effusion) - P(marker | none) = confounding."""

    def equation(noise: Array, effusion: Array) -> Array:
        return noise < 0.5 + confounding * (effusion - 0.5)

    return equation


def factors(confounding: float, emerging_share: float) -> tuple[Factor, ...]:
    """All factors, parents before children."""

    def finding(name: str, equation: Callable[..., Array], *parents: str) -> Factor:
        return Factor(name, equation, parents, "uniform", PRESENCE)

    return (
        Factor("age", age, low=20, high=90, unit="years", cuts=(40, 65)),
        Factor("sex", coin, noise="uniform", levels=("F", "M")),
        Factor("group", coin, noise="uniform", levels=("1", "2")),
        Factor("view", coin, noise="uniform", levels=("PA", "AP")),
        Factor("site", coin, noise="uniform", levels=("A", "B")),
        Factor("bmi", bmi, ("age", "sex"), low=15, high=45, unit="kg/m2", cuts=(25, 30)),
        finding("cardiomegaly", cardiomegaly, "age", "bmi"),
        Factor("heart_ratio", heart_ratio, ("age", "bmi", "cardiomegaly"), low=0.38, high=0.70),
        finding("effusion", effusion, "age", "heart_ratio"),
        Factor("effusion_fill", effusion_fill, low=0, high=1, when="effusion"),
        Factor("effusion_side", coin, noise="uniform", levels=("left", "right"), when="effusion"),
        Factor("opacity", opacity, ("age", "effusion"), low=0, high=0.5),
        finding("lesion", lesion, "age"),
        Factor("lesion_radius", lesion_radius, low=6, high=35, unit="mm", when="lesion"),
        Factor("lesion_spiculation", lesion_spiculation, ("lesion_radius",), low=0, high=1, when="lesion"),
        Factor("lesion_x", lesion_x, noise="uniform", low=-130, high=130, unit="mm", when="lesion"),
        Factor("lesion_y", lesion_y, noise="uniform", low=-130, high=130, unit="mm", when="lesion"),
        finding("marker", marker(confounding), "effusion"),
        finding("pacemaker", pacemaker, "age"),
        finding("clips", clips, "age"),
        finding("pneumothorax", pneumothorax),
        finding("consolidation", consolidation, "age"),
        finding("emerging", emerging(emerging_share)),
    )

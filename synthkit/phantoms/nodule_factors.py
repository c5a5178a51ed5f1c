"""The nodule phantom's structural causal model: each factor as a function of its parents and its own noise.

Malignancy follows the full Brock model (McWilliams et al. 2013, NEJM 369:910) for one nodule without family history of
cancer; the term for benign calcification is that of the Peking model (Li et al. 2011). Its offset is raised from a
screening population's to that of patients referred for a nodule, so that both outcomes are common.
"""
import numpy as np

from synthkit.phantoms.factor import PRESENCE, Array, Factor, coin, sigmoid

DENSITIES = ("solid", "part-solid", "ground-glass")
LOBES = ("right upper", "right middle", "right lower", "left upper", "left lower")
KERNELS = ("soft", "sharp")
LOBE_SHARES = (0.32, 0.08, 0.21, 0.24, 0.15)
DENSITY_SHARES = (0.60, 0.18, 0.22)
REFERRAL = 2.6


def age(noise: Array) -> Array:
    """Years of those referred for a nodule; clipped to 40..90."""
    return 63 + 9 * noise


def pack_years(noise: Array, age: Array, male: Array) -> Array:
    """Packs a day times years; a never-smoker is a value clipped to 0."""
    return 12 + 4 * male + 0.3 * (age - 63) + 22 * noise


def emphysema(noise: Array, age: Array, pack_years: Array) -> Array:
    """Share of the lung without tissue, rising with smoking and age."""
    return -0.04 + 0.004 * pack_years + 0.003 * (age - 63) + 0.08 * noise


def lobe(noise: Array) -> Array:
    """Upper lobes, above all the right, hold most nodules."""
    return np.searchsorted(np.cumsum(LOBE_SHARES)[:-1], noise, side="right")


def diameter(noise: Array) -> Array:
    """mm, log-normal around 9."""
    return 9 * np.exp(0.4 * noise)


def density(noise: Array) -> Array:
    """Three in five are solid."""
    return np.searchsorted(np.cumsum(DENSITY_SHARES)[:-1], noise, side="right")


def spiculation(noise: Array, diameter: Array, density: Array) -> Array:
    """Roughness of the rim, 0 smooth to 1: larger and denser ones are rougher."""
    return 0.22 + 0.025 * (diameter - 9) - 0.06 * density + 0.26 * noise


def calcification(noise: Array, density: Array, spiculation: Array) -> Array:
    """Benign calcium: only in solid nodules, less often in rough ones."""
    return (density == 0) & (noise < 0.22 * np.exp(-3 * spiculation))


def malignancy_logit(age: Array, male: Array, emphysema: Array, lobe: Array, diameter: Array, density: Array, spiculation: Array, calcified: Array) -> Array:
    """Log odds of cancer; graded emphysema and spiculation take the place of the model's yes and no."""
    upper = (lobe == 0) | (lobe == 3)
    patient = 0.0287 * (age - 62) + 0.6011 * (1 - male) + 0.2953 * np.minimum(emphysema / 0.1, 1)
    place = 0.6581 * upper - 0.0824 * (1 - 4)
    size = -5.3854 * ((diameter / 10) ** -0.5 - 1.58113883)
    kind = 0.377 * (density == 1) - 0.1276 * (density == 2) + 0.7729 * np.minimum(spiculation / 0.5, 1.5) - 1.615 * calcified
    return REFERRAL - 6.7892 + patient + place + size + kind


def malignancy(noise: Array, *parents: Array) -> Array:
    """Cancer, by the log odds above."""
    return noise < sigmoid(malignancy_logit(*parents))


def dose(noise: Array) -> Array:
    """Tube current in mAs, log-normal around 70."""
    return 70 * np.exp(0.55 * noise)


MALIGNANCY_PARENTS = ("age", "sex", "emphysema", "lobe", "diameter", "density", "spiculation", "calcification")

FACTORS = (
    Factor("age", age, low=40, high=90, unit="years", cuts=(55.0, 70.0)),
    Factor("sex", coin, noise="uniform", levels=("F", "M")),
    Factor("pack_years", pack_years, ("age", "sex"), low=0, high=100, unit="pack-years", cuts=(20.0,)),
    Factor("emphysema", emphysema, ("age", "pack_years"), low=0, high=0.6, cuts=(0.05, 0.15)),
    Factor("lobe", lobe, noise="uniform", levels=LOBES),
    Factor("diameter", diameter, low=4, high=20, unit="mm", cuts=(6.0, 8.0, 15.0)),
    Factor("density", density, noise="uniform", levels=DENSITIES),
    Factor("spiculation", spiculation, ("diameter", "density"), low=0, high=1, cuts=(0.3, 0.6)),
    Factor("calcification", calcification, ("density", "spiculation"), "uniform", PRESENCE),
    Factor("malignancy", malignancy, MALIGNANCY_PARENTS, "uniform", PRESENCE),
    Factor("dose", dose, low=10, high=300, unit="mAs", cuts=(50.0,)),
    Factor("kernel", coin, noise="uniform", levels=KERNELS),
)

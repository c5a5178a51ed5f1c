"""Membership inference: does the generator's own loss tell whom it was trained on?"""
import numpy as np
import torch
from scipy.stats import mannwhitneyu, rankdata

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.randomness import normal, permutation
from synthkit.generators.generator import Generator
from synthkit.metrics.copying.tail import FEWEST
from synthkit.nets.network import KnowingNetwork

MOST = 500  # patients a side
FALSE_ALARMS = 10  # of so many new patients a rate of false alarms can be told


def knows(generator: Generator) -> bool:
    """Whether the generator has a loss of single images."""
    return isinstance(generator.trained, KnowingNetwork)


def membership(generator: Generator, *, train: Cohort, holdout: Cohort, seed: int) -> list[dict[str, object]]:
    """AUC of the loss, true positives at few false alarms, and a control between members (Carlini et al. 2022; Yeom et al. 2018).

    A patient counts with the mean over images and times of the loss, each time divided by its mean over all.
    """
    member = misfits(generator, _some(train, seed), seed=seed)
    new = misfits(generator, _some(holdout, seed), seed=seed)
    rows = [_auc("loss tells members from new patients", member, new, tested=True)]
    if len(new) >= FEWEST:
        rows.append(_caught(member, new))
    half = len(member) // 2
    return [*rows, _auc("control: first half of the members from the last", member[:half], member[half:], tested=False)]


def misfits(generator: Generator, cohort: Cohort, *, seed: int) -> np.ndarray:
    """(patients,) mean loss of each patient's images, patients in the order of the table."""
    network, x, c = generator.trained, cohort.images.tensor(), generator.code(cohort.table)
    total = torch.zeros(len(cohort), dtype=torch.float64)
    for time in network.looks:
        noise = normal(network.latent_shape(), seed=seed, identities=cohort.table["image_id"], stream=f"membership {time}")
        total += generator.batched(network.misfit, x, c, noise, torch.full((len(x),), time)).double() / len(network.looks)
    return cohort.table.assign(misfit=total.numpy()).groupby("patient_id", sort=False)["misfit"].mean().to_numpy()


def auc(low: np.ndarray, high: np.ndarray) -> float:
    """Chance that one of the first is lower than one of the second; ties count half."""
    ranks = rankdata(np.concatenate([low, high]))
    return float(1 - (ranks[: len(low)].sum() - len(low) * (len(low) + 1) / 2) / (len(low) * len(high)))


def _some(cohort: Cohort, seed: int) -> Cohort:
    """All images of at most 500 patients, in the order of the table."""
    patients = cohort.table["patient_id"].unique()
    chosen = set(patients[permutation(len(patients), seed=seed, identity="patients", stream="membership")[:MOST]])
    return cohort[cohort.table["patient_id"].isin(chosen).to_numpy()]


def _auc(name: str, first: np.ndarray, second: np.ndarray, *, tested: bool) -> dict[str, object]:
    both, side = np.concatenate([first, second]), np.arange(len(first) + len(second)) < len(first)

    def again(rows: np.ndarray) -> float:
        mine, other = both[rows[side[rows]]], both[rows[~side[rows]]]
        return auc(mine, other) if len(mine) and len(other) else float("nan")

    low, high = bootstrap(again, np.arange(len(both)))
    p = float(mannwhitneyu(first, second, alternative="less").pvalue) if tested else np.nan
    return {"attack": name, "eye": "loss", "value": auc(first, second), "low": low, "high": high, "expected": 0.5, "n": len(both), "p": p}


def _caught(member: np.ndarray, new: np.ndarray) -> dict[str, object]:
    """True positives where as few false alarms are made as so many new patients can tell."""
    rate = max(0.01, min(0.5, FALSE_ALARMS / len(new)))

    def share(members: np.ndarray, others: np.ndarray) -> float:
        return float((members < np.quantile(others, rate)).mean())

    both, side = np.concatenate([member, new]), np.arange(len(member) + len(new)) < len(member)
    low, high = bootstrap(lambda rows: share(both[rows[side[rows]]], both[rows[~side[rows]]]), np.arange(len(both)))
    name = f"members caught at {rate:.0%} false alarms"
    return {"attack": name, "eye": "loss", "value": share(member, new), "low": low, "high": high, "expected": rate, "n": len(both), "p": np.nan}

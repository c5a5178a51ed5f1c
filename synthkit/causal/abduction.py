"""One factor under changed parents: its own noise is inferred from what was seen, then used again (Pearl 2009, theorem 7.1.7)."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.causal.codes import reach, within
from synthkit.causal.mechanisms import Mechanism
from synthkit.causal.noise import Array
from synthkit.core.schema import Category, Factor, Quantity

RARE = 0.005
# A noise that is known to within this share of its law counts as known.
LOOSE = 0.01


@dataclass(frozen=True)
class Prediction:
    """Counterfactual codes of some rows.

    Attributes:
        values: (N,) codes.
        shares: (N, levels) counterfactual probability of each level; None for a quantity.
        open: (N,) bool, where the factual value leaves the noise open (it stands at an end of its range, say) and its mean was taken.
        impossible: (N,) bool, where no noise gives the factual value.
    """

    values: Array
    shares: Array | None
    open: Array
    impossible: Array


def predict(factor: Factor, mechanism: Mechanism, values: Array, before: Sequence[Array], after: Sequence[Array]) -> Prediction:
    """What (N,) factual codes become when the parents' codes change from `before` to `after`."""
    chosen = predict_level if isinstance(factor, Category) else predict_quantity
    return chosen(factor, mechanism, values, before, after)


def predict_quantity(factor: Quantity, mechanism: Mechanism, values: Array, before: Sequence[Array], after: Sequence[Array]) -> Prediction:
    """The value that the row's own noise gives under the new causes; the middle noise where the factual value leaves it open.

    `open` marks such rows, and `impossible` those whose factual value the mechanism cannot give.
    """
    law = mechanism.law
    low, high = mechanism.noises(*reach(factor, values), *before)
    noise = law.middle(low, high)
    unsure = law.below(high) - law.below(low) > LOOSE
    missed = np.abs(within(factor, mechanism.value(noise, *before)) - values) > 1e-6 * (factor.high - factor.low)
    return Prediction(within(factor, mechanism.value(noise, *after)), None, unsure, missed & ~unsure)


def predict_level(factor: Category, mechanism: Mechanism, values: Array, before: Sequence[Array], after: Sequence[Array]) -> Prediction:
    """The most probable level, the factual one on a tie; the noise is what its level's interval leaves open.

    For two levels the probabilities are min(1, p*/p) and max(0, (p* - p) / (1 - p)), as under monotonicity (Tian and Pearl 2000).
    """
    rows, seen = np.arange(len(values)), values.astype(int)
    low, high = (ends[rows, seen][:, None] for ends in level_intervals(factor, mechanism, len(values), before))
    new_low, new_high = level_intervals(factor, mechanism, len(values), after)
    width = high - low
    impossible = width[:, 0] <= 0
    overlap = np.clip(np.minimum(high, new_high) - np.maximum(low, new_low), 0, None)
    stays = np.eye(len(factor.levels))[seen]
    shares = np.where(impossible[:, None], stays, overlap / np.where(width > 0, width, 1))
    tied = shares[rows, seen] >= shares.max(1) - 1e-12
    return Prediction(np.where(tied, seen, shares.argmax(1)).astype(float), shares, np.zeros(len(values), bool), impossible)


def level_intervals(factor: Category, mechanism: Mechanism, count: int, parents: Sequence[Array]) -> tuple[Array, Array]:
    """Two (N, levels) arrays: where each level begins and ends on the noise, as probabilities."""
    levels = len(factor.levels)
    # All levels of a row in one search: a single row must answer within a slider's patience.
    every = reach(factor, np.tile(np.arange(levels, dtype=float), count))
    low, high = mechanism.noises(*every, *[np.repeat(parent, levels) for parent in parents])
    return mechanism.law.below(low).reshape(count, levels), mechanism.law.below(high).reshape(count, levels)


def rare(factor: Factor, mechanism: Mechanism, values: Array, parents: Sequence[Array]) -> Array:
    """(N,) bool: a quantity beyond the 0.5 % or 99.5 % quantile given its parents, or a level less probable than 0.5 %."""
    law = mechanism.law
    if isinstance(factor, Category):
        low, high = mechanism.noises(*reach(factor, values), *parents)
        return law.below(high) - law.below(low) < RARE
    ends = [within(factor, mechanism.value(np.full(len(values), law.quantile(share)), *parents)) for share in (RARE, 1 - RARE)]
    return (values < np.minimum(*ends)) | (values > np.maximum(*ends))

"""The values of all rules over a cohort, block by block."""
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.metrics.checks.rule import Block, LearntRule, Rule
from synthkit.tasks.organs import OrganFinder

NUMBERS = 2**21  # pixels of a block


def measured(
    cohort: Cohort, rules: Sequence[Rule], *, learnt: Mapping[str, torch.Tensor], which: np.ndarray | None = None, organs: OrganFinder | None = None
) -> pd.DataFrame:
    """One row per image, one column per rule.

    Args:
        learnt: by name of a `LearntRule`, (k, d) what it learnt from k sets of real images.
        which: (N,) the set that each image is held against; the first when left out.
    """
    parts: list[dict[str, np.ndarray]] = []
    for rows in row_blocks(cohort):
        raw = cohort.images.raw(rows)
        images = cohort.space.to_float(raw)
        sets = torch.from_numpy(np.zeros(len(rows), int) if which is None else which[rows])
        against = {name: state[sets] for name, state in learnt.items()}
        block = Block(images, raw, cohort.space, against, organs.outline(images) if organs else {})
        parts.append({rule.name: _values(rule, block) for rule in rules})
    return pd.DataFrame({rule.name: np.concatenate([part[rule.name] for part in parts]) for rule in rules})


def _values(rule: Rule, block: Block) -> np.ndarray:
    values = torch.as_tensor(rule.look(block)).detach().cpu().double().numpy()
    if values.shape != (len(block.images),):
        raise DataError(f"rule {rule.name} gave values of shape {values.shape} for {len(block.images)} images; give one number per image")
    return values


def row_blocks(cohort: Cohort) -> Iterator[np.ndarray]:
    """Row numbers in blocks that hold about two million pixels."""
    step = max(1, min(512, NUMBERS // int(np.prod(cohort.space.shape))))
    for start in range(0, len(cohort), step):
        yield np.arange(start, min(start + step, len(cohort)))


def descriptions(cohort: Cohort, rule: LearntRule) -> torch.Tensor:
    """(N, d) what a rule learns from."""
    return torch.cat([rule.describe(cohort.images.tensor(rows)) for rows in row_blocks(cohort)])

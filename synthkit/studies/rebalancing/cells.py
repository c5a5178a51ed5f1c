"""The cells of a training set: its images by the groups of one factor or several, and by the level of a finding."""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Quantity
from synthkit.errors import DataError, SchemaError
from synthkit.generators.generator import Generator

Cell = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cell each real image belongs to; build it with `Cells.of`.

    Args:
        train: the real images.
        by: factors whose groups are balanced.
        within: the finding at each level of which they are, or None.
        labels: (N, factors) the group of each image, None where it is not known.
    """

    train: Cohort
    by: tuple[str, ...]
    within: str | None
    labels: pd.DataFrame

    @staticmethod
    def of(train: Cohort, gen: Generator, by: tuple[str, ...], within: str | None) -> "Cells":
        """The cells of a cohort.

        Raises:
            SchemaError: a factor named twice, or one that train and the generator do not both know and declare alike.
            DataError: no image with a known cell.
        """
        names = (*by, within) if within is not None else by
        if not by or len(set(names)) < len(names):
            raise SchemaError(f"by={by}, within={within}: name one factor or more, each once")
        for name in names:
            _require_known(gen, train, name)
        labels = pd.DataFrame({name: train.schema.groups(train.table, name).to_numpy(object) for name in names}, dtype=object)
        if not labels.notna().all(axis=1).any():
            raise DataError(f"no image of train has a known value of {', '.join(names)}; there is nothing to balance")
        return Cells(train, by, within, labels)

    @property
    def names(self) -> tuple[str, ...]:
        """All factors of a cell, the finding last."""
        return tuple(self.labels.columns)

    def groups(self, name: str) -> list[str]:
        """All groups that a factor can have."""
        factor = self.train.schema[name]
        return list(factor.group_names if isinstance(factor, Quantity) else factor.levels)

    def levels(self) -> list[str | None]:
        """The levels of the finding that occur; None where none is named."""
        return [None] if self.within is None else [group for group in self.groups(self.within) if (self.labels[self.within] == group).any()]

    def rows(self, cell: Cell, level: str | None) -> np.ndarray:
        """The images of one cell."""
        mask = np.logical_and.reduce([self.labels[name] == group for name, group in zip(self.by, cell)])
        return np.flatnonzero(mask if self.within is None else mask & (self.labels[self.within] == level))


def _require_known(gen: Generator, train: Cohort, name: str) -> None:
    if name not in train.schema or name not in gen.schema:
        where = "train" if name not in train.schema else "the generator"
        shared = [known for known in train.schema.names if known in gen.schema]
        raise SchemaError(f"{where} does not know the factor {name!r}, so no image can be asked for by it; both know {', '.join(shared) or 'none'}")
    if gen.schema[name] != train.schema[name]:
        raise SchemaError(f"{name} is declared as {train.schema[name]} in train and as {gen.schema[name]} in the generator; load train with one schema=")

"""What every phantom can do: draw a cohort, give exact counterfactuals, masks and readings of its factors."""
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from synthkit.core.cohort import Cohort
from synthkit.core.device import usable
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Space
from synthkit.errors import SchemaError
from synthkit.phantoms import oracle
from synthkit.phantoms.factor import Factor, check, codes, draw, intervene, unapplied
from synthkit.phantoms.origin import MOST, factor_table, require_own, whole_number

if TYPE_CHECKING:
    from synthkit.causal.scm import SCM

CHANGE = 2 / 255
SHARE = 16  # batches that a process takes at a time


@dataclass(frozen=True)
class Subjects:
    """Whom to draw: the keys of their random streams, and their coded factors.

    Attributes:
        seeds, names: one pair per subject, keying all of its streams.
        values: factor to (N,) float32; a category's is the number of its level, and what does not apply is 0.
    """

    seeds: tuple[int, ...]
    names: tuple[str, ...]
    values: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: slice) -> "Subjects":
        return Subjects(self.seeds[rows], self.names[rows], {name: value[rows] for name, value in self.values.items()})

    def keys(self) -> Iterator[tuple[int, str]]:
        """(seed, name) of each subject."""
        return zip(self.seeds, self.names, strict=True)

    def each(self, device: torch.device | str) -> Iterator[tuple[int, str, dict[str, Tensor]]]:
        """Seed, name and values of one subject after another, for what rounds otherwise in a batch of another size."""
        for number, (seed, name) in enumerate(self.keys()):
            yield seed, name, {factor: column[number].to(device) for factor, column in self.values.items()}


class Phantom(ABC):
    """Images drawn from a known causal model. Subclasses are frozen dataclasses with `factors`, `space`, `paint`, `outline`.

    Every random choice comes from a stream keyed by (seed, subject, purpose), so a counterfactual is the same subject
    drawn again, the same noise included, with other factors.
    """

    name: ClassVar[str]
    sensitive: ClassVar[tuple[str, ...]] = ("sex", "age")

    @property
    @abstractmethod
    def factors(self) -> tuple[Factor, ...]:
        """The structural equations, parents before children."""

    @property
    @abstractmethod
    def space(self) -> Space:
        """Size, channels and windows of the images."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """How many subjects are drawn at once; the bytes must not depend on it."""

    @abstractmethod
    def paint(self, subjects: Subjects, *, noise: bool, device: torch.device | str) -> Tensor:
        """(N, C, [D,] H, W) float32 in [0, 1] of each channel's window; without `noise`, the noise-free images."""

    @abstractmethod
    def outline(self, subjects: Subjects) -> dict[str, Tensor]:
        """Boolean (N, [D,] H, W) masks by structure."""

    @property
    def schema(self) -> Schema:
        """All factors of the causal model."""

        def declared(node: Factor) -> Category | Quantity:
            when = {node.when: "present"} if node.when else {}
            if node.levels:
                return Category(node.name, node.levels, when)
            return Quantity(node.name, node.low, node.high, node.unit, node.cuts, when)

        return Schema(tuple(declared(node) for node in self.factors), sensitive=self.sensitive)

    def _repr_html_(self) -> str:
        return f"<h4>{self}</h4><p>{len(self.factors)} factors; all masks and counterfactuals are exact.</p>{self.schema._repr_html_()}"

    @property
    def scm(self) -> "SCM":
        """The causal model with its true equations; `.graph.fit(table)` learns them from data instead."""
        from synthkit.causal.graph import CausalGraph
        from synthkit.causal.mechanisms import Equation
        from synthkit.causal.scm import SCM

        graph = CausalGraph(self.schema, {node.name: list(node.parents) for node in self.factors})
        return SCM(graph, {node.name: Equation(node.equation, node.noise) for node in self.factors})

    def factors_table(self, count: int, *, seed: int) -> pd.DataFrame:
        """`count` subjects drawn from the causal model; a row depends on `seed` and its own number alone."""
        count, seed = whole_number("count", count, 1, MOST, "subjects"), whole_number("seed", seed, 0, 2**63 - 1)
        return draw(self.factors, [f"{self.name}-{seed}-{number:06d}" for number in range(count)], seed)

    def cohort(self, count: int, *, seed: int = 0, device: torch.device | str = "cpu") -> Cohort:
        """Draw subjects and their images.

        Args:
            device: where the images are computed; another device may round differently.
        Returns:
            A Cohort of `count` images with the full factor table; the first rows of a larger cohort are the same.
        """
        return self._cohort(self.factors_table(count, seed=seed), seed, (), device)

    def counterfactual(
        self, cohort: Cohort, do: Mapping[str, object], *, effect: str = "direct", device: torch.device | str = "cpu"
    ) -> Cohort:
        """The exact truth: the same subjects, nuisances and noise, with factors set; `do={}` gives the identical bytes.

        Args:
            do: factor to the value it is set to.
            effect: "direct" holds all other factors; "total" lets the descendants follow, their noise unchanged, but for
                those that an earlier intervention set.
        Raises:
            SchemaError: an unknown factor, value or effect.
            DataError: a cohort that was not drawn by this phantom.
        """
        require_own(self, cohort)
        table = intervene(self.factors, factor_table(self, cohort), do, effect)
        notes = unapplied(self.factors, table, do)
        return self._cohort(table, None, (cohort.provenance,), device, notes, do={name: str(value) for name, value in do.items()}, effect=effect)

    def counterfactual_table(self, table: pd.DataFrame, do: Mapping[str, object], *, effect: str = "direct") -> pd.DataFrame:
        """The rows of a factor table as they would be under an intervention; see `counterfactual`."""
        return intervene(self.factors, factor_table(self, table), do, effect)

    def sweep(self, cohort: Cohort, factor: str, values: Sequence[object]) -> Cohort:
        """Each subject once per value of one factor, all else held: a severity series.

        Returns:
            A Cohort of len(cohort) * len(values) images, the series of one subject in a row; ids name the value.
        """
        values = [] if isinstance(values, str) else list(values)
        if not values or len(set(map(repr, values))) < len(values):
            raise SchemaError(f"sweep: give a list of distinct values of {factor}, at least one")
        require_own(self, cohort)
        table = factor_table(self, cohort)
        steps = [intervene(self.factors, table, {factor: value}, "direct") for value in values]
        notes = unapplied(self.factors, steps[0], {factor: values[0]})
        steps = [step.assign(image_id=step["image_id"] + f" {factor}={value}") for step, value in zip(steps, values, strict=True)]
        series = pd.concat(steps).sort_index(kind="stable").reset_index(drop=True)
        return self._cohort(series, None, (cohort.provenance,), "cpu", notes, sweep=factor, values=[str(value) for value in values])

    def render(self, source: Cohort | pd.DataFrame, *, noise: bool = True, device: torch.device | str = "cpu") -> Tensor:
        """(N, C, [D,] H, W) float32 in [0, 1] of each channel's window; a row gives the same bytes in any batch or order.

        Args:
            noise: False gives the mean exposure, without acquisition noise.
        """
        parts, place = list(self._batches(factor_table(self, source))), usable(device)
        with one_thread():
            painted = [self.paint(part, noise=noise, device=place) for part in parts]
        return torch.cat(painted) if painted else torch.empty(0, *self.space.shape)

    def masks(self, source: Cohort | pd.DataFrame) -> dict[str, Tensor]:
        """Boolean (N, [D,] H, W) masks by structure: a pixel counts where at least half of it is covered."""
        with one_thread():
            found = [self.outline(part) for part in self._batches(factor_table(self, source))]
        if not found:
            return {name: masks[:0] for name, masks in self.masks(self.factors_table(1, seed=0)).items()}
        return {name: torch.cat([masks[name] for masks in found]) for name in found[0]}

    def change_mask(self, source: Cohort | pd.DataFrame, do: Mapping[str, object], *, effect: str = "direct") -> Tensor:
        """(N, [D,] H, W) bool: where the intervention changes any channel of the noise-free image by more than 2/255."""
        table = factor_table(self, source)
        edited = intervene(self.factors, table, do, effect)
        change = self.render(edited, noise=False) - self.render(table, noise=False)
        return (change.abs() > CHANGE).any(1)

    def read(self, images: Cohort | Tensor, *, given: Cohort | pd.DataFrame, factor: str) -> pd.DataFrame:
        """The value of one factor that explains each image best, everything else about the subject being known.

        The subject is drawn again over the factor's whole range, its own noise included, and the least squared
        difference is taken: an oracle for edits that needs no trained predictor.

        Args:
            images: a Cohort, or (N, C, [D,] H, W) in [-1, 1].
            given: the subjects and all their other factors, row by row.
            factor: the one to read; its column in `given` is not looked at.
        Returns:
            A frame with `image_id`, `value` (missing where the factor does not apply, or where no value of it changes the
            image) and `rms` (what stays unexplained, 0..255).
        """
        shown = images.images.tensor() if isinstance(images, Cohort) else images
        return oracle.read(self, shown, factor_table(self, given), factor)

    def _cohort(
        self, table: pd.DataFrame, seed: int | None, parents: tuple[Provenance, ...], device: torch.device | str, notes: tuple[str, ...] = (), **step: object
    ) -> Cohort:
        made_by = {"phantom": type(self).__name__, **vars(self), **step}
        origin = Provenance("synthetic", f"{self.name} phantom", recipe=made_by, seed=seed, licence="Apache-2.0", parents=parents)
        return Cohort.of(self._pixels(table, str(device)), table, schema=self.schema, space=self.space, provenance=origin, notes=notes)

    def _pixels(self, table: pd.DataFrame, device: str) -> np.ndarray:
        """(N, C, [D,] H, W) stored integers; many images are drawn by several processes."""
        share, place = SHARE * self.batch, usable(device)
        if len(table) < 2 * share or place.type != "cpu":
            with one_thread():
                parts = [self.space.to_raw(self.paint(part, noise=True, device=place) * 2 - 1) for part in self._batches(table)]
            return np.concatenate(parts) if parts else np.empty((0, *self.space.shape), self.space.dtype)
        from joblib import Parallel, cpu_count, delayed

        parts = [table.iloc[start : start + share] for start in range(0, len(table), share)]
        return np.concatenate(Parallel(n_jobs=cpu_count())(delayed(self._pixels)(part, device) for part in parts))

    def _batches(self, table: pd.DataFrame) -> Iterator[Subjects]:
        for node in self.factors:
            applies = table[node.name] if not node.when else table[node.name][table[node.when] == "present"]
            for value in applies.unique() if node.levels else (applies.min(), applies.max()) if len(applies) else ():
                check(node, value)
        everyone = self.subjects(table)
        for start in range(0, len(table), self.batch):
            yield everyone[start : start + self.batch]

    def subjects(self, table: pd.DataFrame) -> Subjects:
        """The rows of a factor table, coded for `paint`."""
        values = {node.name: torch.from_numpy(np.nan_to_num(codes(node, table[node.name])).astype(np.float32)) for node in self.factors}
        return Subjects(tuple(int(seed) for seed in table["phantom_seed"]), tuple(map(str, table["subject"])), values)


@contextmanager
def one_thread() -> Iterator[None]:
    """Several threads cut an array at other places when the batch has another size, and the cuts round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

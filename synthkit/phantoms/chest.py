"""A procedural chest X-ray whose factors, masks and exact counterfactuals are known."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, SchemaError
from synthkit.phantoms import chest_factors, physics
from synthkit.phantoms.chest_anatomy import Nuisance
from synthkit.phantoms.chest_scene import SUPERSAMPLE, Scene, build, develop, glyph, quantum_noise
from synthkit.phantoms.physics import Scalar

CHANGE = 2 / 255
CUTS = {"age": (40.0, 65.0), "bmi": (25.0, 30.0)}
MANY = 512


@dataclass(frozen=True)
class ChestPhantom:
    """Chest films drawn from a known causal model.

    Args:
        size: pixels per side, 32..512.
        confounding: P(marker | effusion) - P(marker | no effusion), 0..1, symmetric around one half.
    """

    size: int = 64
    confounding: float = 0.8

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 32 <= self.size <= 512:
            raise SchemaError(f"size: {self.size!r} is not a whole number of pixels in 32..512")
        if not 0 <= self.confounding <= 1:
            raise SchemaError(f"confounding: {self.confounding!r} is outside 0..1")

    @property
    def factors(self) -> tuple[chest_factors.Factor, ...]:
        """The structural equations, parents before children."""
        return chest_factors.factors(self.confounding)

    def factors_table(self, count: int, *, seed: int) -> pd.DataFrame:
        """`count` subjects drawn from the causal model; a row depends on `seed` and its own number alone."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise SchemaError(f"count: {count!r} is not a whole number of subjects, 1 or more")
        subjects = [f"chest-{seed}-{number:06d}" for number in range(count)]
        return chest_factors.draw(self.factors, subjects, seed)

    @property
    def schema(self) -> Schema:
        """All factors of the causal model; `sex`, `age` and `group` are sensitive."""
        kinds = [
            Category(node.name, node.levels, when={node.when: "present"} if node.when else {})
            if node.levels
            else Quantity(node.name, node.low, node.high, node.unit, CUTS.get(node.name, ()), {node.when: "present"} if node.when else {})
            for node in self.factors
        ]
        return Schema(tuple(kinds), sensitive=("sex", "age", "group"))

    @property
    def space(self) -> Space:
        """One 16-bit channel. The field of view differs by subject, so no common spacing is claimed."""
        return Space((self.size, self.size), (Channel("xray", low=0, high=65535),))

    def cohort(self, count: int, *, seed: int = 0) -> Cohort:
        """Draw subjects and their films.

        Returns:
            A Cohort of `count` images with the full factor table; the first rows of a larger cohort are the same.
        """
        return self._cohort(self.factors_table(count, seed=seed), seed=seed, parents=())

    def counterfactual(self, cohort: Cohort, do: Mapping[str, object], *, effect: str = "direct") -> Cohort:
        """The exact truth: the same subjects, nuisances and noise, with factors set; `do={}` gives the identical bytes.

        Raises:
            SchemaError: an unknown factor, value or effect.
            DataError: a cohort that was not drawn by this phantom.
        """
        if not cohort.space.matches(self.space) or not {"phantom_seed", "subject"} <= set(cohort.table):
            raise DataError(f"the cohort ({cohort.provenance.source}, {cohort.space.shape}) was not drawn by {self}; make one with its .cohort(...)")
        table = self.counterfactual_table(cohort.table, do, effect=effect)
        return self._cohort(table, seed=None, parents=(cohort.provenance,), do={name: str(value) for name, value in do.items()}, effect=effect)

    def _cohort(self, table: pd.DataFrame, *, seed: int | None, parents: tuple[Provenance, ...], **recipe: object) -> Cohort:
        made_by = {"phantom": "ChestPhantom", "size": self.size, "confounding": self.confounding, **recipe}
        origin = Provenance("synthetic", "chest phantom", recipe=made_by, seed=seed, licence="Apache-2.0", parents=parents)
        return Cohort.of(self._pixels(table), table, schema=self.schema, space=self.space, provenance=origin)

    def _pixels(self, table: pd.DataFrame) -> np.ndarray:
        """(N, 1, size, size) uint16; many films are drawn by several processes."""
        if len(table) < MANY:
            return self.space.to_raw(self.render(table) * 2 - 1)
        from joblib import Parallel, cpu_count, delayed

        parts = [table.iloc[start : start + MANY // 4] for start in range(0, len(table), MANY // 4)]
        return np.concatenate(Parallel(n_jobs=cpu_count())(delayed(self._pixels)(part) for part in parts))

    def render(self, table: pd.DataFrame, *, noise: bool = True) -> Tensor:
        """(N, 1, size, size) float32 in [0, 1]; a row gives the same bytes in any batch or order.

        Args:
            noise: False gives the mean exposure, without quantum and electronic noise.
        """
        films = []
        for seed, subject, values in self._rows(table):
            # One by one, for kernels may sum in another order when the batch has another size.
            scene = build(values, Nuisance.draw(seed, subject), self.size)
            drawn = quantum_noise(seed, subject, self.size) if noise else None
            films.append(develop(scene, values, self.size, noise=drawn))
        return torch.stack(films)[:, None] if films else torch.empty(0, 1, self.size, self.size)

    def masks(self, table: pd.DataFrame) -> dict[str, Tensor]:
        """Boolean (N, size, size) masks by structure: a pixel counts where at least half of it is covered."""
        found = [
            _masks(build(values, Nuisance.draw(seed, subject), self.size), values, self.size)
            for seed, subject, values in self._rows(table)
        ]
        return {name: torch.stack([masks[name] for masks in found]) for name in found[0]} if found else {}

    def counterfactual_table(
        self, table: pd.DataFrame, do: Mapping[str, object], *, effect: str = "direct"
    ) -> pd.DataFrame:
        """The rows as they would be under an intervention.

        Args:
            do: factor to the value it is set to.
            effect: "direct" holds all other factors; "total" lets the descendants follow, their noise unchanged.
        Raises:
            SchemaError: an unknown factor, value or effect.
        """
        if effect not in ("direct", "total"):
            raise SchemaError(f"effect: {effect!r} is not one of direct, total")
        by_name = {node.name: node for node in self.factors}
        changed = table.copy()
        for name, value in do.items():
            if name not in by_name:
                raise SchemaError(f"do: {name!r} is not a factor; the factors are {', '.join(by_name)}")
            chest_factors.check(by_name[name], value)
            changed[name] = value
        if effect == "total":
            return chest_factors.solve(self.factors, changed, chest_factors.descendants(self.factors, set(do)))
        return chest_factors.apply_when(self.factors, changed)

    def change_mask(self, table: pd.DataFrame, do: Mapping[str, object], *, effect: str = "direct") -> Tensor:
        """(N, size, size): where the intervention changes the noise-free film by more than 2/255."""
        edited = self.counterfactual_table(table, do, effect=effect)
        difference = self.render(edited, noise=False) - self.render(table, noise=False)
        return difference[:, 0].abs() > CHANGE

    def _rows(self, table: pd.DataFrame) -> list[tuple[int, str, dict[str, Scalar]]]:
        needed = ["phantom_seed", "subject", *(node.name for node in self.factors)]
        missing = [name for name in needed if name not in table]
        if missing:
            raise SchemaError(f"table lacks {', '.join(missing)}; start from ChestPhantom.factors_table")
        return [
            (int(row["phantom_seed"]), str(row["subject"]), self._coded(row))
            for row in table[needed].to_dict("records")
        ]

    def _coded(self, row: dict[str, object]) -> dict[str, Scalar]:
        values: dict[str, Scalar] = {}
        for node in self.factors:
            if node.when and row[node.when] != "present":
                values[node.name] = 0.0
                continue
            chest_factors.check(node, row[node.name])
            values[node.name] = float(node.levels.index(row[node.name])) if node.levels else float(row[node.name])
        return values


def _masks(scene: Scene, values: dict[str, Scalar], size: int) -> dict[str, Tensor]:
    inside = scene.inside
    above = inside.below_dome < 0
    open_lung = (inside.cavity > 0) & above & (inside.heart <= 0) & (inside.mediastinum <= 0)
    covered = {
        "lungs": open_lung,
        "right_lung": open_lung & (scene.rays.x < 0),
        "left_lung": open_lung & (scene.rays.x > 0),
        "thorax": (inside.cavity > 0) & (inside.below_dome < 4.3),
        "heart": inside.heart > 0,
        "mediastinum": (inside.mediastinum > 0) & above & (inside.cavity > 0),
        "ribs": scene.ribs > 0.15,
        "clavicles": scene.clavicles > 0.15,
        "spine": scene.spine > 0.5,
        "lesion": torch.minimum(scene.lesion, inside.air) > 0,
        "effusion": inside.fluid > 0.5,
        "pneumothorax": inside.gas > 0.5,
    }
    masks = {name: physics.shrink(mask.float(), SUPERSAMPLE) >= 0.5 for name, mask in covered.items()}
    marked = glyph(scene.nuisance, size) >= 0.5
    return masks | {"marker": marked if values["marker"] else torch.zeros_like(marked)}

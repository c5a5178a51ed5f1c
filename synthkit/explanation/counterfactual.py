"""Counterfactual edits of single images: what would this patient's image look like if one factor were different?"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.causal.scm import SCM
from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane, signed_plane
from synthkit.core.kinds import require_kind
from synthkit.core.pixels import Pixels
from synthkit.core.result import Section
from synthkit.errors import DataError, SchemaError
from synthkit.generators.editing import Inverted, after, inverted
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.explanation.exactness import Exactness

EXACT = 0.01  # of 255; a round trip below it is that of rounding


@dataclass(frozen=True, eq=False, repr=False)
class Counterfactual(Section):
    """Originals, their raw reconstructions, and their edited twins.

    Args:
        factual, reconstruction, edited: cohorts of equal length, row by row.
        do: the factors that were set.
        moved: descendants that moved with them in a causal model; none, when the other factors were held.
        assumed: what the causal model said of its answer.
        inside: bool (N, [D,] H, W), where pixels could change; everywhere, when left out.
    """

    factual: Cohort
    reconstruction: Cohort
    edited: Cohort
    do: Mapping[str, Any]
    moved: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    inside: np.ndarray | None = None

    @property
    def title(self) -> str:  # type: ignore[override]
        followed = f"; followed by {', '.join(self.moved)}" if self.moved else ""
        return "Counterfactual: " + ", ".join(f"{name} → {value}" for name, value in self.do.items()) + followed

    @property
    def delta(self) -> torch.Tensor:
        """Edited minus factual, (N, C, [D,] H, W) in image units (-2..2)."""
        return self.edited.images.tensor() - self.factual.images.tensor()

    def frame(self) -> pd.DataFrame:
        """Per image: the factors before, mean and largest change, and the raw round-trip error, all on 0..255."""
        before = {f"{name} before": self.factual.table[name].to_numpy() for name in self.do}
        change = self.delta.abs().flatten(1) * 127.5
        return pd.DataFrame({
            "image_id": self.factual.table["image_id"], **before, **{f"{name} after": self.edited.table[name].to_numpy() for name in self.do},
            "mean_change": change.mean(1).numpy(), "max_change": change.amax(1).numpy(), "round_trip": self.edited.table["round_trip"].to_numpy(),
        })  # fmt: skip

    def figure(self) -> "Figure":
        """Original, twin and signed difference of the first images, on one scale."""
        delta, shown = self.delta, range(min(6, len(self.factual)))
        limit = float(delta.abs().amax()) * 0.6
        rows = [[plane(self.factual.images[i]), plane(self.edited.images[i]), signed_plane(delta[i], limit)] for i in shown]
        names = [str(self.factual.table["image_id"][i]) for i in shown]
        caption = "red brighter, blue darker; edited images are synthetic"
        return picture_figure(rows, title=self.title, row_names=names, column_names=["original", "edited", "difference"], caption=caption)

    def caveats(self) -> list[str]:
        if self.moved:
            held = f"Descendants that moved with it in the causal model: {', '.join(self.moved)}. The answer is as right as that model."
        else:
            held = "All other factors were held: this is an edit under that assumption, not what would happen to a patient."
        trip = self.edited.table["round_trip"].mean()
        if self.reconstruction is self.factual:
            inversion = "Drawn by physics: nothing was inverted, and no generator saw the images."
        elif trip < EXACT:
            inversion = f"The latent holds the whole image: its reconstruction is exact whatever was learnt (n = {len(self.factual)}); look at the edit."
        else:
            inversion = f"Inversion is approximate: the raw reconstruction differs from the original by {trip:.2f}/255 on average (n = {len(self.factual)})."
        where = [f"Only {self.inside.mean():.1%} of the pixels could change; all others are the original's, bit for bit."] if self.inside is not None else []
        return [held, *where, inversion, *self.assumed, *self.factual.notes]

    def against(self, truth: Cohort) -> "Exactness":
        """Score the edit against exact counterfactual truth (a phantom's), row by row."""
        from synthkit.explanation.exactness import exactness

        return exactness(self, truth)


def counterfactual(
    generator: Generator, cohort: Cohort, do: Mapping[str, Any], *, scm: SCM | None = None, effect: str = "total", seed: int = 0, weight: float = 1.0
) -> Counterfactual:  # fmt: skip
    """Edit every image of a cohort: set the factors in `do`, and hold the others or let a causal model move them.

    Args:
        scm: a causal model of the factors, such as `chest.scm` or `sk.CausalGraph(...).fit(table)`: what `do` causes then follows.
        effect: with a model, "total" lets the descendants follow, "direct" holds them.
        seed: with a model, of values that come to apply, such as the size of a lesion that was not there.
        weight: of what the factors change in a flow's velocity; 1 is what was learnt, more exaggerates (to show, not to measure).
    Raises:
        SchemaError: unknown factor, unknown level, value out of range; a factor that only the causal model knows.
        AbilityError: a generator without an encoder; a weight where there is no flow on pixels.
        DataError: images of another size, or an empty cohort.

    Example:
        twin = sk.counterfactual(gen, test.where("effusion == 'present'"), do={"effusion": "absent"})
    """
    require_request(generator, cohort, do)
    moved: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    made_by: dict[str, Any] = {"do": {name: str(value) for name, value in do.items()}}
    require_kind("scm", scm, (SCM, type(None)), "a causal model of the factors, such as chest.scm")
    if scm is None:
        table = after(generator, cohort, do)
    else:
        table, moved, assumed = followed(generator, cohort, do, scm, effect=effect, seed=seed)
        made_by |= {"effect": effect, "seed": seed}
    return twin_of(inverted(generator, cohort, weight=weight), table, do, made_by, moved, assumed)


def twin_of(
    start: Inverted, table: pd.DataFrame, do: Mapping[str, Any], made_by: Mapping[str, Any], moved: tuple[str, ...], assumed: tuple[str, ...]
) -> Counterfactual:  # fmt: skip
    """Inverted images beside themselves under another table."""
    edited, cohort = start.to(table, made_by), start.cohort
    raw = Cohort(Pixels([edited.space.to_raw(start.raw)], edited.space), cohort.table, cohort.schema, edited.provenance, cohort.notes)
    return Counterfactual(cohort, raw, edited, dict(do), moved, assumed)


def require_request(generator: Generator, cohort: Cohort, do: Mapping[str, Any]) -> None:
    """Raise DataError for arguments of another kind, or where there is no image to edit."""
    require_kind("generator", generator, Generator, "a fitted generator")
    require_kind("cohort", cohort, Cohort, "the images to edit, as a cohort")
    require_kind("do", do, Mapping, 'the factors to set, such as {"effusion": "absent"}')
    if not len(cohort):
        raise DataError("the cohort is empty: there is no image to edit; does the condition of .where(...) match any row?")


def followed(
    generator: Generator, cohort: Cohort, do: Mapping[str, Any], scm: SCM, *, effect: str = "total", seed: int = 0
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """The rows after `do` and what it causes, the descendants that moved, and what the causal model says of its answer.

    Raises:
        SchemaError: a factor moves that the generator cannot show.
    """
    answer = scm.counterfactual(cohort, do, effect=effect, seed=seed)
    blind = [name for name in (*do, *answer.moved) if name not in generator.schema]
    if blind:
        raise SchemaError(f"the causal model moves {blind[0]!r}, which the generator does not know ({', '.join(generator.schema.names)}); "
                          'fit one with that factor, or ask for effect="direct"')  # fmt: skip
    # The model may know fewer factors than the cohort: what hung on a finding that is gone no longer applies.
    return cohort.schema.clear(answer.edited), answer.moved, tuple(answer.caveats())

"""What completes an image, and how sure it is: several completions, their mean, their spread, and both against the truth."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.missing import channel_numbers
from synthkit.core.result import Measured, Section
from synthkit.errors import DataError
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 4
USUAL = 19  # draws: from the least to the largest of them lie 90 % of what is drawn from the same law


@dataclass(frozen=True, eq=False, repr=False)
class Completion(Section):
    """Several completions of the same images.

    Args:
        given: the images as they were given.
        draws: completions of all of them, from seeds that follow one another.
        channels: which were drawn.
    """

    given: Cohort
    draws: tuple[Cohort, ...]
    channels: tuple[str, ...]

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{', '.join(self.channels)} drawn {len(self.draws)} times, given the rest"

    @property
    def coverage(self) -> float:
        """The share of values of the same law that `low` to `high` holds: as near .9 as the number of draws allows."""
        return (len(self.draws) + 1 - 2 * self._rank()) / (len(self.draws) + 1)

    def _rank(self) -> int:
        return max(1, round(0.05 * (len(self.draws) + 1)))

    def values(self, channel: str) -> torch.Tensor:
        """(draws, N, [D,] H, W) of one drawn channel in its own unit, such as HU; image units -1..1 where it has none."""
        return torch.stack([_values(draw, channel) for draw in self.draws])

    def mean(self, channel: str) -> torch.Tensor:
        """(N, [D,] H, W) mean over the draws: the best guess by squared error, smoother than any image."""
        return self.values(channel).mean(0)

    def spread(self, channel: str) -> torch.Tensor:
        """(N, [D,] H, W) standard deviation over the draws: the uncertainty map."""
        return self.values(channel).std(0)

    def frame(self) -> pd.DataFrame:
        """Per drawn channel the mean spread with its 95 % interval over patients."""
        units, rows = self.given.table["patient_id"].to_numpy(), []
        for channel in self.channels:
            each = self.spread(channel).flatten(1).mean(1).numpy()
            low, high = bootstrap(lambda chosen, each=each: float(each[chosen].mean()), units)
            rows.append({"measure": f"{channel}: spread of the draws ({_unit(self.draws[0], channel)})", "value": float(each.mean()), "low": low, "high": high,
                         "n": len(each)})  # fmt: skip
        return pd.DataFrame(rows)

    def figure(self) -> "Figure":
        """Of the first images: what was given, two draws of the first channel, the mean, and the spread (bright: unsure)."""
        channel, known = self.channels[0], [c.name for c in self.given.space.channels if c.name not in self.channels]
        place = [c.name for c in self.draws[0].space.channels].index(channel)
        low, high = _window(self.draws[0], channel)
        scale = float(np.quantile(self.spread(channel).numpy(), 0.999)) or 1.0
        rows = []
        for i in range(min(SHOWN, len(self.given))):
            given = [plane(_one(self.given, i, name)) for name in known[:2]]
            drawn = [plane(draw.images[i][place : place + 1]) for draw in self.draws[:2]]
            mean = (self.mean(channel)[i] - low) / (high - low) * 2 - 1
            rows.append([*given, *drawn, plane(mean[None]), plane((self.spread(channel)[i] / scale * 2 - 1)[None])])
        names = [*known[:2], *(f"{channel}, draw {number + 1}" for number in range(len(self.draws[:2]))), f"{channel}, mean", "spread"]
        return picture_figure(rows, title=self.title, column_names=names, caption=f"white: a spread of {scale:.3g} {_unit(self.draws[0], channel)} or more")

    def caveats(self) -> list[str]:
        said = ["Drawn channels are synthetic: what the model finds likely, not what a scanner would have seen.",
                "The spread is the model's own doubt; whether it is right is told by against(truth), where the truth is known."]  # fmt: skip
        return [*said, *self.given.notes]

    def against(self, truth: Cohort, *, inside: torch.Tensor | np.ndarray | None = None) -> Measured:
        """Errors and coverage against the same images with all channels.

        One draw's mean absolute error (MAE), that of the mean of all, and the share of pixels that lie from the low to the high rank of the draws,
        with 95 % intervals over patients.

        Args:
            truth: the same images, row by row.
            inside: (N, [D,] H, W) bool, the pixels that count; all when left out.
        Raises:
            DataError: other images, or a mask of another shape.
        """
        require_kind("truth", truth, Cohort, "the same images with all their channels")
        wanted = self.given.table["image_id"].tolist()
        if truth.table["image_id"].tolist() != wanted:
            raise DataError("truth: its rows are not those that were completed; give the same images in the same order")
        shape = (len(truth), *truth.space.size)
        where = torch.ones(shape, dtype=torch.bool) if inside is None else torch.as_tensor(np.asarray(inside))
        if where.dtype != torch.bool or tuple(where.shape) != shape or not where.flatten(1).any(1).all():
            raise DataError(f"inside: got {where.dtype} of shape {tuple(where.shape)}; give a bool array of {shape}, with a pixel or more of every image")
        units, rows = truth.table["patient_id"].to_numpy(), []
        for channel in self.channels:
            for measure, each in self._errors(channel, _values(truth, channel), where).items():
                low, high = bootstrap(lambda chosen, each=each: float(each[chosen].mean()), units)
                rows.append({"measure": f"{channel}: {measure}", "value": float(each.mean()), "low": low, "high": high, "n": len(each)})
        return Measured(f"{', '.join(self.channels)} against the truth", pd.DataFrame(rows), tuple(self.caveats()))

    def _errors(self, channel: str, exact: torch.Tensor, where: torch.Tensor) -> dict[str, np.ndarray]:
        values, unit, rank = self.values(channel), _unit(self.draws[0], channel), self._rank()
        ordered = values.sort(0).values
        held = (exact >= ordered[rank - 1]) & (exact <= ordered[-rank])
        shown = {f"MAE of one draw ({unit})": (values[0] - exact).abs(), f"MAE of the mean of {len(values)} draws ({unit})": (values.mean(0) - exact).abs(),
                 f"share of pixels inside the {self.coverage:.0%} interval": held.float()}  # fmt: skip
        return {name: np.array([float(one[place].mean()) for one, place in zip(picture, where)]) for name, picture in shown.items()}


def completion(
    generator: Generator, cohort: Cohort, *, missing: Sequence[str] | None = None, draws: int = USUAL, seed: int = 0
) -> Completion:  # fmt: skip
    """Complete the same images several times, to see what is sure and what is guessed.

    Args:
        missing: channels to draw, for every image; left out, those that the cohort's space lacks of the generator's.
        draws: how often; 19 give an interval that holds 90 %.
        seed: of the first draw, counted up.
    Raises:
        AbilityError, DataError: as `Generator.complete`; fewer than 2 draws.

    Example:
        told = sk.completion(gen, mr_only, missing=["CT"]); told.spread("CT")
    """
    require_kind("generator", generator, Generator, "a fitted generator")
    require_kind("cohort", cohort, Cohort, "the images to complete, as a cohort")
    require_number("draws", draws, "a whole number, 2 or more", whole=True)
    if draws < 2:
        raise DataError(f"draws={draws}: a spread needs 2 or more")
    have = [channel.name for channel in cohort.space.channels]
    names = [channel.name for channel in generator.space.channels if channel.name not in have] if missing is None else missing
    channel_numbers(generator.space, names, what="missing")
    drawn = tuple(generator.complete(cohort, missing=names, seed=seed + number) for number in range(int(draws)))
    return Completion(cohort, drawn, tuple(names))


def _one(cohort: Cohort, row: int, channel: str) -> torch.Tensor:
    place = channel_numbers(cohort.space, [channel], what="channel")[0]
    return cohort.images[row][place : place + 1]


def _window(cohort: Cohort, channel: str) -> tuple[float, float]:
    found = cohort.space.channels[channel_numbers(cohort.space, [channel], what="channel")[0]]
    return (found.low, found.high) if found.unit else (-1.0, 1.0)


def _unit(cohort: Cohort, channel: str) -> str:
    return cohort.space.channels[channel_numbers(cohort.space, [channel], what="channel")[0]].unit or "image units, -1..1"


def _values(cohort: Cohort, channel: str) -> torch.Tensor:
    low, high = _window(cohort, channel)
    place = channel_numbers(cohort.space, [channel], what="channel")[0]
    return (cohort.images.tensor()[:, place] + 1) / 2 * (high - low) + low

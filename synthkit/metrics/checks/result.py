"""The answer of a quality control: one row per image, who fails and why, and the cohort without them."""
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import interval_plot, picture_figure, plane
from synthkit.core.intervals import wilson
from synthkit.core.result import Section, now
from synthkit.metrics.checks.limits import FEWEST, MARGIN, QUANTILE, Limits
from synthkit.metrics.checks.rule import Rule

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN, COLUMNS = 24, 8
FEW = 100


@dataclass(frozen=True, eq=False, repr=False)
class ImageChecks(Section):
    """Quality control of every image of a cohort.

    Args:
        cohort: the images checked.
        rules: what they were checked by.
        values: (N, rules + duplicate) measured values.
        partner: (N,) row of the kept image that each one is a copy of; -1 where it is none.
        exact: (N,) whether the stored integers equal those of that image.
        limits: `rule`, `low`, `high`, `origin`; values outside fail.
        like: the real images that set the limits, or None.
        held_out: which real images fail limits that other patients set, one column per rule; None without `like`.
        notes: further caveats.
        at: when it was measured.
    """

    cohort: Cohort
    rules: tuple[Rule, ...]
    values: pd.DataFrame
    partner: np.ndarray
    exact: np.ndarray
    limits: pd.DataFrame
    like: Cohort | None
    held_out: pd.DataFrame | None
    notes: tuple[str, ...] = ()
    at: str = field(default_factory=now)

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Quality control of {len(self.cohort)} images of {self.cohort.provenance.source}: {int(self.fails().any(axis=1).sum())} fail"

    def fails(self) -> pd.DataFrame:
        """(N, rules + duplicate) booleans: which image fails which rule."""
        bounds = {row.rule: Limits(row.low, row.high, row.origin) for row in self.limits.itertuples()}
        broken = {rule.name: bounds[rule.name].broken(self.values[rule.name].to_numpy()) for rule in self.rules}
        return pd.DataFrame({**broken, "duplicate": self.partner >= 0})

    def frame(self) -> pd.DataFrame:
        """`image_id`, the measured value of each rule, `duplicate_of` (an image id, or empty), `failed` (names of rules, or empty)."""
        ids, fails = self.cohort.table["image_id"], self.fails()
        names = fails.columns.to_numpy()
        failed = [", ".join(names[row]) for row in fails.to_numpy()]
        copied = [ids[row] if row >= 0 else "" for row in self.partner]
        return pd.concat([ids, self.values], axis=1).assign(duplicate_of=copied, failed=failed)

    @property
    def failing(self) -> pd.DataFrame:
        """The failing images: `image_id`, `failed`, and `reason` in words."""
        frame, fails = self.frame(), self.fails()
        rows = np.flatnonzero(fails.any(axis=1))
        return frame.loc[rows, ["image_id", "failed"]].assign(reason=["; ".join(self._reasons(row, fails)) for row in rows]).reset_index(drop=True)

    def _reasons(self, row: int, fails: pd.DataFrame) -> list[str]:
        bounds = self.limits.set_index("rule")
        words = [rule.reason(self.values.loc[row, rule.name], *bounds.loc[rule.name, ["low", "high"]]) for rule in self.rules if fails.loc[row, rule.name]]
        if self.partner[row] < 0:
            return words
        alike, other = self.values.loc[row, "duplicate"], self.cohort.table["image_id"][self.partner[row]]
        near = f"near copy of {other} (correlation {alike:.3f}, over {bounds.loc['duplicate', 'high']:.3f})"
        return [*words, f"copy of {other}" if self.exact[row] else near]

    def passed(self) -> Cohort:
        """The cohort without the failing images; its provenance records the rules, their limits, and how many were dropped."""
        fails = self.fails()
        limits = {row.rule: [float(end) if np.isfinite(end) else None for end in (row.low, row.high)] for row in self.limits.itertuples()}
        step = {
            "check": limits, "like": self.like.provenance.source if self.like is not None else None, "images": len(self.cohort),
            "dropped": int(fails.any(axis=1).sum()), "dropped by rule": {name: int(count) for name, count in fails.sum().items() if count},
        }  # fmt: skip
        kept = self.cohort[np.flatnonzero(~fails.any(axis=1))]
        return replace(kept, provenance=self.cohort.provenance.step(**step))

    def shares(self) -> pd.DataFrame:
        """Share of failing images, overall and by rule, with Wilson's 95 % interval, beside that of held-out real images.

        Returns:
            DataFrame rule, value, low, high, n, floor, floor_low, floor_high, floor_n; the floor is NaN without real images.
        """
        fails, rows = self.fails(), []
        for rule in ["any rule", *fails.columns]:
            sets = (part if part is None else part.any(axis=1) if rule == "any rule" else part[rule] for part in (fails, self.held_out))
            rows.append((rule, *(number for part in sets for number in _share(part))))
        return pd.DataFrame(rows, columns=["rule", "value", "low", "high", "n", "floor", "floor_low", "floor_high", "floor_n"])

    def figure(self) -> "Figure":
        """Up to 24 failing images, one row per fault (the first that each image has); where all pass, the shares that fail."""
        fails = self.fails()
        rows = np.flatnonzero(fails.any(axis=1))
        if not len(rows):
            plain = self.shares().assign(metric="share failing").rename(columns={"rule": "group"})
            return interval_plot(plain, title=f"{self.title} (red: real images, held out)", names=("these images", "held-out real images"))
        faults = np.array([self._fault(row, fails.columns[fails.loc[row].argmax()]) for row in rows])
        groups = {fault: rows[faults == fault] for fault in dict.fromkeys(faults)}
        each = max(2, min(COLUMNS, SHOWN // len(groups)))
        chosen = {f"{fault} ({len(members)})": members[:each] for fault, members in list(groups.items())[: SHOWN // each]}
        pictures = [[plane(self.cohort.images[int(row)]) for row in members] for members in chosen.values()]
        shown = sum(map(len, pictures))
        return picture_figure(pictures, title=self.title + (f"; {shown} of them" if shown < len(rows) else ""), row_names=list(chosen))

    def _fault(self, row: int, name: str) -> str:
        """What one rule finds wrong with one image, in words."""
        if name == "duplicate":
            return "copy of another image"
        rule = next(rule for rule in self.rules if rule.name == name)
        return rule.too_low if self.values.loc[row, name] < self.limits.set_index("rule").loc[name, "low"] else rule.too_high

    def caveats(self) -> list[str]:
        overall = self.shares().iloc[0]
        lines = [f"{overall['value']:.1%} of {overall['n']} images fail (95 % interval {overall['low']:.1%} to {overall['high']:.1%})."]
        if self.like is not None:
            patients = self.like.table["patient_id"].nunique()
            lines += [
                f"Limits: {QUANTILE:.0%} and {1 - QUANTILE:.0%} quantiles of {len(self.like)} images ({patients} patients) of {self.like.provenance.source}, "
                f"each moved out by {MARGIN + FEWEST / 2 / len(self.like):.2f} of its distance from the median; see `.limits`.",
                f"False alarms: {overall['floor']:.1%} of {overall['floor_n']:.0f} of those images fail limits that the other half of their patients set "
                f"(95 % interval {overall['floor_low']:.1%} to {overall['floor_high']:.1%}): read the share of failing images against this.",
            ]
            if len(self.like) < FEW:
                lines.append(f"Fewer than {FEW} real images: the limits are rough.")
        return [*lines, "An image that passes shows no fault that these rules know; it may still be wrong.", *self.notes]


def _share(failed: pd.Series | None) -> tuple[float, float, float, float]:
    """Share, interval and n."""
    if failed is None:
        return (np.nan,) * 4
    count = int(failed.sum())
    return count / len(failed), *wilson(count, len(failed)), len(failed)

"""The answer of a hybrid experiment: the chosen arm on the test patients against the baselines, and below it every arm."""
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthkit.core.files import read_manifest, write_manifest
from synthkit.core.result import Tabled
from synthkit.errors import StoreError
from synthkit.metrics.paired import Estimate, Paired, verdict
from synthkit.studies.hybrid.arms import BALANCED
from synthkit.studies.hybrid.choice import Choice
from synthkit.studies.hybrid.effects import relative
from synthkit.studies.hybrid.measures import HIGHER, MEASURES, SPECIFICITY_REACHED
from synthkit.studies.hybrid.rare import FEWEST_RARE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMAT = "hybrid 2"
STORED = Path(__file__).parent / "stored"
FEWEST_SEEDS = 3
HEADLINE, EXPLORATORY = "headline", "exploratory"
PRIMARY = "AUPRC"
COLUMNS = ("part", "arm", "measure", "value", "low", "high", "against", "baseline", "difference", "diff_low", "diff_high", "relative", "rel_low", "rel_high",
           "verdict", "valid_AUPRC", "n_real", "n_added", "n_distinct", "n_test", "n_rare", "seeds", "steps")  # fmt: skip

NUMBERS = ("value", "low", "high", "baseline", "difference", "diff_low", "diff_high", "relative", "rel_low", "rel_high", "valid_AUPRC")


@dataclass(frozen=True, eq=False, repr=False)
class Hybrid(Tabled):
    """What synthetic images add to k real patients of a rare class.

    Args:
        rows: part "headline" holds the arm that was chosen on validation, against each baseline, both trained again from other seeds
            than those that chose it; part "exploratory" every arm, against class-balanced augmentation, on the seeds of the choice.
            Means over seeds with 95 % intervals; `relative` is the difference over the baseline, and `valid_AUPRC` what was chosen by.
        notes: what must be said beside them.
        choice: what was chosen, and on which validation scores.
    """

    choice: Choice | None = field(default=None, kw_only=True)

    def save(self, path: str | Path) -> Path:
        """Write title, table and caveats as one JSON file; `Hybrid.load` reads it back, without the `choice`."""
        rows = json.loads(self.rows.to_json(orient="records", double_precision=6))
        write_manifest(Path(path), {"format": FORMAT, "title": self.title, "rows": rows, "notes": list(self.notes), "at": self.at})
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> "Hybrid":
        """Read a saved result back; StoreError if the file is none or was damaged."""
        if not Path(path).is_file():
            raise StoreError(f"{path} is no file; give one that Hybrid.save wrote")
        found = read_manifest(Path(path))
        if found.get("format") != FORMAT:
            raise StoreError(f"{path} holds no hybrid experiment of format {FORMAT}")
        frame = pd.DataFrame(found["rows"], columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))
        return Hybrid(found["title"], frame, tuple(found["notes"]), at=found.get("at", ""))

    @staticmethod
    def stored(name: str) -> "Hybrid":
        """An experiment that was run before and comes with synthkit, for when there is no time to run it."""
        names = sorted(path.stem for path in STORED.glob("*.json"))
        if name not in names:
            raise StoreError(f"no stored experiment {name!r}; there are {', '.join(names) or 'none'}")
        return Hybrid.load(STORED / f"{name}.json")

    @property
    def headline(self) -> pd.DataFrame:
        """The chosen arm against each baseline, read once."""
        return self.rows[self.rows["part"] == HEADLINE].reset_index(drop=True)

    @property
    def exploratory(self) -> pd.DataFrame:
        """Every arm: many comparisons, so that some look good by chance."""
        return self.rows[self.rows["part"] == EXPLORATORY].reset_index(drop=True)

    @property
    def better(self) -> bool:
        """Whether the AUPRC of the chosen arm is surely above that of every baseline it is read against."""
        first = self.headline[self.headline["measure"] == PRIMARY]
        return bool((first["verdict"] == "better").all())

    def figure(self) -> "Figure":
        """AUPRC of every arm (red: class-balanced augmentation), and the headline differences (red: none)."""
        from synthkit.core.figures import interval_plot

        every = self.exploratory[self.exploratory["measure"] == PRIMARY]
        base = float(every.loc[every["arm"] == BALANCED.name, "value"].iloc[0])
        values = every.assign(metric=f"{PRIMARY} of every arm on test (exploratory)", group=every["arm"], floor=base)
        first = self.headline[self.headline["measure"] == PRIMARY]
        ends = {"value": first["difference"], "low": first["diff_low"], "high": first["diff_high"]}
        what = f"Difference in {PRIMARY}: {first['arm'].iloc[0]}, chosen on validation"
        paired = first.assign(metric=what, group="to " + first["against"], floor=0.0, **ends)
        return interval_plot(pd.concat([paired, values]), title=self.title, names=("value or difference", f"{BALANCED.name}, or no difference"))


def rows(choice: Choice, headline: Mapping[str, Paired], exploratory: Mapping[str, Paired], facts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The table from the scores by measure, of the runs after the choice and of those before it; `facts` holds counts by candidate."""
    first = [_row(HEADLINE, choice.chosen.name, other, measure, headline[measure], facts) for measure in MEASURES for other in choice.against]
    rest = [_row(EXPLORATORY, name, BALANCED.name, measure, exploratory[measure], facts) for measure in MEASURES for name in choice.valid]
    frame = pd.DataFrame([*first, *rest])
    return frame.assign(valid_AUPRC=frame["arm"].map(choice.valid))[list(COLUMNS)]


def _row(part: str, arm: str, other: str, measure: str, scores: Paired, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    mean, base, change, few = scores.mean(arm), scores.mean(other), scores.difference(arm, other), facts[arm]["n_rare"]
    share = relative(scores, arm, other) if few >= FEWEST_RARE else Estimate(float("nan"), float("nan"), float("nan"))
    return {
        "part": part, "arm": arm, "measure": measure, **asdict(mean), "against": other, "baseline": base.value, "difference": change.value,
        "diff_low": change.low, "diff_high": change.high, "relative": share.value, "rel_low": share.low, "rel_high": share.high,
        "verdict": said(measure, change, same=arm == other, seeds=facts[arm]["seeds"], rare=few), **facts[arm],
    }  # fmt: skip


def said(measure: str, change: Estimate, *, same: bool, seeds: int, rare: int) -> str:
    """Better, worse or no difference shown; calibration errors are better when lower, and a specificity set on validation is no merit.

    Not assessed under 3 seeds, or under 8 patients of the rare class (`rare`), whose resamples show too little of their spread.
    """
    if same:
        return "baseline"
    if seeds < FEWEST_SEEDS or rare < FEWEST_RARE or measure == SPECIFICITY_REACHED:
        return "not assessed"
    return verdict(change if measure in HIGHER else Estimate(-change.value, -change.high, -change.low))

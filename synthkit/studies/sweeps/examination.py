"""One classifier before the images of one factor's values, whichever way these are made."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.studies.sweeps.images import EDITED, EXACT, Subjects
from synthkit.studies.sweeps.scores import Watched
from synthkit.studies.sweeps.seen import exact_rows, judged_rows
from synthkit.tasks.predictor import Predictor

THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Examination:
    """Who is examined, on whom, and who makes and judges the images.

    Args:
        classifier: who predicts.
        target: the finding that it is to see.
        source: what makes the images.
        truth: the phantom whose exact images stand beside them, or None.
        subjects: who is shown.
        positive: (n,) bool, which of them have the finding.
        reader: reads the swept factors off the images, or None.
        threshold: from which chance on the finding is called present; None for one half.
        share: of the reference score, below which the classifier counts as broken.
        seed: of sampling and resampling.
    """

    classifier: Predictor
    target: str
    source: Generator | Phantom
    truth: Phantom | None
    subjects: Subjects
    positive: np.ndarray
    reader: Predictor | None
    threshold: float | None
    share: float
    seed: int

    def shown(self, factor: str, values: Sequence[object]) -> dict[str, list[Cohort]]:
        """Per way of making them, one cohort of all subjects for each value; the source's own first."""
        sources = {self.subjects.way(self.source): self.source, **({EXACT: self.truth} if self.truth is not None else {})}
        return {way: [self.subjects.shown(one, factor, value, seed=self.seed) for value in values] for way, one in sources.items()}

    def rows(self, factor: str, values: Sequence[object], made: dict[str, list[Cohort]]) -> list[dict[str, object]]:
        """Scores at each value, what a judge reads there, and how near edits come to the truth."""
        rows = []
        cut = THRESHOLD if self.threshold is None else self.threshold
        for way, cohorts in made.items():
            chances = np.stack([self._chances(cohort) for cohort in cohorts])
            part = Watched(chances, self.positive, self.subjects.units, cut, self.seed).rows(share=self.share)
            if self.reader is not None and factor in self.reader.schema:
                part += judged_rows(self.reader, factor, values, cohorts, self.subjects, seed=self.seed)
            if way == EDITED and EXACT in made:
                part += exact_rows(cohorts, made[EXACT], self.subjects, seed=self.seed)
            rows += [{"factor": factor, "value": values[row["place"]] if row["place"] >= 0 else "all", "images": way, **row} for row in part]
        return rows

    def _chances(self, cohort: Cohort) -> np.ndarray:
        return self.classifier.predict(cohort)[f"p_{self.target}_{self.classifier.schema[self.target].levels[-1]}"].to_numpy()

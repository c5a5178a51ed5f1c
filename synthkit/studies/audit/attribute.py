"""One attribute of an audit: its groups, and which of them are large enough to be judged."""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.schema import Schema
from synthkit.studies.audit.groups import order_of
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import Measure


@dataclass(frozen=True, eq=False)
class Attribute:
    """Groups by one attribute, or by a pair.

    Args:
        name: "sex", or "sex × age".
        groups: in the order of the schema.
        codes: (n,) number of the group of each image, in the order of the judged images; -1 where it is not known.
        large: measure to (groups,) bool: enough patients to give a number.
    """

    name: str
    groups: tuple[str, ...]
    codes: np.ndarray
    large: dict[str, np.ndarray]

    @staticmethod
    def of(labels: pd.Series, judged: Judged, schema: Schema, measures: tuple[Measure, ...], *, fewest: int) -> "Attribute":
        """The groups of one column of labels, in the order of the cohort's rows."""
        groups = order_of(str(labels.name), labels, schema)
        codes = labels.map({group: code for code, group in enumerate(groups)}).fillna(-1).to_numpy(int)[judged.order]
        parts = [judged[codes == code] for code in range(len(groups))]
        # Without a lower bound a figure still needs one patient.
        large = {measure.name: np.array([measure.patients(part) >= max(fewest, 1) for part in parts], bool) for measure in measures}
        return Attribute(str(labels.name), tuple(groups), codes, large)

    def judged_groups(self, measure: Measure) -> np.ndarray:
        """The numbers of the groups that are large enough."""
        return np.flatnonzero(self.large[measure.name])

"""Adherence: do synthetic images show the factors that were asked for, in the eyes of a predictor trained on real ones?"""
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.errors import SchemaError
from synthkit.metrics.features import Features
from synthkit.metrics.probe import fit_probe
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor

CHANCE = {"AUC": 0.5, "R2": 0.0}
ENOUGH = 1_000


def fit_judge(cohort: Cohort, fake: Cohort, eyes: Features, *, seed: int) -> Predictor:
    """A predictor of every factor that was varied in `fake` and that varies in the judge's real patients.

    A network of its own from 1,000 images on; below, lines on the encoder's features, which see more from few images.
    """
    names = [n for n in fake.schema.names if n in cohort.schema and _varies(fake.table[n]) and _varies(cohort.table[n])]
    if not names:
        raise SchemaError("no factor varies both in the synthetic cohort and in the judge cohort; ask for images of differing factors")
    return Classifier(target=tuple(names)).fit(cohort, seed=seed) if len(cohort) >= ENOUGH else fit_probe(cohort, tuple(names), eyes)


def _varies(values: pd.Series) -> bool:
    return values.dropna().nunique() > 1


def adherence(judge: Cohort | Predictor, *, real: Cohort, fake: Cohort, eyes: Features, seed: int) -> tuple[list[dict[str, object]], list[str]]:
    """Rows of AUC (categories) and R² (quantities) per factor, and notes.

    `floor` holds the judge's own score on real test patients: the ceiling that a perfect generator would reach.
    """
    fitted = judge if isinstance(judge, Predictor) else fit_judge(judge, fake, eyes, seed=seed)
    known = [name for name in fitted.schema.names if name in fake.table and name in real.table]
    if not known:
        names = ", ".join(fitted.schema.names)
        raise SchemaError(f"the judge predicts {names}, which the real or the synthetic cohort does not have; give a judge of a shared factor")
    on_fake, on_real = fitted.score(fake).set_index("factor"), fitted.score(real).set_index("factor")
    blind = [name for name in known if name in on_real.index and not on_real.loc[name, "low"] > CHANCE[on_real.loc[name, "measure"]]]
    origin = f"judge of {fitted.trained.get('source', 'your own')}"
    rows = []
    for name in [n for n in known if n in on_fake.index and n not in blind]:
        seen = on_fake.loc[name]
        ceiling, n_real = (on_real.loc[name, "value"], int(on_real.loc[name, "n"])) if name in on_real.index else (float("nan"), 0)
        rows.append({"metric": f"Adherence {seen['measure']}", "value": seen["value"], "low": seen["low"], "high": seen["high"], "n_real": n_real,
                     "n_fake": int(seen["n"]), "group": name, "better": "higher", "floor": ceiling, "extractor": origin})  # fmt: skip
    notes = ["Adherence: a predictor trained on the judge patients; `floor` holds its own score on real test images, the most a generator can reach."]
    if blind:
        notes.append(f"Adherence is not assessed for {', '.join(blind)}: on real test images the judge itself is not surely better than chance.")
    return rows, notes

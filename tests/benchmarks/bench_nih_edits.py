"""Edits of real chest films of unseen patients: what independent judges read, the raw round trip, and whether a witness follows a flip.

    python tests/benchmarks/bench_nih_edits.py [--minutes 12] [--generator FOLDER] [--folder nih-edits] [--record]

Patients are split in three: those that the generator learns from, those that further judges and classifiers learn from, and those that are
edited. No truth exists here: the figures are those of judges with errors of their own, whose scores on the same patients stand beside. A
network from scratch learns little from so few patients, so a linear model on principal components, which reads more, judges too.
"""
import argparse
import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import synthkit as sk
from synthkit.core.intervals import bootstrap

EDITS = [{"sex": "M"}, {"sex": "F"}, {"cardiomegaly": "present"}, {"cardiomegaly": "absent"}, {"effusion": "present"}, {"effusion": "absent"}]
READ = ("sex", "effusion", "cardiomegaly", "view")
COMPONENTS, COUNT = 40, 48


def flat(films: sk.Cohort) -> np.ndarray:
    return films.images.tensor().flatten(1).numpy()


def linear_judge(films: sk.Cohort, factor: str) -> Pipeline:
    """Logistic regression on principal components, both levels weighing the same."""
    known = films[np.flatnonzero(films.table[factor].notna())]
    line = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    judge = make_pipeline(StandardScaler(), PCA(COMPONENTS, random_state=0), StandardScaler(), line)
    return judge.fit(flat(known), known.table[factor] == known.schema[factor].levels[1])


def judged(generator: sk.Generator, films: sk.Cohort, judges: dict[str, Pipeline]) -> pd.DataFrame:
    """Per edit the linear judge's mean chance of the asked level before and after, its change with the interval over patients, and the share read as asked."""
    rows = []
    for edit in EDITS:
        ((factor, level),) = edit.items()
        one = films[np.flatnonzero(films.table[factor].notna() & (films.table[factor] != level))[:COUNT]]
        after = sk.counterfactual(generator, one, edit).edited
        second = films.schema[factor].levels[1] == level
        chance = [judges[factor].predict_proba(flat(part))[:, int(second)] for part in (one, after)]
        change, units = chance[1] - chance[0], one.table["patient_id"].to_numpy()
        low, high = bootstrap(lambda rows, change=change: float(change[rows].mean()), units)
        read = {"read as asked before": (chance[0] > 0.5).mean(), "read as asked": (chance[1] > 0.5).mean()}
        rows.append({"edit": f"{factor} → {level}", "n": len(one), "patients": len(np.unique(units)), "chance before": chance[0].mean(),
                     "after": chance[1].mean(), "change": change.mean(), "low": low, "high": high, **read,
                     "round trip": after.table["round_trip"].mean()})  # fmt: skip
    return pd.DataFrame(rows)


def few_of_each_patient(films: sk.Cohort, most: int) -> sk.Cohort:
    """Some patients have dozens of films."""
    return films[np.flatnonzero(films.table.groupby("patient_id").cumcount() < most)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--minutes", type=float, default=12)
    options.add_argument("--generator", type=Path, help="a saved one of the same split, instead of training")
    options.add_argument("--steps", type=int, default=300, help="of judge and classifiers, at most")
    options.add_argument("--folder", type=Path, default=Path("nih-edits"))
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    films = sk.load("nih-cxr64")
    train, teach, test = films.split((0.5, 0.25, 0.25), by="patient_id", seed=0)
    if args.generator:
        generator = sk.Generator.load(args.generator)
    else:
        generator = sk.Diffusion().fit(train, budget=sk.Minutes(args.minutes), seed=0, run=args.folder / "run")
        generator.save(args.folder / "generator")
    linear = {name: linear_judge(train + teach, name) for name in READ}
    known = {name: test[np.flatnonzero(test.table[name].notna())] for name in READ}
    aucs = {name: roc_auc_score(one.table[name] == one.schema[name].levels[1], linear[name].predict_proba(flat(one))[:, 1]) for name, one in known.items()}
    judge = sk.Classifier(READ).fit(teach, budget=sk.Steps(args.steps), seed=0)
    eyes = [sk.Classifier("effusion").fit(teach, budget=sk.Steps(args.steps), seed=seed, balance="effusion") for seed in (1, 2)]
    scores = pd.concat([judge.score(test).assign(judge="network, all at once"), *(eye.score(test).assign(judge="network, effusion") for eye in eyes)])
    few, shown = few_of_each_patient(test, 3), few_of_each_patient(test, 1)
    told = judged(generator, few, linear)
    sound = sk.soundness(generator, few, judge=judge, edits=EDITS, library=train, count=COUNT)
    least = sk.flip(generator, eyes[0], shown.where("view == 'PA'")[:24], target="effusion", witness=eyes[1])
    parts = [sound, least]
    for do, who in ((EDITS[0], "sex == 'F'"), (EDITS[1], "sex == 'M'"), (EDITS[2], "cardiomegaly == 'absent'"), (EDITS[5], "effusion == 'present'")):
        parts.append(sk.counterfactual(generator, shown.where(who)[:6], do=do))
    for number, part in enumerate(parts):
        part.figure().write_html(args.folder / f"{number:02d}.html")
    sk.Report("Edits of NIH chest films", parts).save(args.folder / "report.html")
    print("linear judges, AUC on the edited patients:", {name: round(value, 3) for name, value in aucs.items()})
    for table in (told, scores, sound.frame().dropna(axis=1, how="all"), least.frame()):
        print(table.round(3).to_string())
    print(*sound.caveats(), sep="\n")
    if args.record:
        tables = {"linear judges": told, "judges": scores, "soundness": sound.frame(), "flip": least.frame()}
        record = {"date": f"{date.today()}", "training": generator.card.training["budget"], "images seen": generator.card.training["images seen"],
                  "patients": {name: int(part.table["patient_id"].nunique()) for name, part in (("train", train), ("teach", teach), ("test", test))},
                  "AUC of the linear judges": aucs,
                  **{name: table.replace({np.nan: None}).to_dict("records") for name, table in tables.items()}, "notes": sound.caveats()}  # fmt: skip
        (Path(__file__).parent / "results" / "edits-nih-cxr64.json").write_text(json.dumps(record, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()

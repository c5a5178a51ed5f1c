"""Does the audit find planted bias, accuse nobody else, and does rebalancing close the gap? On chest phantoms, whose truth is known.

    python tests/benchmarks/bench_audit.py fits --plant under --seeds 0 1 2 3 4 --work audit-work
    python tests/benchmarks/bench_audit.py fits --plant label --seeds 0 1 2 3 4 --work audit-work
    python tests/benchmarks/bench_audit.py level --work audit-work
    python tests/benchmarks/bench_audit.py real --work audit-work
    python tests/benchmarks/bench_audit.py report --work audit-work [--record]

`fits` trains the classifiers and keeps their predictions, `level` counts false accusations and coverage on simulated scores,
`real` audits a classifier of NIH films, `report` audits the kept predictions and writes the record.
"""
import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import synthkit as sk
from synthkit.core.intervals import wilson
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.audit import assessed, audit
from synthkit.studies.audit.figures import Figures
from synthkit.studies.audit.gaps import SHOWN, gap_frame, verdict_frame
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import MEASURES
from synthkit.studies.audit.null import permutation_null
from synthkit.studies.rebalance import rebalance

RESULTS = Path(__file__).parent / "results"
ACCUSING = tuple(measure for measure in MEASURES if measure.accuses)
FACTORS = ("age", "sex", "group", "view", "effusion")
DRAWN, TEST, VALID, LEFT, MISLABELLED = 2_000, 4_000, 400, 6, 0.3
PLANTS = {"under": ("sex", "F"), "label": ("group", "2")}


def phantom() -> sk.ChestPhantom:
    """Without the planted marker, which would give the finding away to every classifier."""
    return sk.ChestPhantom(size=64, confounding=0.0)


def kept(work: Path, name: str, count: int, seed: int) -> sk.Cohort:
    """A cohort drawn once and kept on disk."""
    if not (work / name / "cohort.json").exists():
        phantom().cohort(count, seed=seed).save(work / name)
    return sk.load(work / name)


def planted(plant: str, drawn: sk.Cohort, seed: int) -> sk.Cohort:
    """Training films with the bias in them."""
    factor, level = PLANTS[plant]
    table = drawn.table
    hit = np.flatnonzero(((table[factor] == level) & (table["effusion"] == "present")).to_numpy(bool))
    hit = np.random.default_rng(seed).permutation(hit)
    if plant == "under":
        return drawn[np.setdiff1d(np.arange(len(drawn)), hit[LEFT:])]
    wrong = drawn.schema.do(table, {"effusion": np.where(np.isin(np.arange(len(table)), hit[: round(MISLABELLED * len(hit))]), "absent", table["effusion"])})
    return replace(drawn, table=wrong)


def arms(plant: str, drawn: sk.Cohort, gen: sk.Generator, test: sk.Cohort, seed: int) -> Iterator[tuple[str, sk.Cohort]]:
    yield "none", drawn
    biased = planted(plant, drawn, seed)
    yield plant, biased
    if plant == "under":
        more = rebalance(gen, biased, by="sex", within="effusion", test=test, seed=seed)
        print(more.plan.to_string(index=False), flush=True)
        yield "under, rebalanced", more.joined


def fits(given: argparse.Namespace) -> None:
    """Predictions of every arm and seed on the same test and validation films."""
    both = {"test": kept(given.work, "test", TEST, 9_100), "valid": kept(given.work, "valid", VALID, 9_200)}
    gen, task = sk.Generator.pretrained("chest-phantom-64"), sk.Classifier("effusion")
    for seed in given.seeds:
        drawn = kept(given.work, f"drawn-{seed}", DRAWN, 9_300 + seed)
        for arm, train in arms(given.plant, drawn, gen, both["test"], seed):
            path = given.work / f"predicted {arm} {seed}.csv"
            if path.exists():
                continue
            clf = task.fit(train, budget=sk.Steps(given.steps), seed=seed, early_stopping=False, progress=False)
            parts = [c.table[["patient_id", *FACTORS]].assign(part=part, chance=clf.predict(c)["p_effusion_present"]) for part, c in both.items()]
            pd.concat(parts).to_csv(path, index=False)
            print(arm, seed, len(train), "films", flush=True)


def groupings(judged: Judged, labels: pd.DataFrame, fewest: int = 10) -> list[Attribute]:
    """Attributes of plain columns of text."""
    return [Attribute.of(labels[name], judged, sk.Schema(), MEASURES, fewest=fewest) for name in labels]


def judge(rows: pd.DataFrame, by: list[str], *, threshold: float, permutations: int, alpha: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gaps and verdicts of kept predictions, by the parts that `sk.audit` puts together."""
    judged = Judged.of(rows["chance"].to_numpy(), (rows["effusion"] == "present").to_numpy(), rows["patient_id"].to_numpy(), threshold=threshold)
    labels = rows[by].astype(str).reset_index(drop=True)
    _, gaps = assessed(judged, labels, sk.Schema(), fewest=10, times=200, permutations=permutations, alpha=alpha, seed=seed)
    return gaps, verdict_frame(gaps, MEASURES)


def simulated(rng: np.random.Generator, *, gap: float = 0.0, uneven: bool = False) -> pd.DataFrame:
    """Scores of patients with one to four films, who differ from each other; groups of unequal size and prevalence, equal at equal truth but for `gap`.

    Args:
        gap: how far the mean score of the positives of group c lies lower.
        uneven: group c has four films per patient, the others one.
    """
    ward = rng.choice(["a", "b", "c"], 220, p=[0.65, 0.25, 0.10])
    sex = rng.choice(["F", "M"], 220, p=[0.4, 0.6])
    films = np.where(ward == "c", 4, 1) if uneven else rng.integers(1, 5, 220)
    patient = np.repeat(np.arange(220), films)
    prevalence = pd.Series(ward).map({"a": 0.5, "b": 0.25, "c": 0.4}).to_numpy()[patient] - 0.1 * (sex[patient] == "F")
    truth = rng.random(len(patient)) < prevalence
    own = rng.normal(0, 0.7, 220)[patient]
    score = 1.2 * truth + own + rng.normal(0, 0.7, len(patient)) - gap * (truth & (ward[patient] == "c"))
    return pd.DataFrame({"patient_id": patient.astype(str), "ward": ward[patient], "sex": sex[patient], "effusion": np.where(truth, "present", "absent"),
                         "chance": 1 / (1 + np.exp(-score))})  # fmt: skip


def accused(rows: pd.DataFrame, by: list[str], *, alphas: tuple[float, ...], seed: int, threshold: float = 0.6) -> dict[float, bool]:
    """Whether any attribute or pair is accused, per alpha."""
    judged = Judged.of(rows["chance"].to_numpy(), (rows["effusion"] == "present").to_numpy(), rows["patient_id"].to_numpy(), threshold=threshold)
    labels = rows[by].astype(str).reset_index(drop=True)
    labels = labels.assign(**{" × ".join(by): labels.agg(", ".join, axis=1)})
    null = permutation_null(judged, groupings(judged, labels, 5), ACCUSING, permutations=199, seed=seed)
    return {alpha: min(null.adjusted.values(), default=1.0) <= alpha for alpha in alphas}


def counted(hits: list[bool]) -> dict[str, float]:
    low, high = wilson(sum(hits), len(hits))
    return {"share": float(np.mean(hits)), "low": low, "high": high, "n": len(hits)}


def level(given: argparse.Namespace) -> None:
    """False accusations on simulated scores, and on resampled predictions with groups drawn at random given the truth; power; coverage."""
    alphas, found = (0.01, 0.05), {}
    for name, options in (("equal", {}), ("uneven films per patient", {"uneven": True}), ("planted", {"gap": 0.8})):
        runs = given.trials if name == "equal" else given.trials // 4
        hits = [accused(simulated(np.random.default_rng([seed, len(name)]), **options), ["ward", "sex"], alphas=alphas, seed=seed) for seed in range(runs)]
        found[name] = {str(alpha): counted([hit[alpha] for hit in hits]) for alpha in alphas}
        print(name, found[name], flush=True)
        (given.work / "level.json").write_text(json.dumps(found, indent=1))
    found["coverage"] = coverage(given.trials // 5)
    print(found["coverage"], flush=True)
    (given.work / "level.json").write_text(json.dumps(found, indent=1))


def coverage(trials: int) -> dict[str, dict[str, float]]:
    """How often the intervals hold the truth: of TPR and AUC in the smallest group, and of the largest gap."""
    whole = pd.concat([simulated(np.random.default_rng([9, i]), gap=0.5) for i in range(400)])
    truth = {}
    for measure in ACCUSING[::2]:
        parts = {ward: rows for ward, rows in whole.groupby("ward")}
        of = {w: Judged.of(r["chance"].to_numpy(), (r["effusion"] == "present").to_numpy(), np.arange(len(r)), threshold=0.6) for w, r in parts.items()}
        values = {ward: measure.value(one) for ward, one in of.items()}
        truth[measure.name] = (values["c"], max(values.values()) - min(values.values()))
    hits: dict[str, list[bool]] = {f"{metric}, {what}": [] for metric in truth for what in ("smallest group", "largest gap")}
    for seed in range(trials):
        rows = simulated(np.random.default_rng([seed, 4]), gap=0.5)
        judged = Judged.of(rows["chance"].to_numpy(), (rows["effusion"] == "present").to_numpy(), rows["patient_id"].to_numpy(), threshold=0.6)
        measures = ACCUSING[::2]
        one = Attribute.of(rows["ward"], judged, sk.Schema(), MEASURES, fewest=5)
        figures = Figures.of(judged, [one], (*ACCUSING,), times=200, fewest=5, seed=seed)
        gaps = gap_frame(figures, permutation_null(judged, [one], (), permutations=1, seed=0), alpha=0.05).set_index("metric")
        table = figures.frame().set_index(["group", "metric"])
        for measure in measures:
            group, gap = table.loc[("c", measure.name)], gaps.loc[measure.name]
            if np.isfinite(group["low"]) and np.isfinite(gap["low"]):
                hits[f"{measure.name}, smallest group"].append(bool(group["low"] <= truth[measure.name][0] <= group["high"]))
                hits[f"{measure.name}, largest gap"].append(bool(gap["low"] <= truth[measure.name][1] <= gap["high"]))
    return {name: counted(values) for name, values in hits.items()}


def real(given: argparse.Namespace) -> None:
    """A classifier of effusion on NIH films, by sex and age: small numbers, said so."""
    data = sk.load("nih-cxr64")
    train, valid, test = data.split((0.4, 0.1, 0.5), seed=0)
    clf = sk.Classifier("effusion").fit(train, budget=sk.Steps(given.steps), seed=0, early_stopping=False, progress=False)
    found = audit(clf, test, by=("sex", "age"), valid=valid)
    print(found.verdicts().to_string(), "\n".join(found.caveats()), sep="\n")
    found.figure().write_html(given.work / "nih.html")
    rows = found.frame().round(4)
    record = {"films": len(test), "patients": int(test.table["patient_id"].nunique()), "rows": _plain(rows), "verdicts": _plain(found.verdicts().round(4))}
    (given.work / "real.json").write_text(json.dumps(record, indent=1))


def _plain(frame: pd.DataFrame) -> list[dict[str, object]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def read(work: Path, arm: str) -> dict[int, tuple[pd.DataFrame, float]]:
    """Test predictions of every seed, and the threshold with the largest Youden index on the validation films."""
    from synthkit.studies.audit.threshold import youden

    found = {}
    for path in sorted(work.glob(f"predicted {arm} *.csv")):
        rows = pd.read_csv(path, dtype={"group": str})
        rows["age"] = pd.cut(rows["age"], [0, 40, 65, 200], right=False, labels=["<40", "40-65", ">=65"]).astype(str)
        valid = rows[rows["part"] == "valid"]
        limit = youden(valid["chance"].to_numpy(), (valid["effusion"] == "present").to_numpy())
        found[int(path.stem.split()[-1])] = (rows[rows["part"] == "test"].reset_index(drop=True), limit)
    return found


def measured(rows: pd.DataFrame, limit: float, factor: str) -> dict[str, float]:
    """Gaps between two groups and the AUC over all films, without intervals: the truth where there are many films."""
    values = {}
    for name, part in [("all", rows), *rows.groupby(factor)]:
        judged = Judged.of(part["chance"].to_numpy(), (part["effusion"] == "present").to_numpy(), np.arange(len(part)), threshold=limit)
        values[name] = {measure.name: measure.value(judged) for measure in ACCUSING}
    first, second = sorted(name for name in values if name != "all")
    return {f"{m.name} gap": values[second][m.name] - values[first][m.name] for m in ACCUSING} | {"AUC": values["all"]["AUC"]}


def found_planted(work: Path, plant: str, films: int, draws: int) -> dict[str, object]:
    """The audit of small test sets against the truth of all 4,000 films."""
    factor, level = PLANTS[plant]
    rows = []
    for seed, (test, limit) in read(work, plant).items():
        truth = measured(test, limit, factor)
        for draw in range(draws):
            chosen = test.sample(films, random_state=1_000 * seed + draw).reset_index(drop=True)
            gaps, verdicts = judge(chosen, [factor], threshold=limit, permutations=199, alpha=0.05, seed=draw)
            for metric in ("TPR", "FPR", "AUC"):
                one = gaps.set_index("metric").loc[metric]
                size = abs(truth[f"{metric} gap"])
                rows.append({"seed": seed, "metric": metric, "truth": size, "gap": one["gap"], "inside": one["low"] <= size <= one["high"],
                             "shown": verdicts["verdict"][0] == SHOWN, "named": one["worst"] == level})  # fmt: skip
    table = pd.DataFrame(rows)
    if table.empty:
        return {}
    by_metric = {}
    for metric, part in table.groupby("metric", sort=False):
        by_metric[metric] = {"truth": part.groupby("seed")["truth"].first().round(4).tolist(), "mean gap": round(float(part["gap"].mean()), 4),
                             "interval holds the truth": counted(part["inside"].tolist())}  # fmt: skip
    once = table[table["metric"] == "TPR"]
    return {"films": films, "shown": counted(once["shown"].tolist()), "worst group named by TPR": counted(once["named"].tolist()), "metrics": by_metric}


def fair(work: Path, films: int, trials: int) -> dict[str, object]:
    """Predictions of unbiased classifiers, films drawn again and again, groups given at random at a chance that depends on the truth alone."""
    tests = list(read(work, "none").values())
    hits = []
    for trial in range(trials if tests else 0):
        rng = np.random.default_rng([trial, 5])
        test, limit = tests[trial % len(tests)]
        rows = test.iloc[rng.choice(len(test), films, replace=False)].reset_index(drop=True)
        present = (rows["effusion"] == "present").to_numpy()
        rows["ward"] = np.where(rng.random(films) < np.where(present, 0.15, 0.3), "small", "large")
        rows["clinic"] = rng.choice(["p", "q", "r"], films, p=[0.5, 0.35, 0.15])
        hits.append(accused(rows, ["ward", "clinic"], alphas=(0.01, 0.05), seed=trial, threshold=limit))
    return {str(alpha): counted([hit[alpha] for hit in hits]) for alpha in (0.01, 0.05)} if hits else {}


def rebalanced(work: Path) -> dict[str, object]:
    """Paired by training seed: gaps and AUC before and after, with the t interval over seeds."""
    from scipy.stats import t

    before, after, clean = read(work, "under"), read(work, "under, rebalanced"), read(work, "none")
    seeds = sorted(set(before) & set(after) & set(clean))
    books = {"all": clean, "under": before, "rebalanced": after}
    rows = [{"seed": seed, "arm": arm, **measured(*book[seed], "sex")} for seed in seeds for arm, book in books.items()]
    table = pd.DataFrame(rows)
    answer: dict[str, object] = {"seeds": seeds, "rows": _plain(table.round(4)) if len(table) else []}
    for name in [c for c in table.columns if c not in ("seed", "arm")] if len(seeds) > 1 else []:
        wide = table.pivot(index="seed", columns="arm", values=name)
        change = (wide["rebalanced"].abs() - wide["under"].abs()).to_numpy()
        half = float(t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change)))
        answer[name] = {"all": wide["all"].mean(), "under": wide["under"].mean(), "rebalanced": wide["rebalanced"].mean(),
                        "change of its size": change.mean(), "low": change.mean() - half, "high": change.mean() + half, "n": len(change)}  # fmt: skip
    return answer


def report(given: argparse.Namespace) -> None:
    """Everything that was kept, as one record."""
    record: dict[str, object] = {"test films": TEST, "training films drawn": DRAWN, "steps": given.steps}
    for plant in PLANTS:
        record[f"planted: {plant}"] = found_planted(given.work, plant, given.films, given.draws)
    record["fair, resampled predictions"] = fair(given.work, given.films, given.fair)
    record["rebalanced"] = rebalanced(given.work)
    for name in ("level", "real"):
        if (given.work / f"{name}.json").exists():
            record[name] = json.loads((given.work / f"{name}.json").read_text())
    print(json.dumps({k: v for k, v in record.items() if k != "real"}, indent=1))
    if given.record:
        (RESULTS / "audit-cpu.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("fits", "level", "real", "report"))
    parser.add_argument("--work", type=Path, default=Path("audit-work"))
    parser.add_argument("--plant", choices=tuple(PLANTS), default="under")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--films", type=int, default=600)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--fair", type=int, default=200)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    {"fits": fits, "level": level, "real": real, "report": report}[given.stage](given)


if __name__ == "__main__":
    main()

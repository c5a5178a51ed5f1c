"""Does the audit find planted bias, accuse nobody else, and does rebalancing close the gap? On chest phantoms, whose truth is known.

    python tests/benchmarks/bench_audit.py fits --plant under --seeds 0 1 2 3 4 --work audit-work
    python tests/benchmarks/bench_audit.py fits --plant label --seeds 0 1 2 3 4 --work audit-work
    python tests/benchmarks/bench_audit.py level --work audit-work
    python tests/benchmarks/bench_audit.py real --work audit-work
    python tests/benchmarks/bench_audit.py report --work audit-work [--record]

`fits` trains the classifiers and keeps their predictions, `level` counts false accusations and coverage on simulated scores,
`real` audits a classifier of NIH films, `report` audits the kept predictions, of as many arms and seeds as there are, and writes the record.
"""
import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import synthkit as sk
from synthkit.core.intervals import hidden_share, wilson
from synthkit.metrics.paired import Estimate, estimate
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.audit import assessed, audit
from synthkit.studies.audit.figures import Figures
from synthkit.studies.audit.gaps import SHOWN, gap_frame, verdict_frame
from synthkit.studies.audit.groups import crossed
from synthkit.studies.audit.judged import Judged, patient_weights
from synthkit.studies.audit.measures import MEASURES
from synthkit.studies.audit.null import Null, permutation_null
from synthkit.studies.rebalance import rebalance

RESULTS = Path(__file__).parent / "results"
ACCUSING = tuple(measure for measure in MEASURES if measure.accuses)
FACTORS = ("age", "sex", "group", "view", "effusion")
DRAWN, TEST, VALID, LEFT, MISLABELLED = 2_000, 4_000, 400, 6, 0.3
ALPHAS = (0.01, 0.05)
TIMES = 200  # resamples of the films
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
    (given.work / "fits.json").write_text(json.dumps({"steps": given.steps}))
    gen, task = sk.Generator.pretrained("chest-phantom-64"), sk.Classifier("effusion")
    for seed in given.seeds:
        drawn = kept(given.work, f"drawn-{seed}", DRAWN, 9_300 + seed)
        for arm, train in arms(given.plant, drawn, gen, both["test"], seed):
            path = given.work / f"predicted {arm} {seed}.csv"
            if path.exists():
                continue
            clf = task.fit(train, budget=sk.Steps(given.steps), seed=seed, early_stopping=False, progress=False)
            parts = [c.table[["patient_id", *FACTORS]].assign(part=part, chance=clf.predict(c)["p_effusion_present"]) for part, c in both.items()]
            pd.concat(parts).to_csv(path.with_suffix(".part"), index=False)
            path.with_suffix(".part").rename(path)
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

    Ward and sex are those of a patient; the view is that of a film, so that one patient may have both.

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
    view = rng.choice(["PA", "AP"], len(patient), p=[0.6, 0.4])
    finding = np.where(truth, "present", "absent")
    return pd.DataFrame({"patient_id": patient.astype(str), "ward": ward[patient], "sex": sex[patient], "view": view, "effusion": finding,
                         "chance": 1 / (1 + np.exp(-score))})  # fmt: skip


def nulls(rows: pd.DataFrame, by: list[str], *, seed: int, threshold: float = 0.6) -> Null:
    """P values of every attribute and pair of attributes."""
    judged = Judged.of(rows["chance"].to_numpy(), (rows["effusion"] == "present").to_numpy(), rows["patient_id"].to_numpy(), threshold=threshold)
    labels = crossed(rows[by].astype(str).reset_index(drop=True))
    return permutation_null(judged, groupings(judged, labels, 5), ACCUSING, permutations=199, seed=seed)


def accused(found: Null, alpha: float) -> bool:
    """Whether any attribute or pair is accused."""
    return min(found.adjusted.values(), default=1.0) <= alpha


def counted(hits: list[bool]) -> dict[str, float]:
    low, high = wilson(sum(hits), len(hits))
    return {"share": round(float(np.mean(hits)), 4), "low": round(low, 4), "high": round(high, 4), "n": len(hits)}


def level(given: argparse.Namespace) -> None:
    """False accusations on simulated scores, with attributes of a patient alone and beside one of a film; power; coverage."""
    patients, films = ["ward", "sex"], ["ward", "sex", "view"]
    cases = {"equal": ({}, patients), "equal, with view": ({}, films), "uneven films per patient": ({"uneven": True}, films), "planted": ({"gap": 0.8}, films)}
    found: dict[str, object] = {}
    for name, (options, by) in cases.items():
        runs = given.trials if name.startswith("equal") else given.trials // 4
        hits = [nulls(simulated(np.random.default_rng([seed, 5]), **options), by, seed=seed) for seed in range(runs)]
        found[name] = {str(alpha): counted([accused(hit, alpha) for hit in hits]) for alpha in ALPHAS}
        for one in by if name.startswith("equal") else ():
            found[name][f"{one} alone, TPR, 0.05"] = counted([hit.alone.get((one, "TPR"), 1.0) <= 0.05 for hit in hits])
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
    counts = {"steps": given.steps, "films": len(test), "patients": int(test.table["patient_id"].nunique())}
    record = {**counts, "rows": _plain(rows), "verdicts": _plain(found.verdicts().round(4))}
    (given.work / "real.json").write_text(json.dumps(record, indent=1))


def _plain(frame: pd.DataFrame) -> list[dict[str, object]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def read(work: Path, arm: str) -> dict[int, tuple[pd.DataFrame, float]]:
    """Test predictions of every seed, and the threshold with the largest Youden index on the validation films."""
    from synthkit.studies.audit.threshold import youden

    found = {}
    for path in sorted(work.glob(f"predicted {arm} *.csv")):
        rows = pd.read_csv(path, dtype={"group": str})
        if len(rows) != TEST + VALID:
            print(f"left out, since it is not finished: {path.name}", flush=True)
            continue
        rows["age"] = pd.cut(rows["age"], [0, 40, 65, 200], right=False, labels=["<40", "40-65", ">=65"]).astype(str)
        valid = rows[rows["part"] == "valid"]
        limit = youden(valid["chance"].to_numpy(), (valid["effusion"] == "present").to_numpy())
        found[int(path.stem.split()[-1])] = (rows[rows["part"] == "test"].reset_index(drop=True), limit)
    return found


def measured(rows: pd.DataFrame, limit: float, factor: str, weights: np.ndarray) -> dict[str, np.ndarray]:
    """(1 + times,) sizes of the gaps between two groups, the lowest TPR of a group and the AUC of all films: of the films first, then of their resamples."""
    values = {}
    for name, part in [("all", rows), *rows.groupby(factor)]:
        judged = Judged.of(part["chance"].to_numpy(), (part["effusion"] == "present").to_numpy(), np.arange(len(part)), threshold=limit)
        values[name] = {measure.name: measure.weighted(judged, weights[:, part.index][:, judged.order]) for measure in ACCUSING}
    first, second = (values[name] for name in values if name != "all")
    sizes = {f"{m.name} gap": np.abs(second[m.name] - first[m.name]) for m in ACCUSING}
    return sizes | {"TPR of the worse group": np.minimum(first["TPR"], second["TPR"]), "AUC": values["all"]["AUC"]}


def over_seeds(shares: list[float]) -> dict[str, object]:
    """The mean over training seeds with the t interval of it; where all lie at one limit, what so many seeds may hide."""
    from scipy.stats import t

    values, count = np.array(shares, float), len(shares)
    mean = float(values.mean())
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    low, high = max(0.0, mean - half) if count > 1 else 0.0, min(1.0, mean + half) if count > 1 else 1.0
    if mean in (0.0, 1.0):
        low, high = (1 - hidden_share(count), 1.0) if mean else (0.0, hidden_share(count))
    return {"by seed": values.round(3).tolist(), "mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": count}


def found_planted(work: Path, plant: str, films: int, draws: int) -> dict[str, object]:
    """The audit of small test sets, drawn with replacement from all test films, whose own gaps so are the truth; one number per training seed."""
    factor, level = PLANTS[plant]
    rows = []
    for seed, (test, limit) in read(work, plant).items():
        truth = measured(test, limit, factor, np.ones((1, len(test)), np.float32))
        for draw in range(draws):
            # Every draw is a patient of its own, also where it is a film that was drawn before.
            chosen = test.sample(films, replace=True, random_state=1_000 * seed + draw).assign(patient_id=range(films)).reset_index(drop=True)
            gaps, verdicts = judge(chosen, [factor], threshold=limit, permutations=199, alpha=0.05, seed=draw)
            for metric in ("TPR", "FPR", "AUC"):
                one, size = gaps.set_index("metric").loc[metric], float(truth[f"{metric} gap"][0])
                rows.append({"seed": seed, "metric": metric, "truth": size, "gap": one["gap"], "inside": one["low"] <= size <= one["high"],
                             "shown": verdicts["verdict"][0] == SHOWN, "named": one["worst"] == level})  # fmt: skip
    table = pd.DataFrame(rows)
    if table.empty:
        return {"seeds": []}
    by_metric = {}
    for metric, part in table.groupby("metric", sort=False):
        seeds = part.groupby("seed")
        by_metric[metric] = {"truth by seed": seeds["truth"].first().round(4).tolist(), "mean gap by seed": seeds["gap"].mean().round(4).tolist(),
                             "interval holds the truth": over_seeds(seeds["inside"].mean().tolist())}  # fmt: skip
    once = table[table["metric"] == "TPR"].groupby("seed")
    return {"seeds": sorted(once.groups), "films": films, "draws per seed": draws, "shown": over_seeds(once["shown"].mean().tolist()),
            "worst group named by TPR": over_seeds(once["named"].mean().tolist()), "metrics": by_metric}  # fmt: skip


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
        hits.append(nulls(rows, ["ward", "clinic"], seed=trial, threshold=limit))
    return {str(alpha): counted([accused(hit, alpha) for hit in hits]) for alpha in ALPHAS} if hits else {}


def rebalanced(work: Path) -> dict[str, object]:
    """Gaps by sex and AUC of all films before and after, paired by training seed and by test film; the intervals carry both."""
    books = {"all": read(work, "none"), "under": read(work, "under"), "rebalanced": read(work, "under, rebalanced")}
    seeds = sorted(set(books["under"]) & set(books["rebalanced"]))
    if not seeds:
        return {"seeds": []}
    weights = patient_weights(books["under"][seeds[0]][0]["patient_id"].to_numpy(), times=TIMES, rng=np.random.default_rng(6))
    found = {arm: {seed: measured(*book[seed], "sex", weights) for seed in seeds if seed in book} for arm, book in books.items()}
    answer: dict[str, object] = {"seeds": seeds, "test films": weights.shape[1]}
    for name in found["under"][seeds[0]]:
        means = {arm: _estimated([runs[seed][name] for seed in sorted(runs)], least=0.0) for arm, runs in found.items() if runs}
        change = _estimated([found["rebalanced"][seed][name] - found["under"][seed][name] for seed in seeds])
        answer[name] = means | {"rebalanced minus under": change}
    return answer


def _estimated(runs: list[np.ndarray], *, least: float = -1.0) -> dict[str, object]:
    """Mean over seeds of numbers in `least`..1; of one seed alone the interval carries the films only."""
    table = np.stack(runs, 1)
    found: Estimate = estimate(table[0], table[1:])
    return {"by seed": table[0].round(4).tolist(), "mean": round(found.value, 4), "low": round(max(least, found.low), 4),
            "high": round(min(1.0, found.high), 4), "n": table.shape[1]}  # fmt: skip


def report(given: argparse.Namespace) -> None:
    """Everything that was kept, as one record."""
    settings = json.loads((given.work / "fits.json").read_text()) if (given.work / "fits.json").exists() else {"steps": given.steps}
    record: dict[str, object] = {"test films": TEST, "training films drawn": DRAWN, **settings}
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
    parser.add_argument("--steps", type=int, default=400)
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

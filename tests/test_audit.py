"""Bias audits: the fixture, agreement with fairlearn and sklearn, planted gaps, fairness at unequal prevalence, edits with exact truth, refusals."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from torch import nn
from toys import SCHEMA, Shift, exact_generator, toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance, patient_digest
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Channel, Space
from synthkit.data.load import load
from synthkit.errors import AbilityError, DataError, LeakageError, SchemaError
from synthkit.generators.generator import Generator
from synthkit.nets.network import Network
from synthkit.phantoms.chest import ChestPhantom
from synthkit.report.report import Report
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.audit import audit
from synthkit.studies.audit.contrasts import contrasts
from synthkit.studies.audit.editing import DIRECT, NONE
from synthkit.studies.audit.figures import Figure, largest_gap
from synthkit.studies.audit.gaps import NOT_SHOWN, SHOWN, TOO_FEW
from synthkit.studies.audit.groups import crossed, order_of
from synthkit.studies.audit.judged import Judged, patient_weights
from synthkit.studies.audit.measures import MEASURES, expected_ece
from synthkit.studies.audit.null import permutation_null
from synthkit.studies.audit.result import Audit
from synthkit.studies.audit.scatter import Areas, Shares
from synthkit.studies.audit.threshold import reaching, youden
from synthkit.tasks.predictor import Predictor

SPACE = Space((2, 2), (Channel("grey", high=65535),))
FINDING = Category("finding", ("absent", "present"))
PEOPLE = Schema((FINDING, Category("sex", ("F", "M")), Quantity("age", 0, 100, "years", cuts=(40, 65))), sensitive=("sex",))
QUICK = {"times": 60, "permutations": 199}
BY_NAME = {measure.name: measure for measure in MEASURES}


class Reads(nn.Module):
    """The chance that is written in the brightness of the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chance = ((x.flatten(1).mean(1) + 1) / 2).clamp(1e-6, 1 - 1e-6)
        return torch.stack([torch.zeros_like(chance), torch.logit(chance)], 1)


def told(chance: np.ndarray, truth: np.ndarray, *, schema: Schema = PEOPLE, **columns: object) -> tuple[Predictor, Cohort]:
    """A predictor and a cohort for which it predicts just these chances."""
    images = torch.from_numpy(np.asarray(chance, float) * 2 - 1).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    finding = [None if one is None else ("absent", "present")[int(one)] for one in np.asarray(truth, object)]
    table = pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(images))], "finding": finding, "sex": "F", "age": 50.0} | columns)
    cohort = Cohort.of(SPACE.to_raw(images), table, schema=schema, space=SPACE, provenance=Provenance("real", "told"))
    return Predictor.of(Reads(), FINDING, cohort), cohort


def scores(n: int, *, seed: int, lower: float = 0.0, prevalence: tuple[float, float] = (0.5, 0.5), weak: str = "F") -> tuple[Predictor, Cohort]:
    """Normal scores; those of the positives of one sex lie lower."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], n)
    truth = rng.random(n) < np.where(sex == "F", *prevalence)
    score = 1.5 * truth + rng.normal(0, 1, n) - lower * (truth & (sex == weak)) - 0.75
    return told(1 / (1 + np.exp(-score)), truth, sex=sex, age=rng.uniform(20, 90, n))


def cell(result: Audit, group: str, metric: str) -> pd.Series:
    return result.frame().set_index(["group", "metric"]).loc[(group, metric)]


def test_the_fixture_of_two_small_groups():
    """TPR .75 and .50, FPR .25 and 0, a difference in equalised odds of .25; and nothing of it where ten patients are asked for."""
    truth, called = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0]), np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    clf, test = told(np.where(called, 0.9, 0.1), truth, sex=["F"] * 8 + ["M"] * 4)
    shown = audit(clf, test, by="sex", min_positives=0, **QUICK)
    values = {(g, m): cell(shown, g, m)["value"] for g in "FM" for m in ("TPR", "FPR", "underdiagnosis")}
    assert values == pytest.approx({("F", "TPR"): 0.75, ("M", "TPR"): 0.5, ("F", "FPR"): 0.25, ("M", "FPR"): 0.0,
                                    ("F", "underdiagnosis"): 0.25, ("M", "underdiagnosis"): 0.5})  # fmt: skip
    gaps = shown.gaps().set_index("metric")
    assert gaps.loc["equalised odds", "gap"] == pytest.approx(0.25) and gaps.loc["TPR", "ratio"] == pytest.approx(2 / 3)
    assert gaps.loc["TPR", ["worst", "best"]].tolist() == ["M", "F"] and gaps.loc["FPR", ["worst", "best"]].tolist() == ["F", "M"]
    assert (cell(shown, "F", "TPR")[["n", "images", "patients", "positives"]].tolist()) == [4, 8, 8, 4]
    hidden = audit(clf, test, by="sex", **QUICK)
    assert hidden.frame()[hidden.frame()["attribute"] == "sex"]["value"].isna().all() and hidden.verdicts()["verdict"].tolist() == [TOO_FEW]
    assert hidden.frame()["reading"].str.contains("under 10 patients with positives").any() and any("Too few patients" in c for c in hidden.caveats())
    assert any("min_positives=0 shows numbers of very small groups" in note for note in shown.caveats())


def test_figures_agree_with_fairlearn_and_sklearn():
    from fairlearn.metrics import equalized_odds_difference
    from sklearn.metrics import brier_score_loss, roc_auc_score

    clf, test = scores(300, seed=1, lower=0.7)
    result = audit(clf, test, by=("sex", "age"), **QUICK)
    chance, truth, sex = clf.predict(test)["p_finding_present"], test.table["finding"] == "present", test.table["sex"]
    for group in "FM":
        here = sex == group
        assert cell(result, group, "AUC")["value"] == pytest.approx(roc_auc_score(truth[here], chance[here]), abs=1e-9)
        assert cell(result, group, "Brier")["value"] == pytest.approx(brier_score_loss(truth[here], chance[here]), abs=1e-6)
    odds = equalized_odds_difference(truth, chance >= 0.5, sensitive_features=sex)
    assert result.gaps().set_index(["attribute", "metric"]).loc[("sex", "equalised odds"), "gap"] == pytest.approx(odds)
    frame = result.frame().dropna(subset="value")
    assert ((frame["low"] <= frame["value"] + 1e-9) & (frame["value"] <= frame["high"] + 1e-9)).all() and (frame["n"] > 0).all()
    assert list(dict.fromkeys(frame["attribute"])) == ["all", "sex", "age", "sex × age"]
    assert list(dict.fromkeys(frame[frame["attribute"] == "sex × age"]["group"])) == [f"{s} × {a}" for s in "FM" for a in ("<40", "40-65", ">=65")]


def test_weights_mean_repeated_images():
    """A measure under the weights of a resample is that of the resample written out, ties included."""
    rng = np.random.default_rng(0)
    chance, truth, units = rng.integers(0, 12, 80) / 12, rng.random(80) < 0.4, np.repeat(np.arange(40), 2)
    judged = Judged.of(chance, truth, units, threshold=0.5)
    weights = patient_weights(judged.units, times=6, rng=rng)
    assert (weights[0] == 1).all() and (weights.sum(1) == 80).all()
    for measure in MEASURES:
        values = measure.weighted(judged, weights)
        for row, value in zip(weights, values):
            again = np.repeat(np.arange(80), row.astype(int))
            assert measure.value(Judged.of(judged.chance[again], judged.truth[again], again, threshold=0.5)) == pytest.approx(value, abs=1e-9), measure.name


def test_calibration_error_of_known_chances():
    chance = np.repeat(np.arange(10) / 10 + 0.05, 20)
    truth = np.concatenate([np.arange(20) < round(20 * p) for p in np.arange(10) / 10 + 0.05])
    exact = Judged.of(chance, truth, np.arange(200), threshold=0.5)
    assert BY_NAME["ECE"].value(exact) == pytest.approx(0, abs=1e-9)
    shifted = Judged.of(np.clip(chance + 0.1, 0, 1), truth, np.arange(200), threshold=0.5)
    assert BY_NAME["ECE"].value(shifted) == pytest.approx(0.095, abs=1e-6), "0.1 in nine bins, 0.05 in the last, which stops at 1"
    rng = np.random.default_rng(1)
    uniform = rng.random(200)
    drawn = [BY_NAME["ECE"].value(Judged.of(uniform, rng.random(200) < uniform, np.arange(200), threshold=0.5)) for _ in range(100)]
    assert expected_ece(Judged.of(uniform, uniform > 2, np.arange(200), threshold=0.5), rng) == pytest.approx(np.mean(drawn), rel=0.1)


def test_a_planted_gap_is_shown_with_its_size_and_named():
    clf, test = scores(500, seed=2, lower=1.2)
    result = audit(clf, test, by=("sex", "age"), intersections=False, **QUICK)
    said = result.verdicts().set_index("attribute")
    assert said["verdict"].to_dict() == {"sex": SHOWN, "age": NOT_SHOWN} and said.loc["sex", ["worst", "best"]].tolist() == ["F", "M"]
    true = norm.cdf(0.75) - norm.cdf(0.75 - 1.2)
    tpr = result.gaps().set_index(["attribute", "metric"]).loc[("sex", "TPR")]
    assert tpr["low"] < true < tpr["high"] and tpr["low"] > 0.2 and tpr["p_adjusted"] <= 0.05 and tpr["p"] <= tpr["p_adjusted"]
    assert [note.split(".")[0].split(",")[0] for note in result.caveats()[:2]] == ["sex: gap shown", "age: no gap shown"]
    worst = result.worst().set_index("metric")
    assert worst.loc["TPR", "group"] == "F" and worst.loc["AUC", "group"] == "F" and worst.loc["TPR", "n"] > 0


def test_unequal_prevalence_alone_accuses_nobody():
    """One in ten women and six in ten men have the finding; at equal truth their scores are alike. Brier differs, and rightly leads to no verdict."""
    verdicts, brier = [], []
    for seed in range(40):
        clf, test = scores(300, seed=100 + seed, prevalence=(0.1, 0.6))
        judged = Judged.of(clf.predict(test)["p_finding_present"].to_numpy(), test.table["finding"] == "present", np.arange(300), threshold=0.5)
        result = audit(clf, test, by="sex", min_positives=5, **QUICK) if seed < 2 else None
        one = Attribute.of(test.table["sex"], judged, PEOPLE, MEASURES, fewest=5)
        found = permutation_null(judged, [one], [m for m in MEASURES if m.accuses], permutations=99, seed=seed)
        verdicts.append(min(found.adjusted.values()) <= 0.05)
        brier += [result.gaps().set_index("metric").loc["Brier"]] if result else []
    assert sum(verdicts) <= 6, "binomial with a chance of .05: more than 6 of 40 happens once in 100"
    assert all(row["verdict"] == "" and np.isnan(row["p"]) for row in brier)


def test_clusters_are_not_counted_as_independent():
    """Twenty films of each patient repeat each other: a gap that would be sure among so many patients is not."""
    rng = np.random.default_rng(3)
    truth, sex = np.arange(40) % 2 == 0, np.where(np.arange(40) % 4 < 2, "F", "M")
    chance = np.clip(0.5 + 0.25 * truth + rng.normal(0, 0.3, 40) - 0.12 * (truth & (sex == "F")), 0.01, 0.99)
    clf, many = told(np.repeat(chance, 20), np.repeat(truth, 20), sex=np.repeat(sex, 20), patient_id=[f"p{i}" for i in range(800)])
    together = Cohort(many.images, many.table.assign(patient_id=[f"p{i // 20}" for i in range(800)]), PEOPLE, many.provenance)
    apart, joined = (audit(clf, cohort, by="sex", min_positives=5, **QUICK) for cohort in (many, together))
    widths = [cell(result, "F", "TPR")["high"] - cell(result, "F", "TPR")["low"] for result in (apart, joined)]
    assert widths[1] > 3 * widths[0] and joined.gaps()["p"][0] > apart.gaps()["p"][0] and joined.verdicts()["verdict"][0] == NOT_SHOWN


def films(seed: int, *, tied: bool = False) -> tuple[Judged, pd.DataFrame]:
    """Forty patients of eight films who differ much from each other, whose chances depend on no group; site and view vary within a patient.

    Args:
        tied: the positives of a patient are of one view, most negatives of the other.
    """
    rng, patient = np.random.default_rng(seed), np.repeat(np.arange(40), 8)
    truth, first = rng.random(320) < 0.5, (np.arange(40) % 2 == 0)[patient]
    view = (truth == first) ^ (rng.random(320) < 0.05) if tied else rng.random(320) < 0.5
    score = truth + rng.normal(0, 2, 40)[patient] + rng.normal(0, 0.5, 320)
    labels = {"sex": rng.choice(["F", "M"], 40)[patient], "site": rng.choice(list("abcdef"), 320), "view": np.where(view, "PA", "AP")}
    return Judged.of(1 / (1 + np.exp(-score)), truth, patient, threshold=0.6), pd.DataFrame(labels)


def test_an_attribute_that_varies_within_patients_accuses_no_other():
    """Audited beside the site of each film, sex is tested on whole patients as if it were audited alone."""
    sex, site = [], []
    for seed in range(60):
        judged, labels = films(seed)
        both = [Attribute.of(labels[name], judged, PEOPLE, MEASURES, fewest=5) for name in ("sex", "site")]
        found = permutation_null(judged, both, [BY_NAME["TPR"]], permutations=59, seed=seed)
        assert found.alone["sex", "TPR"] == permutation_null(judged, both[:1], [BY_NAME["TPR"]], permutations=59, seed=seed).alone["sex", "TPR"]
        sex.append(found.alone["sex", "TPR"] <= 0.05)
        site.append(found.alone["site", "TPR"] <= 0.05)
    assert sum(sex) <= 8 and sum(site) <= 8, "binomial with a chance of .05: more than 8 of 60 happens once in 200"


@pytest.mark.parametrize("tied", [False, True])
def test_the_error_of_a_difference_counts_the_patients_that_both_groups_share(tied):
    """Variance of the difference between two views, by group and shared, against a bootstrap of whole patients."""
    judged, labels = films(1, tied=tied)
    codes = (labels["view"] == "PA").to_numpy(int)[judged.order]
    rows, units = np.unique(np.stack([judged.units, codes], 1), axis=0, return_inverse=True)
    weights = patient_weights(judged.units, times=600, rng=np.random.default_rng(0))[1:]
    for name, scatter in (("TPR", Shares(judged, units.ravel(), rows[:, 0], True)), ("AUC", Areas(judged, units.ravel(), rows[:, 0]))):
        found = scatter.by_group(rows[:, 1], 2)
        assert found.values == pytest.approx([BY_NAME[name].value(judged[codes == code]) for code in (0, 1)])
        draws = [BY_NAME[name].weighted(judged[codes == code], weights[:, codes == code]) for code in (0, 1)]
        error = found.relative * found.base
        assert (error.sum() - 2 * found.shared[0, 1]) ** 0.5 == pytest.approx(np.nanstd(draws[1] - draws[0]), rel=0.2)
        assert found.shared[0, 1] * (-1 if tied and name == "AUC" else 1) > 0, "what helps positives here hurts negatives there"


def test_groups_of_a_pair_are_kept_apart_whatever_their_names_hold():
    labels = pd.DataFrame({"origin": ["Black, Hispanic", "Black", "Black", None], "ward": ["A", "Hispanic, A", "A", "A"]}, dtype=object)
    pair = crossed(labels)["origin × ward"]
    assert pair.tolist() == ["Black, Hispanic × A", "Black × Hispanic, A", "Black × A", None]
    schema = Schema((Category("origin", ("Black, Hispanic", "Black")), Category("ward", ("Hispanic, A", "A"))))
    assert order_of("origin × ward", pair, schema) == ["Black, Hispanic × A", "Black × Hispanic, A", "Black × A"]
    for wrong in (labels.rename(columns={"ward": "ward × bed"}), labels.replace("A", "A × B")):
        with pytest.raises(SchemaError, match="is how pairs are written; rename it, or set intersections=False"):
            crossed(wrong)


def test_groups_that_make_no_error_still_have_an_interval():
    truth = np.tile([True, False], 20)
    clf, test = told(np.where(truth, 0.9, 0.1), truth, sex=np.repeat(["F", "M"], 20))
    result = audit(clf, test, by="sex", **QUICK)
    tpr, area, gap = cell(result, "F", "TPR"), cell(result, "F", "AUC"), result.gaps().set_index("metric").loc["TPR"]
    assert tpr["value"] == tpr["high"] == area["value"] == area["high"] == 1 and tpr["low"] < 0.75
    assert area["low"] == pytest.approx(0.025 ** (1 / 10)) and (gap["gap"], gap["low"]) == (0, 0) and gap["high"] > 0.2 and gap["p"] == 1


def test_the_interval_of_the_largest_gap_holds_for_all_pairs():
    rng = np.random.default_rng(4)
    errors, values = np.array([0.03, 0.05, 0.1]), np.array([0.8, 0.8, 0.8])
    inside = []
    for _ in range(200):
        seen = values + rng.normal(0, errors)
        figures = [Figure(v, v + rng.normal(0, e, 300), 0, 1, e) for v, e in zip(seen, errors)]
        gap, low, high = largest_gap([figures])
        assert low <= gap <= high
        inside.append(low == 0)
    assert np.mean(inside) >= 0.91, "no true gap: at most 5 in 100 may lie above 0, give or take chance"


def test_labels_of_a_column_that_no_schema_declares_and_unknown_values():
    clf, test = scores(200, seed=5)
    rng = np.random.default_rng(0)
    table = test.table.assign(ethnicity=rng.choice(["x", "y"], 200), ward=pd.Series(rng.choice([1.0, 2.0], 200)).where(np.arange(200) % 10 > 0))
    table["finding"] = table["finding"].where(np.arange(200) % 20 > 0, None)
    result = audit(clf, Cohort(test.images, table, PEOPLE, test.provenance), by=("ethnicity", "ward"), intersections=False, **QUICK)
    frame = result.frame()
    assert set(frame["group"]) == {"all", "x", "y", "1", "2"} and frame["images"].iloc[0] == 190
    notes = "\n".join(result.caveats())
    assert "10 images without a known true value were left out" in notes and "ward: unknown for 10 images" in notes
    with pytest.raises(SchemaError, match="'weight' has 200 different values and is no factor.*Quantity with cuts"):
        audit(clf, Cohort(test.images, table.assign(weight=rng.random(200)), PEOPLE, test.provenance), by="weight")


def test_thresholds():
    chance, truth = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9]), np.array([0, 0, 1, 0, 1, 1], bool)
    assert youden(chance, truth) == pytest.approx(0.25) and youden(chance, chance > 0.65) == pytest.approx(0.65)
    assert [reaching(chance, truth, share) for share in (0.3, 0.6, 1.0)] == [0.9, 0.7, 0.3]
    clf, test = scores(120, seed=6)
    _, valid = scores(120, seed=7)
    valid = Cohort(valid.images, valid.table.assign(patient_id=[f"v{i}" for i in range(120)]), PEOPLE, valid.provenance)
    result = audit(clf, test, by="sex", valid=valid, sensitivity=0.9, **QUICK)
    assert cell(result, "all", "TPR")["value"] == pytest.approx(0.9, abs=0.08) and any("a sensitivity of 0.9 on 120 validation" in c for c in result.caveats())
    assert any("No validation cohort was given" in note for note in audit(clf, test, by="sex", **QUICK).caveats())
    seen = replace(clf, patients=frozenset({"v3"}))
    assert any("chosen on 1 patient(s) that the classifier was trained" in note for note in audit(seen, test, by="sex", valid=valid, **QUICK).caveats())


def test_one_level_of_many_against_the_rest():
    levels = Category("finding", ("none", "mild", "severe"))
    schema = Schema((levels, *PEOPLE.factors[1:]))
    _, test = scores(150, seed=8)
    grades = np.where(test.table["finding"] == "present", "severe", np.where(np.arange(150) % 2, "none", "mild"))
    test = Cohort(test.images, test.table.assign(finding=grades), schema, test.provenance)

    class Three(Reads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.full((len(x), 1), -9.0), super().forward(x)], 1)

    clf = Predictor.of(Three(), levels, test)
    result = audit(clf, test, by="sex", target_level="severe", **QUICK)
    assert "finding = severe" in result.title and cell(result, "all", "TPR")["n"] == (grades == "severe").sum()
    with pytest.raises(SchemaError, match="levels none, mild, severe; say which counts as positive with target_level="):
        audit(clf, test, by="sex")


def test_the_same_seed_gives_the_same_audit_and_it_shows_itself():
    clf, test = scores(150, seed=9, lower=1.0)
    first, again, other = (audit(clf, test, by="sex", seed=seed, **QUICK) for seed in (0, 0, 1))
    assert first.frame().equals(again.frame()) and first.gaps().equals(again.gaps()) and not first.gaps().equals(other.gaps())
    figure = first.figure()
    assert [a.text for a in figure.layout.annotations] == ["TPR", "FPR", "AUC", "ECE"] and "sex: F" in figure.layout.yaxis.ticktext
    assert "Bias audit of finding = present" in Report("r", [first]).html()


def flipped(cohort: Cohort, schema: Schema = SCHEMA) -> tuple[Predictor, Generator]:
    """A predictor of the lesion from the brightness, and the exact editor of the toy, in which the lesion alone changes it."""

    class Bright(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.flatten(1).mean(1)
            return torch.stack([-4 * mean, 4 * mean], 1)

    return Predictor.of(Bright(), schema["lesion"], cohort), exact_generator(cohort)


def test_an_edit_shows_what_the_attribute_does_and_what_it_does_not():
    test = toy_cohort(60)
    clf, editor = flipped(test)
    result = audit(clf, test, by="sex", editor=editor, flip=("sex", "lesion", "age"), min_positives=5, edits=40, **QUICK).intervention
    rows = result.frame().set_index(["attribute", "measure"])
    chance = rows.loc[("lesion", "mean chance")]
    assert chance["edited"] == pytest.approx(1 / (1 + np.exp(-4)) - 1 / (1 + np.exp(4)), abs=0.01) and chance["verdict"] == DIRECT and chance["n"] == 40
    assert rows.loc[("lesion", "decisions that flip"), "edited"] == 1 and abs(chance["round_trip"]) < 1e-3
    assert rows.loc[("sex", "mean chance"), "edited"] == pytest.approx(0, abs=1e-4) and rows.loc[("sex", "mean chance"), "verdict"] == NONE
    none = rows.loc[("sex", "decisions that flip")]
    assert none["edited"] == none["edited_low"] == 0 < none["edited_high"] == pytest.approx(1 - 0.025 ** (1 / 40))
    assert rows.loc[("sex", "TPR"), "n"] + rows.loc[("sex", "FPR"), "n"] == 40 and rows.loc[("sex", "mean chance"), "n_observed"] == 60
    assert rows.loc[("age", "mean chance"), "contrast"].startswith(">=65 (") and rows["truth"].isna().all()
    assert any("40 of 60 images were edited" in note for note in result.caveats()) and result.figure().data


def test_observed_gaps_stand_beside_the_edit_with_its_sign():
    """Men's films are called more often, but an edit of the sex changes nothing: the gap has another reason."""
    test = toy_cohort(80)
    clf, editor = flipped(test)
    dim = np.where(test.table["sex"] == "F", -0.45, 0.0)[:, None, None, None]
    images = test.space.to_raw(test.images.tensor() + torch.from_numpy(dim).float())
    dimmed = Cohort.of(images, test.table, schema=SCHEMA, space=test.space, provenance=test.provenance)
    result = audit(clf, dimmed, by="sex", editor=editor, threshold=0.7, min_positives=5, edits=40, **QUICK)
    row = result.intervention.frame().set_index("measure").loc["TPR"]
    gap = result.gaps().set_index("metric").loc["TPR"]
    assert row["contrast"] == "M minus F" and row["observed"] == pytest.approx(gap["gap"]) and row["observed"] > 0.9 and row["edited"] == 0
    assert result.verdicts()["verdict"].tolist() == [SHOWN] and row["verdict"] == NONE


def test_the_phantoms_truth_stands_beside_the_edit():
    """An editor that does nothing right (the toy's) beside the exact counterfactual of the phantom: the truth column is the phantom's own."""
    phantom = ChestPhantom(size=32)
    test = phantom.cohort(24, seed=5)

    class Wide(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            level = 3 * x.flatten(1).mean(1) + 0.2
            return torch.stack([-level, level], 1)

    clf = Predictor.of(Wide(), test.schema["effusion"], test)
    facts = exact_generator(toy_cohort(4)).card
    editor = Generator(exact_generator(toy_cohort(4)).recipe, Shift((1, 32, 32), 0.0).requires_grad_(False), test.schema, test.space, facts)
    result = audit(clf, test, by="sex", editor=editor, truth=phantom.counterfactual, min_positives=2, edits=24, **QUICK).intervention
    row = result.frame().set_index("measure").loc["mean chance"]
    chance = [clf.predict(phantom.counterfactual(test, {"sex": sex}))["p_effusion_present"].mean() for sex in "FM"]
    assert row["truth"] == pytest.approx(chance[1] - chance[0], abs=1e-6) and abs(row["truth"]) > 0.002
    assert row["truth_low"] <= row["truth"] <= row["truth_high"]
    assert row["edited"] == pytest.approx(0, abs=1e-4) and any("truth is that of the phantom" in note for note in result.caveats())


def test_contrasts_are_the_levels_or_the_outer_groups():
    test = toy_cohort(40)
    assert [str(c) for c in contrasts(test, "sex")] == ["M minus F"]
    age = contrasts(test, "age")[0]
    old, young = test.table["age"][test.table["age"] >= 65], test.table["age"][test.table["age"] < 40]
    assert (age.high, age.low) == pytest.approx((old.median(), young.median()), abs=1e-5)


class Blind(Network):
    """A network without an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def latent_shape(self) -> tuple[int, ...]:
        return (1, 16, 16)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z


TEST = toy_cohort(40)
CLF, EDITOR = flipped(TEST)
OTHERS = toy_cohort(40, seed=1, prefix="v")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"by": "ward"}, SchemaError, "no column 'ward'; it has image_id"),
        ({"by": "lesion"}, SchemaError, "'lesion' is what is predicted"),
        ({"by": ("sex", "sex")}, SchemaError, "named twice"),
        ({"target": "sex"}, SchemaError, "target='sex' is no category that this predictor gives; it gives lesion"),
        ({"target_level": "maybe"}, SchemaError, "no level of lesion; it has absent, present"),
        ({"clf": replace(CLF, patients=frozenset({"p-3"}))}, LeakageError, "were trained on"),
        ({"valid": TEST}, LeakageError, "both valid and test"),
        ({"valid": OTHERS, "threshold": 0.4}, DataError, "threshold= is given"),
        ({"sensitivity": 0.9}, DataError, "give valid= as well"),
        ({"threshold": 1.4}, DataError, "threshold=1.4: give a number above 0"),
        ({"permutations": 10}, DataError, "permutations be at least 1/alpha"),
        ({"times": 3}, DataError, "times=3"),
        ({"test": TEST.where("lesion == 'present'")}, DataError, "lesion has only one of its values among 20 images"),
        ({"valid": OTHERS.where("lesion == 'present'")}, DataError, "valid: lesion has only one of its values"),
        ({"flip": "sex"}, DataError, "give editor= as well"),
        ({"editor": EDITOR, "flip": "site"}, SchemaError, "flip: the editor does not know 'site'; both know lesion, diameter, sex, age"),
        ({"editor": replace(EDITOR, patients=frozenset({patient_digest("p-3")}))}, LeakageError, "learnt from 1 patient"),
        ({"editor": Generator(EDITOR.recipe, Blind(), SCHEMA, TEST.space, EDITOR.card)}, AbilityError, "cannot edit: its network has no encoder"),
        ({"editor": EDITOR, "test": TEST.where("sex == 'F'")}, DataError, "sex: the cohort has only the group F"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_any_work(changes, kind, message):
    with pytest.raises(kind, match=message):
        audit(**{"clf": CLF, "test": TEST, "by": "sex", **changes})


def test_real_films_get_no_numbers_for_groups_that_are_too_small(real_data, monkeypatch):
    """Effusion by sex and age on films of few patients, read by a stand-in that knows nothing: nobody is accused."""
    monkeypatch.setenv("SYNTHKIT_DATA", str(real_data))
    test = load("nih-cxr64").split((0.5, 0.5))[0]
    rng = np.random.default_rng(0)

    class Guess(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(rng.normal(0, 1, (len(x), 2))).float()

    result = audit(Predictor.of(Guess(), test.schema["effusion"], test), test, by=("sex", "age"), **QUICK)
    frame = result.frame()
    small = frame["reading"] != ""
    assert small.any() and frame.loc[small, "value"].isna().all() and frame.loc[~small, ["low", "high"]].notna().all().all()
    assert SHOWN not in set(result.verdicts()["verdict"]) and any("Too few patients" in note for note in result.caveats())


def test_sensitive_columns_are_audited_by_default():
    names = audit(CLF, TEST, min_positives=2, **QUICK).verdicts()["attribute"].tolist()
    assert names == ["sex", "age", "sex × age"]
    bare = Cohort(TEST.images, TEST.table, Schema(SCHEMA.factors), TEST.provenance)
    with pytest.raises(SchemaError, match="no attribute is given and the schema names no sensitive column"):
        audit(CLF, bare)

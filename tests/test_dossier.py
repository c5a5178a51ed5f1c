"""The dossier: rules fixed before, claims by interval, and nothing that is missing can pass."""
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.provenance import patient_digest
from synthkit.report.dossier.chapters import CHAPTERS
from synthkit.report.dossier.evidence import gathered
from synthkit.report.dossier.from_results import facts_of
from synthkit.report.dossier.risk import HAZARDS
from synthkit.report.dossier.rule import MEETS, NOT_ASSESSED, NOT_MET, OPEN, PASS
from synthkit.report.dossier.status import STATED
from synthkit.studies.hybrid.result import Hybrid
from synthkit.studies.privacy.result import COPYING, Privacy

pytestmark = pytest.mark.filterwarnings("ignore")
PICTURE = "data:image\\u002fpng"  # as JSON inside a page writes it
EARLY = datetime(2020, 1, 1, tzinfo=UTC)


def scores(cohorts=None, *, recall=(0.8, 0.75, 0.85), n=200, at=None, more=()) -> sk.Scores:
    rows = [dict(zip(("metric", "group", "value", "low", "high", "n_real", "n_fake"), ("Recall", "all", *recall, n, n))), *more]
    times = {} if at is None else {"at": at}
    return sk.Scores("Quality of <b>toy</b>", pd.DataFrame(rows).assign(extractor="encoder"), (), cohorts=cohorts or {}, **times)


def utility(test: sk.Cohort, *, low: float = 0.0, cohorts=None) -> "sk.Section":
    from synthkit.metrics.utility import COLUMNS, Utility

    row = {"factor": "lesion", "arm": "synthetic only", "measure": "AUC", "difference": low + 0.02, "diff_low": low, "diff_high": low + 0.04, "n_test": 120,
           "seeds": 3}  # fmt: skip
    return Utility("Utility", pd.DataFrame([row], columns=[*COLUMNS]), (), cohorts={"test": test, **(cohorts or {})})


RECALL = sk.PassRule(section="coverage", measure="Recall", at_least=0.7)
AUC = sk.PassRule(section="utility", measure="AUC difference", group="each", at_least=-0.02)


def plan(tmp_path, *rules, test=None, at=EARLY) -> sk.DossierPlan:
    return sk.DossierPlan("Teaching", rules or (RECALL,), test).freeze(tmp_path / "dossier.plan.json", at=at)


@pytest.mark.parametrize(
    ("rule", "row", "result"),
    [
        ({"at_least": 0.7}, {}, PASS),
        ({"at_least": 0.76}, {}, NOT_MET),  # the value would do, its interval does not
        ({"at_least": 0.76, "judged_by": "value"}, {}, PASS),
        ({"at_most": 0.84}, {}, NOT_MET),
        ({"at_most": 0.85}, {}, PASS),
        ({"at_least": 0.7, "fewest": 201}, {}, NOT_ASSESSED),
        ({"at_least": 0.7}, {"value": np.nan}, NOT_ASSESSED),
        ({"at_least": 0.7}, {"low": np.nan}, NOT_ASSESSED),
        ({"at_most": 2, "of_floor": True}, {"floor_high": 0.425}, PASS),
        ({"at_most": 2, "of_floor": True}, {"floor_high": 0.42}, NOT_MET),
        ({"at_most": 2, "of_floor": True}, {}, NOT_ASSESSED),
    ],
)  # fmt: skip
def test_a_rule_judges_the_end_of_the_interval(rule, row, result):
    measured = {"value": 0.8, "low": 0.75, "high": 0.85, "n": 200, "floor_low": np.nan, "floor_high": np.nan, **row}
    made = sk.PassRule(section="coverage", measure="Recall", **rule)
    assert made.judge(measured, frozen=True)[0] == result
    assert made.judge(measured, frozen=False)[0] == (MEETS if result == PASS else result)


@pytest.mark.parametrize("wrong", [{"section": "beauty"}, {"section": "risk"}, {"at_most": 1}, {"at_least": None}, {"at_least": float("nan")}, {"fewest": 0}, {"judged_by": "eye"}])
def test_rules_that_say_nothing_are_refused(wrong):
    with pytest.raises(sk.DataError):
        sk.PassRule(**{"section": "coverage", "measure": "Recall", "at_least": 0.7, **wrong})


def test_a_plan_is_frozen_once_and_known_again(tmp_path):
    test = toy_cohort(6)
    first = plan(tmp_path, test=test)
    again = sk.DossierPlan("Teaching", (RECALL,), test).freeze(tmp_path / "dossier.plan.json")
    assert again.frozen == first.frozen and first.doubt() == ""
    assert sk.DossierPlan.load(first.frozen.file).rules == first.rules
    assert "image" not in first.frozen.file.read_text().replace('"images"', "") and "p-0" not in first.frozen.file.read_text()
    with pytest.raises(sk.StoreError, match="another plan"):
        sk.DossierPlan("Teaching", (replace(RECALL, at_least=0.1),), test).freeze(first.frozen.file)
    assert "changed" in replace(first, rules=(replace(RECALL, at_least=0.1),)).doubt()


def test_a_changed_plan_file_is_refused(tmp_path):
    file = plan(tmp_path).frozen.file
    file.write_text(file.read_text().replace("0.7", "0.1"))
    with pytest.raises(sk.StoreError, match="changed after it was frozen"):
        sk.Dossier(plan=file, sections=[scores()])
    file.unlink()
    with pytest.raises(sk.StoreError, match="no frozen plan"):
        sk.Dossier(plan=file, sections=[scores()])


def test_claims_carry_the_digest_of_their_evidence(tmp_path):
    dossier = sk.Dossier(plan=plan(tmp_path), sections=[scores(), scores(recall=(0.6, 0.5, 0.7))])
    found = dossier.claims()
    assert found["result"].tolist() == [PASS, NOT_MET] and found["evidence"].tolist() == ["E1", "E2"]
    assert found["sha256"].nunique() == 2 and found["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert dossier.frame().set_index("section").loc["coverage", "status"] == NOT_MET  # one good result does not outweigh a bad one


def test_what_was_measured_before_the_rules_is_not_assessed(tmp_path):
    toy, now = toy_cohort(6), datetime.now(UTC)
    late = plan(tmp_path, at=now + timedelta(hours=1))
    found = sk.Dossier(plan=late, sections=[scores({"test": toy})]).claims()
    assert found["result"].tolist() == [NOT_ASSESSED] and "before the rules were fixed" in found["reason"].iloc[0]
    silent = sk.Dossier(plan=late, sections=[scores({"test": toy}, at="")]).claims()
    assert "does not say when" in silent["reason"].iloc[0]


def test_what_was_measured_on_other_patients_is_not_assessed(tmp_path):
    frozen = plan(tmp_path, test=toy_cohort(12, prefix="t"))
    mine, other = (sk.Dossier(plan=frozen, sections=[scores({"test": toy_cohort(8, prefix=name)})]).claims() for name in ("t", "x"))
    assert mine["result"].tolist() == [PASS] and other["result"].tolist() == [NOT_ASSESSED] and "other patients" in other["reason"].iloc[0]


def test_without_a_frozen_plan_nothing_passes():
    dossier = sk.Dossier(intended_use="Teaching", sections=[scores(), exact_generator(toy_cohort(6)).sample(toy_table(120), seed=1)])
    assert PASS not in set(dossier.claims()["result"]) | set(dossier.frame()["status"]) and MEETS in set(dossier.claims()["result"])


@given(st.sets(st.sampled_from(["scores", "cohort", "generator", "utility", "replay", "verify"]), min_size=1))
def test_a_section_without_evidence_never_passes(chosen):
    import tempfile
    from pathlib import Path

    toy = toy_cohort(8)
    fake = exact_generator(toy).sample(toy_table(6), seed=1)
    pieces = {"scores": scores(), "cohort": fake, "generator": exact_generator(toy), "utility": utility(toy), "replay": PIECES["replay"], "verify": PIECES["verify"]}
    with tempfile.TemporaryDirectory() as place:
        frozen = sk.DossierPlan("Teaching").freeze(Path(place) / "plan.json", at=EARLY)
        dossier = sk.Dossier(plan=frozen, sections=[pieces[name] for name in sorted(chosen)])
        frame, claims = dossier.frame(), dossier.claims()
        assert len(frame) == 20
        for row in frame.itertuples():
            own = claims[claims["section"] == row.section]
            assert (row.status == PASS) <= (len(own) > 0 and (own["result"] == PASS).all()), row.section
            assert row.evidence or row.status != PASS
        assert frame.set_index("section").loc["fit_for_purpose", "status"] == OPEN
        named = set(dossier.unmet()["section"])
        assert {f"{row.number} {row.title}" for row in frame.itertuples() if row.status not in (PASS, STATED)} <= named


def _pieces() -> dict[str, sk.Section]:
    from synthkit.evidence.replay import Replay
    from synthkit.evidence.verify import Verification

    again = pd.DataFrame({"image_id": list("ab"), "grade": ["EXACT", "FAILED"], "max_abs": [0, 9], "psnr": [np.inf, 20], "reason": ["", ""]})
    kept = pd.DataFrame([("manifest", "as saved", ""), ("shard 0", "failed", "")], columns=["part", "result", "detail"])
    return {"replay": Replay("Replay", again), "verify": Verification("Verification", kept)}


PIECES = _pieces()


@pytest.mark.parametrize("learnt", [0, 1, None])
def test_a_generator_that_learnt_from_a_test_patient_is_named(tmp_path, learnt):
    test = toy_cohort(24, prefix="t")
    known = {patient_digest("elsewhere"), *([patient_digest("t-0")] if learnt else [])}
    gen = replace(exact_generator(toy_cohort(6)), patients=frozenset(known if learnt is not None else ()))
    rule = sk.PassRule(section="independence", measure="patients that the generator learnt from", group="each", at_most=0, judged_by="value", fewest=20)
    found = sk.Dossier(plan=plan(tmp_path, rule), sections=[gen, scores({"test": test})]).claims()
    assert found["result"].tolist() == [{0: PASS, 1: NOT_MET, None: NOT_ASSESSED}[learnt]]


def test_patients_shared_with_training_data_are_counted(tmp_path):
    rule = sk.PassRule(section="independence", measure="patients shared with training data", group="each", at_most=0, judged_by="value", fewest=20)
    used = {"test": toy_cohort(24, prefix="t"), "train": toy_cohort(9, prefix="t", per_patient=3)}
    found = sk.Dossier(plan=plan(tmp_path, rule), sections=[scores(used)]).claims()
    assert found["result"].tolist() == [NOT_MET] and found["measured"].iloc[0] == "3"


def validation(tmp_path, *, test=None, rules=(AUC,), learnt=("elsewhere",), used=None, low=0.0, freeze=True, named=True) -> tuple[str, str]:
    test = toy_cohort(40, prefix="t") if test is None else test
    frozen = plan(tmp_path, *rules, test=test if named else None) if freeze else sk.DossierPlan("Teaching", rules, test)
    gen = replace(exact_generator(toy_cohort(6)), patients=frozenset(map(patient_digest, learnt)))
    row = sk.Dossier(plan=frozen, sections=[gen, utility(test, low=low, cohorts=used)]).frame().set_index("section").loc["fit_for_purpose"]
    return row["status"], row["why"]


def test_final_validation_needs_untouched_real_patients_named_before(tmp_path):
    assert validation(tmp_path) == (PASS, "measured by E2 on patients of whom nothing else in this dossier learnt")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"freeze": False}, "never frozen"),
        ({"named": False}, "names no test cohort"),
        ({"learnt": ("t-3",)}, "1 of its patients"),
        ({"learnt": ()}, "names the patients"),
        ({"used": {"judge": toy_cohort(3, prefix="t")}}, "not untouched"),
        ({"low": -0.5}, "does not pass"),
        ({"rules": (RECALL,)}, "no rule speaks"),
        ({"test": exact_generator(toy_cohort(6)).sample(toy_table(30), seed=1)}, "only real patients"),
    ],
)  # fmt: skip
def test_final_validation_stays_open(tmp_path, case, said):
    status, why = validation(tmp_path, **case)
    assert status == OPEN and said in why


def test_the_page_opens_offline_and_holds_no_patient(tmp_path):
    toy = toy_cohort(6)
    twin = sk.counterfactual(exact_generator(toy), toy[:2], do={"lesion": "present"})
    dossier = sk.Dossier(plan=plan(tmp_path), sections=[scores(), toy, twin], patient_images=False)
    page = dossier.save(tmp_path / "dossier.html").read_text()
    body = page.split("</script>", 1)[1]
    assert re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', body) == []
    assert "<b>toy</b>" not in page and "Evidence for review; not a conformity assessment" in page
    assert body.count("Images of patients are left out") == 2
    open_page = sk.Dossier(plan=plan(tmp_path), sections=[toy, twin], patient_images=True).html().split("</script>", 1)[1]
    assert PICTURE in open_page and PICTURE not in body
    told = json.loads(re.search(r'id="dossier">(.*?)</script>', page).group(1))
    assert told["plan"] == dossier.plan.frozen.sha256 and told["claims"][0]["sha256"] == told["evidence"]["E1"]
    assert all(f'id="{chapter.key}"' in page for chapter in CHAPTERS)


def test_results_speak_the_words_of_the_default_rules():
    rules = {(rule.section, rule.measure) for rule in sk.DossierPlan("Teaching").rules}
    groups = [{"metric": "Precision", "group": f"sex={sex}", "value": value, "n_real": 60, "n_fake": 70} for sex, value in (("F", 0.9), ("M", 0.6))]
    spread = [fact for fact in facts_of(scores(more=groups)) if fact.section == "consistency"]
    assert [(fact.measure, fact.group, round(fact.value, 6), fact.n) for fact in spread] == [("spread of Precision over groups", "sex", 0.3, 60)]
    power = pd.DataFrame([{"share": 0.05, "copies": 5, "of": 100, "found": 0.9, "caught": 0.8}])
    told = facts_of(Privacy(COPYING, "because", attacks=pd.DataFrame({"n": [100]}), power=power))
    assert [(fact.measure, fact.group, fact.value) for fact in told] == [("evidence of copying", "all", 1.0), ("planted copies found", "5 %", 0.9)]
    hybrid = facts_of(Hybrid.stored(next(iter(sorted(STORED)))))
    assert {("utility", "AUPRC difference"), ("consistency", "training seeds")} <= {(fact.section, fact.measure) for fact in hybrid} & rules
    fake = exact_generator(toy_cohort(6)).sample(toy_table(30), seed=1)
    facts = {fact.measure: fact.value for fact in facts_of(fake)}
    assert facts["images marked as synthetic"] == 1 and facts["values stated"] == 1 and ("compliance", "images marked as synthetic") in rules
    assert [(f.value, f.n) for f in facts_of(PIECES["replay"])] == [(0.5, 2)] and [f.value for f in facts_of(PIECES["verify"])] == [1]
    assert not facts_of(toy_cohort(6))  # real images prove nothing about synthetic ones


STORED = [path.stem for path in Hybrid.stored.__globals__["STORED"].glob("*.json")]


def test_every_hazard_is_verified_by_rules_there_are():
    known = {(rule.section, rule.measure) for rule in sk.DossierPlan("Teaching").rules}
    assert not {pair for hazard in HAZARDS for pair in hazard.verified_by} - known


def test_a_placed_table_of_measurements_is_judged(tmp_path):
    rule = sk.PassRule(section="compliance", measure="validator errors", at_most=0, judged_by="value", fewest=1)
    table = sk.Measured("dciodvfy", pd.DataFrame({"measure": ["validator errors"], "value": [0.0], "low": [np.nan], "high": [np.nan], "n": [12]}))
    assert sk.Dossier(plan=plan(tmp_path, rule), sections=[("compliance", table)]).claims()["result"].tolist() == [PASS]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sections": []}, "list of evidence"),
        ({"sections": [3]}, "number 1 is a int"),
        ({"sections": [scores()], "intended_use": ""}, "intended_use"),
        ({"sections": [("beauty", scores())]}, "no section"),
        ({"sections": [sk.Measured("x", pd.DataFrame(columns=["measure", "value", "low", "high", "n"]))]}, "nobody knows where"),
        ({"sections": [scores()], "plan": 3}, "plan"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(given, said):
    with pytest.raises(sk.DataError, match=said):
        sk.Dossier(**{"intended_use": "Teaching", **given})


def test_a_plan_keeps_its_intended_use(tmp_path):
    with pytest.raises(sk.DataError, match="belong to the plan"):
        sk.Dossier(plan=plan(tmp_path), intended_use="Diagnosis", sections=[scores()])


def test_evidence_is_known_by_what_it_is():
    first, same, other = (gathered([scores(recall=values)])[0].sha256 for values in ((0.8, 0.7, 0.9), (0.8, 0.7, 0.9), (0.8, 0.7, 0.91)))
    assert first == same != other

"""The dossier: rules fixed before, claims by interval, and nothing that is missing can pass."""
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.provenance import patient_digest
from synthkit.explanation.flip_result import Flip
from synthkit.report.dossier.chapters import CHAPTERS
from synthkit.report.dossier.evidence import gathered
from synthkit.report.dossier.from_results import MEASURED, facts_of
from synthkit.report.dossier.risk import HAZARDS
from synthkit.report.dossier.rule import MEETS, NOT_ASSESSED, NOT_MET, OPEN, PASS
from synthkit.report.dossier.status import STATED
from synthkit.studies.hybrid.result import Hybrid
from synthkit.studies.privacy.result import COPYING, Privacy
from synthkit.studies.reader.result import Readings

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
    return frozen_at(at, sk.DossierPlan("Teaching", rules or (RECALL,), test), tmp_path / "dossier.plan.json")


def frozen_at(at: datetime, plan: sk.DossierPlan, path) -> sk.DossierPlan:
    with mock.patch("synthkit.report.dossier.plan.now", return_value=at.isoformat(timespec="seconds")):
        return plan.freeze(path)


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


@pytest.mark.parametrize(
    "wrong",
    [{"section": "beauty"}, {"section": "risk"}, {"section": "fit_for_purpose"}, {"section": "intended_use"}, {"of_floor": "no"}, {"claim": 3}, {"at_most": 1},
     {"at_least": None}, {"at_least": float("nan")}, {"fewest": 0}, {"judged_by": "eye"}],
)  # fmt: skip
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


@pytest.mark.parametrize("where", [{}, {"given": toy_cohort(6)}, {"synthetic": toy_cohort(6)}])
def test_older_results_pass_nothing_whatever_they_were_measured_on(tmp_path, where):
    late = plan(tmp_path, at=datetime.now(UTC) + timedelta(hours=1))
    assert sk.Dossier(plan=late, sections=[scores(where)]).claims()["result"].tolist() == [NOT_ASSESSED]
    table = sk.Measured("Recall", pd.DataFrame({"measure": ["Recall"], "value": [0.9], "low": [0.8], "high": [1.0], "n": [200]}))
    assert sk.Dossier(plan=late, sections=[("coverage", table)]).claims()["result"].tolist() == [NOT_ASSESSED]


@pytest.mark.parametrize(
    ("at", "said"),
    [("yesterday", "does not say when"), ("2026-01-01T12:00:00", "does not say when"), (None, "does not say when"),
     ("2999-01-01T00:00:00+00:00", "still to come"), ("2020-01-01T08:59:59+09:00", "before the rules")],
)  # fmt: skip
def test_times_are_read_and_not_compared_as_words(tmp_path, at, said):
    found = sk.Dossier(plan=plan(tmp_path), sections=[replace(scores(), at=at)]).claims()
    assert found["result"].tolist() == [NOT_ASSESSED] and said in found["reason"].iloc[0]


def test_a_plan_cannot_be_given_an_older_time(tmp_path):
    with pytest.raises(TypeError):
        sk.DossierPlan("Teaching").freeze(tmp_path / "plan.json", at=EARLY)


def test_what_was_measured_on_nobody_knows_whom_is_not_assessed(tmp_path):
    frozen = plan(tmp_path, test=toy_cohort(12, prefix="t"))
    table = sk.Measured("Recall", pd.DataFrame({"measure": ["Recall"], "value": [0.9], "low": [0.8], "high": [1.0], "n": [200]}))
    found = sk.Dossier(plan=frozen, sections=[scores(), ("coverage", table)]).claims()
    assert found["result"].tolist() == [NOT_ASSESSED] * 2 and found["reason"].str.contains("does not say on which patients").all()


def test_a_part_of_the_patients_named_is_said(tmp_path):
    test = toy_cohort(12, prefix="t")
    part, whole = (sk.Dossier(plan=plan(tmp_path, test=test), sections=[scores({"test": one})]).claims() for one in (test[:8], test))
    assert part["reason"].iloc[0].endswith("on 8 of the 12 patients that the plan names") and "patients" not in whole["reason"].iloc[0]


def test_patients_of_another_source_are_others_whatever_their_names(tmp_path):
    test = toy_cohort(12, prefix="t")
    other = replace(test, provenance=replace(test.provenance, source="elsewhere"))
    assert sk.Dossier(plan=plan(tmp_path, test=test), sections=[scores({"test": other})]).claims()["result"].tolist() == [NOT_ASSESSED]


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
    pieces = {"scores": scores(), "cohort": fake, "generator": exact_generator(toy), "utility": utility(toy), **PIECES}
    with tempfile.TemporaryDirectory() as place:
        frozen = frozen_at(EARLY, sk.DossierPlan("Teaching"), Path(place) / "plan.json")
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


def test_final_validation_needs_all_the_patients_named(tmp_path):
    test = toy_cohort(40, prefix="t")
    gen = replace(exact_generator(toy_cohort(6)), patients=frozenset({patient_digest("elsewhere")}))
    row = sk.Dossier(plan=plan(tmp_path, AUC, test=test), sections=[gen, utility(test[:30])]).frame().set_index("section").loc["fit_for_purpose"]
    assert row["status"] == OPEN and "30 of the 40 patients" in row["why"]


def test_final_validation_needs_the_generator_that_made_the_images(tmp_path):
    other = exact_generator(toy_cohort(6), strength=0.5)
    used = {"synthetic": other.sample(toy_table(6), seed=1)}
    status, why = validation(tmp_path, used=used)
    assert status == OPEN and "not made by a generator among the evidence" in why
    own = {"synthetic": exact_generator(toy_cohort(6)).sample(toy_table(6), seed=1)}
    (tmp_path / "own").mkdir()
    assert validation(tmp_path / "own", used=own)[0] == PASS


def pictured(toy: sk.Cohort) -> dict[str, object]:
    """A result of every kind whose figure shows its patients."""
    from synthkit.report.gallery import Gallery

    class Own(sk.Measured):
        def figure(self):
            return toy.figure()

    gen = exact_generator(toy)
    twin, ones = sk.counterfactual(gen, toy[:2], do={"lesion": "present"}), np.ones(2)
    least = Flip(toy[:2], gen.edit(toy[:2], {"lesion": "present"}), "lesion", "present", ones, ones, np.array(["flipped"] * 2), ones, ones, True)
    pairs = pd.DataFrame({"train_image_id": toy[:2].table["image_id"]})
    rows = pd.DataFrame({"measure": ["a"], "value": [1.0], "low": [1.0], "high": [1.0], "n": [1]})
    return {
        "cohort": toy, "edited": gen.edit(toy[:2], {"lesion": "present"}), "counterfactual": twin, "flip": least,
        "check": replace(sk.check(toy), partner=np.arange(len(toy)) - 1), "gallery": Gallery(toy, toy),
        "privacy": Privacy(COPYING, "because", pairs=pairs, fake=gen.sample(toy_table(2), seed=1), train=toy), "own": ("comprehension", Own("Own", rows)),
    }  # fmt: skip


PICTURED = ("cohort", "edited", "counterfactual", "flip", "check", "gallery", "privacy", "own")


@pytest.mark.parametrize("kind", PICTURED)
def test_no_kind_of_result_shows_a_patient_unasked(kind):
    item = pictured(toy_cohort(6))[kind]
    shut, wide = (sk.Dossier(intended_use="T", sections=[item], patient_images=asked).html().split("</script>", 1)[1] for asked in (False, True))
    assert PICTURE not in shut and "are left out" in shut
    assert PICTURE in wide


def test_synthetic_pictures_and_plots_are_shown():
    toy = toy_cohort(6)
    page = sk.Dossier(intended_use="T", sections=[exact_generator(toy).sample(toy_table(4), seed=1), scores({"test": toy})]).html().split("</script>", 1)[1]
    assert PICTURE in page and "are left out" not in page


def test_what_an_author_wrote_is_escaped_wherever_it_stands():
    page = sk.Dossier(intended_use="<i>x</i>", out_of_scope="<i>x</i>", sections=[replace(scores(), at="<i>x</i>", notes=("<i>x</i>",))]).html()
    assert "<i>x</i>" not in page


@pytest.mark.parametrize(
    "given", [{"rules": None}, {"rules": 3}, {"rules": "abc"}, {"rules": [sk.PassRule]}, {"test": toy_cohort(2)[:0]}, {"out_of_scope": 3}, {"intended_use": 3}]
)
def test_plans_that_say_nothing_are_refused(given):
    with pytest.raises(sk.DataError):
        sk.DossierPlan(**{"intended_use": "Teaching", **given})


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    dossier = sk.Dossier(intended_use="T", sections=[scores()])
    for place in (tmp_path, tmp_path / "file" / "under.html", None):
        for one in (dossier, sk.Report("T", [scores()])):
            with pytest.raises(sk.DataError, match="give a"):
                one.save(place)
    with pytest.raises(sk.StoreError, match="cannot be written"):
        sk.DossierPlan("T").freeze(tmp_path / "file" / "plan.json")
    with pytest.raises(sk.DataError, match="dossier.plan.json"):
        sk.DossierPlan("T").freeze(None)


def test_a_plan_shows_itself_and_names_nobody(tmp_path):
    frozen = plan(tmp_path, test=toy_cohort(12, prefix="t"))
    assert "12 patients" in repr(frozen) and frozen.frozen.at in repr(frozen)
    shown = frozen._repr_html_()
    assert "Recall" in shown and not any(name in repr(frozen) + shown for name in frozen.test.patients)


def test_the_page_opens_offline_and_holds_no_patient(tmp_path):
    toy = toy_cohort(6)
    twin = sk.counterfactual(exact_generator(toy), toy[:2], do={"lesion": "present"})
    dossier = sk.Dossier(plan=plan(tmp_path), sections=[scores(), toy, twin], patient_images=False)
    page = dossier.save(tmp_path / "dossier.html").read_text()
    body = page.split("</script>", 1)[1]
    assert re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', body) == []
    assert "<b>toy</b>" not in page and "Evidence for review; not a conformity assessment" in page
    assert body.count("are left out of this dossier") == 2
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


@pytest.mark.parametrize(("licence", "stated"), [("CC0", 1), ("CC0; CC BY 4.0", 1), ("not stated", 0), ("", 0), ("CC0; not stated", 0)])
def test_a_licence_is_stated_when_all_of_it_is(licence, stated):
    fake = exact_generator(toy_cohort(6)).sample(toy_table(6), seed=1)
    facts = facts_of(replace(fake, provenance=replace(fake.provenance, licence=licence)))
    assert [fact.value for fact in facts if fact.measure == "licence stated"] == [stated]


def test_every_hazard_is_verified_by_rules_there_are():
    known = {(rule.section, rule.measure) for rule in sk.DossierPlan("Teaching").rules}
    assert not {pair for hazard in HAZARDS for pair in hazard.verified_by} - known


def test_a_placed_table_of_measurements_is_judged(tmp_path):
    rule = sk.PassRule(section="compliance", measure="validator errors", at_most=0, judged_by="value", fewest=1)
    table = sk.Measured("dciodvfy", pd.DataFrame({"measure": ["validator errors"], "value": [0.0], "low": [np.nan], "high": [np.nan], "n": [12]}))
    assert sk.Dossier(plan=plan(tmp_path, rule), sections=[("compliance", table)]).claims()["result"].tolist() == [PASS]


def test_tables_that_lack_columns_are_named_and_blanks_are_no_values():
    bare = sk.Measured("Mine", pd.DataFrame({"measure": ["a"], "value": [1.0]}))
    blank = pd.DataFrame([("a", 1.0, None, None, 3)], columns=[*MEASURED], dtype=object)
    with pytest.raises(sk.DataError, match="Mine: the table has no low, high, n"):
        sk.Dossier(intended_use="T", sections=[("coverage", bare)])
    assert np.isnan(gathered([("coverage", sk.Measured("Mine", blank))])[0].facts[0].low)
    assert [fact.group for fact in facts_of(sk.Scores("Mine", pd.DataFrame({"metric": ["Recall"], "value": [0.5]})))] == ["all"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sections": []}, "list of evidence"),
        ({"sections": [3]}, "number 1: got 3"),
        ({"sections": None}, "list of evidence"),
        ({"sections": (one for one in [scores()])}, "list of evidence"),
        ({"sections": "qc"}, "list of evidence"),
        ({"sections": [sk.Generator]}, "the class Generator"),
        ({"sections": [sk.Diffusion()]}, "recipe.fit"),
        ({"sections": [scores()], "patient_images": "no"}, "True or False"),
        ({"sections": [scores()], "out_of_scope": 3}, "out_of_scope"),
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


def test_a_value_that_is_not_there_is_blank_and_not_assessed(tmp_path):
    found = sk.Dossier(plan=plan(tmp_path), sections=[scores(recall=(np.nan,) * 3)]).claims()
    assert found["measured"].tolist() == [""] and found["result"].tolist() == [NOT_ASSESSED]


def test_readers_who_are_always_wrong_tell_the_images_apart(tmp_path):
    rows = pd.DataFrame({"measure": ["right answers"], "reader": ["all readers"], "value": [0.1], "low": [0.05], "high": [0.15], "n": [300]})
    frozen = frozen_at(EARLY, sk.DossierPlan("Teaching"), tmp_path / "plan.json")
    frame = sk.Dossier(plan=frozen, sections=[Readings("Readings", rows)]).frame()
    assert frame.set_index("section").loc["reader_study", "status"] == NOT_MET


def test_evidence_is_known_by_what_it_is():
    now, later = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"
    first, same, other = (gathered([scores(recall=values, at=now)])[0].sha256 for values in ((0.8, 0.7, 0.9), (0.8, 0.7, 0.9), (0.8, 0.7, 0.91)))
    assert first == same != other
    elsewhere = [scores(recall=(0.8, 0.7, 0.9), at=later), *(scores({"test": toy_cohort(6, prefix=name)}, recall=(0.8, 0.7, 0.9), at=now) for name in "ab")]
    assert len({first, *(piece.sha256 for piece in gathered(elsewhere))}) == 4


def test_a_result_on_other_images_than_those_handed_in_proves_nothing(tmp_path):
    gen = exact_generator(toy_cohort(6))
    mine, other = (gen.sample(toy_table(6), seed=seed) for seed in (1, 2))
    frozen = plan(tmp_path)
    found = sk.Dossier(plan=frozen, sections=[mine, scores({"synthetic": other})]).claims()
    assert found["result"].tolist() == [NOT_ASSESSED] * 2 and "not handed in (E1)" in found["reason"].iloc[0]
    part = sk.Dossier(plan=frozen, sections=[mine[:3], scores({"synthetic": mine})]).claims()  # a cohort without those that failed
    assert part["result"].tolist() == [PASS]


def test_a_cohort_that_nothing_was_measured_on_is_named(tmp_path):
    gen = exact_generator(toy_cohort(6))
    mine, other = (gen.sample(toy_table(6), seed=seed) for seed in (1, 2))
    dossier = sk.Dossier(plan=plan(tmp_path), sections=[mine, other, scores({"synthetic": mine})])
    assert dossier.claims()["result"].tolist() == [PASS, NOT_ASSESSED] and "not measured on E2 (6 images)" in dossier.unmet()["reason"].tolist()
    assert dossier.frame().set_index("section").loc["coverage", "status"] == NOT_ASSESSED


def test_an_empty_cohort_is_refused():
    with pytest.raises(sk.DataError, match="no image"):
        sk.Dossier(intended_use="Teaching", sections=[toy_cohort(6)[:0]])

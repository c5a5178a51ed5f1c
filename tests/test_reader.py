"""Reader studies: blinded order, sealed log, and analysis of answers that are known beforehand."""
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from toys import toy_cohort

import synthkit as sk
from synthkit.core.intervals import wilson
from synthkit.studies.reader.burned_in import suspects
from synthkit.studies.reader.log import START, Answer, append, read_log
from synthkit.studies.reader.power import equivalent
from synthkit.studies.reader.sitting import Sitting
from synthkit.studies.reader.study import SYNTHETIC
from synthkit.widgets.reader import ReaderView

REAL = toy_cohort(30, seed=1, prefix="r")
FAKE = replace(toy_cohort(30, seed=2, prefix="f"), provenance=replace(REAL.provenance, kind="synthetic", source="made"))


def study(task: str = "real-or-synthetic", **more) -> sk.ReaderStudy:
    return sk.ReaderStudy(**{"real": REAL, "fake": FAKE, "task": task, **more})


def reads(one: sk.ReaderStudy, log, answer, *, reader: str = "A", until: int | None = None) -> None:
    """A reader who answers every trial by a rule."""
    sitting = Sitting(one, reader=reader, log=log)
    while (trial := sitting.current) is not None and (until is None or len(sitting.done) < until):
        sitting.answer(trial.number, answer(trial), 1.5)


def found(result: sk.Readings, measure: str, reader: str = "all readers") -> pd.Series:
    rows = result.frame().set_index(["measure", "reader"])
    return rows.loc[(measure, reader)]


def test_the_order_is_seeded_balanced_and_repeats_come_later():
    one, again, other = study(), study(), study(seed=1)
    assert one.trials == again.trials and one.digest == again.digest and one.trials != other.trials and one.digest != other.digest
    firsts, repeats = [t for t in one.trials if t.repeat_of < 0], [t for t in one.trials if t.repeat_of >= 0]
    assert len(firsts) == 60 and len(repeats) == 6 and [t.number for t in one.trials] == list(range(66))
    assert sum(t.truth for t in firsts) == 30 and len({t.images for t in firsts}) == 60
    for trial in repeats:
        before = one.trials[trial.repeat_of]
        assert before.images == trial.images and before.truth == trial.truth and before.repeat_of == -1 and trial.number - before.number > 1
    # Neither kind comes first, and the order of the cohorts' rows is gone.
    places = [t.number for t in firsts if t.truth]
    assert abs(np.mean(places) - 32.5) < 9


def test_of_two_images_one_is_real_and_stands_on_either_side():
    trials = study("2afc", repeats=0).trials
    assert len(trials) == 30 and 5 < sum(t.truth for t in trials) < 25
    assert all(t.images[t.truth][0] == "real" and t.images[1 - t.truth][0] == SYNTHETIC for t in trials)


def test_nothing_that_is_shown_tells_which_image_is_real(tmp_path):
    one = study(repeats=0)
    view = sk.read(one, reader="A", log=tmp_path / "log.jsonl")
    state = json.dumps({name: value for name, value in view.get_state().items() if not name.startswith("_")}, default=str)
    assert not any(word in state for word in ("r-image", "f-image", "made", "toy", "truth", "kind"))
    sizes = {one.pictures(trial)[0].shape for trial in one.trials}
    assert sizes == {(16, 16, 3)}


def test_a_perfect_a_guessing_and_a_contrary_reader(tmp_path):
    one, log = study(repeats=0.2), tmp_path / "log.jsonl"
    reads(one, log, lambda t: 5 * t.truth, reader="perfect")
    reads(one, log, lambda t: 5 - 5 * t.truth, reader="contrary")
    result = one.analyse(log)
    assert result.at == result.answers["at"].min()  # not the time of the analysis: rules fixed after reading came too late
    assert found(result, "right answers", "perfect").tolist() == [1.0, *wilson(60, 60), 60]
    assert found(result, "right answers", "contrary")["value"] == 0 and found(result, "AUC of the confidence", "contrary")["value"] == 0
    both = found(result, "right answers")
    assert both["value"] == 0.5 and (both["low"], both["high"]) == (0.0, 1.0)  # one of two readers: nothing is known of others
    assert found(result, "AUC of the confidence")["value"] == 0.5
    assert found(result, "same answer to a repeat", "perfect")["value"] == 1 and found(result, "same answer to a repeat", "perfect")["n"] == 12
    assert found(result, "Cohen's kappa, mean over pairs")["value"] == -1
    assert "is not shown to lie within 10 points of guessing" in " ".join(result.caveats())
    assert found(result, "median time (s)", "perfect")["value"] == 1.5


def test_known_shares_of_right_answers_and_their_auc(tmp_path):
    """Right on 24 of 30 synthetic and 18 of 30 real images, always with the same confidence: AUC is the mean of both shares."""
    one, log, seen = study(repeats=0), tmp_path / "log.jsonl", {0: 0, 1: 0}

    def answer(trial):
        seen[trial.truth] += 1
        right = seen[trial.truth] <= (24 if trial.truth else 18)
        return (4 if trial.truth else 1) if right else (1 if trial.truth else 4)

    reads(one, log, answer)
    result = one.analyse(log)
    assert found(result, "right answers", "A").tolist() == [0.7, *wilson(42, 60), 60]
    assert found(result, "synthetic called synthetic", "A").tolist() == [0.8, *wilson(24, 30), 30]
    assert found(result, "real called real", "A").tolist() == [0.6, *wilson(18, 30), 30]
    auc = found(result, "AUC of the confidence", "A")
    assert auc["value"] == pytest.approx(0.7) and auc["low"] < 0.7 < auc["high"] and auc["high"] - auc["low"] < 0.4
    table = pd.read_csv(result.to_imrmc(tmp_path / "imrmc.csv"))
    assert len(table) == 120 and (table["readerID"] == "-1").sum() == 60 and set(table.loc[table["readerID"] == "A", "score"]) == {2, 5}


def test_plausibility_and_diagnosis_compare_synthetic_with_real(tmp_path):
    rated, log = study("plausibility", repeats=0), tmp_path / "rated.jsonl"
    for reader in "AB":
        reads(rated, log, lambda t: 2 if t.images[0][0] == SYNTHETIC else 4, reader=reader)
    result = rated.analyse(log)
    assert found(result, "rating, synthetic - real").tolist()[:3] == [-2, -2, -2] and found(result, "synthetic called plausible")["value"] == 0
    assert found(result, "Krippendorff's alpha (interval)")["value"] == 1
    asked, log = study("diagnosis", target="lesion", repeats=0), tmp_path / "asked.jsonl"
    assert asked.asked.answers == ("absent", "present")
    reads(asked, log, lambda t: t.truth if t.images[0][0] == "real" else 0)
    result = asked.analyse(log)
    assert found(result, "right on real images")["value"] == 1
    assert found(result, "right on synthetic images")["value"] == (FAKE.table["lesion"] == "absent").mean()
    with pytest.raises(sk.AbilityError, match="confidences"):
        result.to_imrmc(tmp_path / "no.csv")


def test_many_guesses_are_equivalent_to_guessing_and_few_are_not():
    rng = np.random.default_rng(0)
    assert equivalent(rng.binomial(600, 0.5, 400) / 600, margin=0.1) and not equivalent(rng.binomial(40, 0.5, 400) / 40, margin=0.1)


@pytest.mark.parametrize(("reads_", "margin", "power"), [(214, 0.1, 0.8), (271, 0.1, 0.9), (856, 0.05, 0.8), (1083, 0.05, 0.9)])
def test_the_power_planner_agrees_with_the_published_numbers(reads_, margin, power):
    assert sk.equivalence_power(reads_, margin=margin) == pytest.approx(power, abs=0.001)
    needed = sk.reads_needed(margin=margin, power=power)
    assert abs(needed - reads_) <= 1 and sk.equivalence_power(needed, margin=margin) >= power > sk.equivalence_power(needed - 1, margin=margin)


def test_the_power_is_that_of_simulated_studies():
    rng = np.random.default_rng(1)
    share = rng.binomial(400, 0.5, 20_000) / 400
    error = 0.5 / np.sqrt(400) * norm.ppf(0.95)
    assert np.mean((share - error > 0.4) & (share + error < 0.6)) == pytest.approx(sk.equivalence_power(400), abs=0.01)


def test_krippendorffs_alpha_of_the_published_example():
    """Three coders, fifteen units, with gaps: nominal .691, interval .811."""
    gap = np.nan
    ratings = np.array([
        [gap, gap, gap, gap, gap, 3, 4, 1, 2, 1, 1, 3, 3, gap, 3],
        [1, gap, 2, 1, 3, 3, 4, 3, gap, gap, gap, gap, gap, gap, gap],
        [gap, gap, 2, 1, 3, 4, 4, gap, 2, 1, 1, 3, 3, gap, 4],
    ])  # fmt: skip
    assert sk.krippendorff_alpha(ratings) == pytest.approx(0.691358, abs=1e-6)
    assert sk.krippendorff_alpha(ratings, level="interval") == pytest.approx(0.810845, abs=1e-6)
    assert np.isnan(sk.krippendorff_alpha(ratings[:1])) and sk.krippendorff_alpha(np.array([[1, 2, 1], [1, 2, 1]])) == 1
    with pytest.raises(sk.DataError, match="level='ordinary'"):
        sk.krippendorff_alpha(ratings, level="ordinary")


def test_a_reading_goes_on_where_it_was_interrupted_and_the_log_only_grows(tmp_path):
    one, log = study(), tmp_path / "log.jsonl"
    reads(one, log, lambda t: 0, until=10)
    before = log.read_bytes()
    log.write_bytes(before + b'{"study": "broken o')  # the power went off while an answer was written
    reads(one, log, lambda t: 5)
    assert log.read_bytes().startswith(before)
    said = read_log(log)
    assert [a.answer for a in said.answers] == [0] * 10 + [5] * 56 and [a.trial for a in said.answers] == list(range(66)) and said.broken == 1
    assert "1 line(s) of log.jsonl broke off" in " ".join(one.analyse(log).caveats())


@pytest.mark.parametrize("harm", ["edit", "remove", "swap", "insert"])
def test_a_log_that_was_tampered_with_is_refused(tmp_path, harm):
    one, log = study(), tmp_path / "log.jsonl"
    reads(one, log, lambda t: 0)
    lines = log.read_text().splitlines()
    if harm == "edit":
        lines[7] = lines[7].replace('"answer": 0', '"answer": 5')
    elif harm == "remove":
        del lines[7]
    elif harm == "swap":
        lines[7], lines[8] = lines[8], lines[7]
    else:
        lines.insert(7, lines[6].replace('"reader": "A"', '"reader": "B"'))
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(sk.DataError, match="changed, removed or put in"):
        one.analyse(log)


def test_bad_logs_and_names_are_refused(tmp_path):
    one, log, other = study(), tmp_path / "log.jsonl", tmp_path / "other.jsonl"
    log.write_text("")
    with pytest.raises(sk.DataError, match="holds no answer; leave out readers who answered nothing"):
        one.analyse(log)
    with pytest.raises(sk.StoreError, match="cannot be read"):
        one.analyse(tmp_path / "none.jsonl")
    reads(one, log, lambda t: 0)
    reads(one, other, lambda t: 5)  # a second person under the same name, on another machine
    with pytest.raises(sk.DataError, match="'A' answered trial 0 twice: two readers under one name"):
        one.analyse([log, other])
    with pytest.raises(sk.DataError, match="answers to another study"):
        study(seed=4).analyse(log)
    with pytest.raises(sk.DataError, match="answers to another study"):
        sk.read(study(seed=4), reader="A", log=log)
    with pytest.raises(sk.DataError, match="reader=' ': give a name"):
        sk.read(one, reader=" ", log=log)
    with pytest.raises(sk.DataError, match="study: got a Cohort"):
        sk.read(REAL, reader="A", log=log)


def test_two_at_once_under_one_name_are_noticed(tmp_path):
    one, log = study(), tmp_path / "log.jsonl"
    first, second = Sitting(one, reader="A", log=log), Sitting(one, reader="A", log=log)
    first.answer(0, 1, 1.0)
    with pytest.raises(sk.DataError, match="two readers need two names"):
        second.answer(0, 4, 1.0)
    third = Sitting(one, reader="B", log=log)
    third.answer(0, 4, 1.0)
    first.answer(1, 1, 1.0)
    assert [a.reader for a in read_log(log).answers] == ["A", "B", "A"]


def test_an_answer_is_given_once_in_order_and_only_of_those_that_there_are(tmp_path):
    sitting = Sitting(study(), reader="A", log=tmp_path / "log.jsonl")
    for trial, choice, message in ((3, 0, "not the one that is shown"), (0, 6, "answer 6 is none of"), (0, -1, "answer -1 is none of")):
        with pytest.raises(sk.DataError, match=message):
            sitting.answer(trial, choice, 1.0)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "guess"}, "task='guess' is not one of real-or-synthetic"), ({"task": "diagnosis"}, "needs target= with a category"),
        ({"target": "lesion"}, "only that, needs target="), ({"task": "diagnosis", "target": "age"}, "readers choose between the levels"),
        ({"repeats": 0.6}, "repeats=0.6: give a share"), ({"fake": REAL}, "30 image.s. stand in real and in fake"),
        ({"seed": 0.5}, "seed=0.5: give a whole number"), ({"real": REAL[[]]}, "real is empty"),
        ({"fake": toy_cohort(4, size=(8, 8))}, "do not fit together"), ({"fake": FAKE.table}, "fake: got a DataFrame"),
    ],
)  # fmt: skip
def test_impossible_studies_are_refused(change, message):
    with pytest.raises(sk.SynthkitError, match=message):
        study(**{"task": "real-or-synthetic", **change})


def test_the_view_writes_an_answer_shows_the_next_and_says_when_it_could_not(tmp_path):
    log = tmp_path / "log.jsonl"
    view = ReaderView(Sitting(study(), reader="A", log=log))
    first = view.picture
    view.answered = {"trial": 0, "choice": 3, "seconds": 2.25}
    assert view.trial == 1 and view.picture != first and view.turn == 2 and "1 of 66" in view.status
    assert read_log(log).answers[0] == replace(read_log(log).answers[0], trial=0, answer=3, seconds=2.25, reader="A")
    view.answered = {"trial": 7, "choice": 3, "seconds": 1.0}
    assert view.status.startswith("Not written: trial 7 is not the one") and view.trial == 1 and len(read_log(log).answers) == 1
    reads(study(), log, lambda t: 0)
    done = sk.read(study(), reader="A", log=log)
    assert done.trial == -1 and done.question.startswith("Finished") and "who has answered 66" in done.status


def test_a_report_shows_the_readings_and_the_protocol_can_be_printed(tmp_path):
    one, log = study(), tmp_path / "log.jsonl"
    reads(one, log, lambda t: 5 * t.truth)
    assert "Reader study: real-or-synthetic" in sk.Report("Readers", [one.analyse(log)]).html()
    page = one.protocol()
    assert one.digest in page and "66 trials" in page and "surely synthetic" in page and "215" in page and "Signature" in page


def test_burned_in_letters_are_suspected_and_clean_films_are_not():
    films = sk.ChestPhantom(64).cohort(60, seed=3)
    marked = (films.table["marker"] == "present").to_numpy()
    said = suspects(films)
    assert said[marked].mean() > 0.9 and not said[~marked].any() and 5 < marked.sum() < 55


def test_appending_seals_each_line_with_all_before_it(tmp_path):
    path, answer = tmp_path / "log.jsonl", Answer("s", "A", 0, 1, 1.0, "2026-01-01T00:00:00+00:00")
    first = append(path, answer, START)
    second = append(path, replace(answer, trial=1), first)
    assert read_log(path).seal == second != first and len(path.read_text().splitlines()) == 2


def test_a_line_torn_inside_a_letter_and_odd_names_lose_no_answer(tmp_path):
    one, log = study(), tmp_path / "log.jsonl"
    for reader in ("Dr Ärztin", "A\u2028B"):
        reads(one, log, lambda t: 0, reader=reader, until=3)
    log.write_bytes(log.read_bytes() + '{"reader": "Dr Ä'.encode()[:-1])
    assert [a.reader for a in read_log(log).answers] == ["Dr Ärztin"] * 3 + ["A\u2028B"] * 3 and read_log(log).broken == 1


def test_a_file_that_is_no_log_is_neither_read_nor_added_to(tmp_path):
    (tmp_path / "notes.txt").write_text("some\nnotes\n")
    with pytest.raises(sk.DataError, match="is no log of a reader study"):
        sk.read(study(), reader="A", log=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "some\nnotes\n"
    for wrong, message in (([], "logs=.*give the file"), (None, "logs=None: give the file")):
        with pytest.raises(sk.DataError, match=message):
            study().analyse(wrong)
    with pytest.raises(sk.DataError, match="margin='x'"):
        study().analyse(tmp_path / "notes.txt", margin="x")


def test_other_labels_make_another_study_and_a_pair_counts_by_its_patient(tmp_path):
    asked = study("diagnosis", target="lesion")
    flipped = REAL.table.assign(lesion=REAL.table["lesion"].map({"absent": "present", "present": "absent"}), diameter=float("nan"))
    assert study("diagnosis", target="lesion", real=replace(REAL, table=flipped)).digest != asked.digest
    two = replace(REAL, table=REAL.table.assign(patient_id=["a", "b"] * 15))
    pairs, log = study("2afc", real=two, repeats=0), tmp_path / "log.jsonl"
    reads(pairs, log, lambda t: t.truth if dict(t.images)["real"] % 2 else 1 - t.truth)
    result = pairs.analyse(log)
    assert set(result.answers["unit"]) == {"a", "b"}
    shares = found(result, "right answers")
    assert shares["value"] == 0.5 and (shares["low"], shares["high"]) == (0, 1)


ODD = {"choice=1.5": (0, 1.5, 1.0), "choice='1'": (0, "1", 1.0), "seconds=-5": (0, 1, -5), "trial='0'": ("0", 1, 1.0)}


@pytest.mark.parametrize(("message", "said"), ODD.items())
def test_an_answer_of_a_wrong_kind_is_refused(tmp_path, message, said):
    with pytest.raises(sk.DataError, match=message):
        Sitting(study(), reader="A", log=tmp_path / "log.jsonl").answer(*said)


@pytest.mark.parametrize("task", ["2afc", "plausibility"])
def test_the_protocol_promises_what_is_analysed(task):
    page = study(task).protocol()
    assert ("Equivalence with guessing" in page) == (task == "2afc") and ("ROC" in page) is False and ("Mean rating" in page) == (task == "plausibility")

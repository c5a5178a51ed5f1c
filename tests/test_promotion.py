"""Tracking, gates, the registry and what is served: the numbers in MLflow are those of the results, and a worse generator does not come to serve."""
import base64
import io
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import SMALL_NET, pixels, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.provenance import pixel_digest
from synthkit.lifecycle.against import compared, unpaired
from synthkit.lifecycle.gates import NOT_ASSESSED, NOT_MET, PASS, Bound, read_gate, rules_of
from synthkit.lifecycle.promote import _decided
from synthkit.lifecycle.recording import numbers
from synthkit.lifecycle.registry import Champion, current
from synthkit.lifecycle.tracking import VARIABLE, require_database

RECIPE = sk.Diffusion(options=SMALL_NET, batch_size=16, steps=2, learning_rate=4e-3)
GATE = {"KID": ("<", 9.0)}


@pytest.fixture
def tracking(database, monkeypatch):
    """MLflow's client on a database of this module; tracking is off again afterwards."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "synthkit")
    monkeypatch.setenv(VARIABLE, database)
    sk.track(database)
    import mlflow

    yield mlflow.MlflowClient()
    sk.track(None)


@pytest.fixture(scope="module")
def cohorts() -> tuple[sk.Cohort, sk.Cohort, sk.Cohort]:
    return toy_cohort(360).split((0.34, 0.33, 0.33), by="patient_id")


@pytest.fixture(scope="module")
def good(cohorts) -> sk.Generator:
    return RECIPE.fit(cohorts[0], budget="50 steps")


@pytest.fixture(scope="module")
def poor(cohorts) -> sk.Generator:
    return RECIPE.fit(cohorts[0], budget="3 steps")


def runs_of(client, kind: str) -> list:
    experiment = client.get_experiment_by_name("synthkit").experiment_id
    return client.search_runs([experiment], filter_string=f"tags.synthkit = '{kind}'", order_by=["start_time DESC"])


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "/tmp/mlruns", "C:\\mlruns", "ftp://somewhere", "", None, "sqlite://", "sqlite:///:memory:"])
def test_only_a_database_or_a_server_is_an_address(uri):
    with pytest.raises(sk.DataError, match="sqlite:///runs/mlflow.db"):
        require_database(uri)


def test_a_database_a_server_and_a_driver_are_addresses():
    for uri in ("sqlite:///runs/a.db", "postgresql+psycopg2://me@here/runs", "https://mlflow.example"):
        assert require_database(uri) == uri


def test_a_folder_is_refused_before_anything_is_recorded_and_changes_nothing(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(sk.DataError, match="file store"):
        sk.track("./mlruns")
    assert VARIABLE not in os.environ
    with pytest.raises(sk.DataError, match="no tracking address is set"):
        sk.log(toy_cohort(4))
    with pytest.raises(sk.DataError, match="no tracking address is set"):
        sk.champion("anybody")


def test_without_mlflow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(sk.MissingExtraError, match=r"synthkit\[mlops\]"):
        sk.track("sqlite:///nowhere.db")


def test_nothing_is_recorded_unless_an_address_is_set(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("synthkit.lifecycle.recording.record", lambda *given: pytest.fail("it was recorded"))
    RECIPE.fit(toy_cohort(24), budget="1 steps")
    toy_cohort(4).save(tmp_path / "cohort")


def test_telemetry_is_off_before_mlflow_is_asked_anything(tracking):
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and is_telemetry_disabled()


def test_a_fit_is_a_run_with_its_recipe_its_data_and_its_generator(tracking, cohorts):
    import mlflow

    made = RECIPE.fit(cohorts[0], budget="2 steps", seed=5)
    run = runs_of(tracking, "fit")[0]
    assert json.loads(run.data.params["recipe"]) == json.loads(json.dumps(made.recipe.to_json())) and run.data.params["seed"] == "5"
    assert run.data.tags["cohort.version"] == cohorts[0].version and run.data.tags["weights"] == made.weights_digest()
    assert run.data.metrics["steps"] == 2 and run.data.metrics["loss"] == pytest.approx(made.card.training["losses"][-1][1])
    folder = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="generator")
    assert sk.Generator.load(folder).identity() == made.identity()


def test_an_evaluation_is_a_run_with_every_number_its_interval_and_its_n(tracking, cohorts, good):
    train, _, real = cohorts
    found = sk.evaluate(real=real, fake=good.sample(real.table, seed=1), train=train, metrics=[sk.KID()], extractor=pixels)
    (row,), run = found.frame().to_dict("records"), runs_of(tracking, "evaluation")[0]
    for name, key in (("value", "KID all"), ("low", "KID all low"), ("high", "KID all high"), ("n_real", "KID all n_real"), ("floor", "KID all floor")):
        assert run.data.metrics[key] == pytest.approx(row[name])
    assert run.data.tags["test.version"] == real.version and run.data.tags["train.version"] == train.version


def test_scores_by_two_eyes_do_not_hide_each_other():
    rows = pd.DataFrame({"metric": ["KID", "KID"], "group": ["all", "all"], "value": [1.0, 2.0], "extractor": ["one", "two"]})
    assert numbers(rows) == {"KID all": 1.0, "KID all two": 2.0}


def test_a_saved_cohort_is_a_run_with_its_version_and_no_image(tracking, tmp_path):
    cohort = toy_cohort(12)
    cohort.save(tmp_path / "cohort")
    run = runs_of(tracking, "cohort")[0]
    assert run.data.tags["cohort.version"] == cohort.version and run.data.params["images"] == "12"
    assert {file.path for file in tracking.list_artifacts(run.info.run_id)} == {"cohort.json", "counts.csv", "schema.json"}


def test_a_database_out_of_reach_costs_a_warning_and_not_the_training(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/file/runs.db")
    with pytest.warns(UserWarning, match="this fit is not recorded"):
        made = RECIPE.fit(toy_cohort(24), budget="1 steps")
    assert made.card.training["steps"] == 1


def test_log_takes_results_cohorts_and_generators_and_nothing_else(tracking, good):
    plain = sk.Measured("m", pd.DataFrame({"measure": ["a"], "value": [1.5]}))
    kinds = {sk.log(one): kind for one, kind in ((toy_cohort(4), "cohort"), (good, "fit"), (plain, "result"))}
    assert [tracking.get_run(run).data.tags["synthkit"] for run in kinds] == list(kinds.values())
    assert tracking.get_run(list(kinds)[-1]).data.metrics == {"a": 1.5}
    with pytest.raises(sk.DataError, match="a dict cannot be recorded"):
        sk.log({})


@pytest.mark.parametrize(
    ("sign", "bound", "row", "expected"),
    [
        ("<", 0.05, {"value": 0.03, "low": 0.02, "high": 0.04, "n": 200}, PASS),
        ("<", 0.05, {"value": 0.03, "low": 0.00, "high": 0.06, "n": 200}, NOT_MET),  # the value alone would pass
        (">", 0.80, {"value": 0.85, "low": 0.79, "high": 0.90, "n": 200}, NOT_MET),
        (">=", 0.79, {"value": 0.85, "low": 0.79, "high": 0.90, "n": 200}, PASS),
        ("<", 0.05, {"value": 0.03, "low": 0.02, "high": 0.04, "n": 99}, NOT_ASSESSED),
        ("<", 0.05, {"value": 0.03, "low": np.nan, "high": np.nan, "n": 200}, NOT_ASSESSED),
    ],
)
def test_a_gate_is_kept_by_the_end_of_the_interval_and_from_enough_images(sign, bound, row, expected):
    assert Bound("KID", "all", sign, bound).judge(row, frozen=True)[0] == expected


def test_gates_are_read_from_text_and_from_rules():
    first, second = read_gate(["KID<0.05", "Adherence AUC: effusion >= .8"])
    assert (first.measure, first.group, first.sign, first.bound) == ("KID", "all", "<", 0.05)
    assert (second.measure, second.group, second.sign, second.bound) == ("Adherence AUC", "effusion", ">=", 0.8)
    space = toy_cohort(2).space
    rules, metrics, judged = rules_of([*read_gate(["KID<0.05"]), sk.PassRule(section="coverage", measure="Recall", at_least=0.5)], space)
    assert [metric.name for metric in metrics] == ["KID", "Recall"] and not judged and len(rules) == 2
    assert rules_of({sk.Coverage(k=3): (">", 0.5)}, space)[1] == (sk.Coverage(k=3),)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"FID": ("<", 1.0)}, "'FID' is no known metric; there are KID, FrechetDistance, .*Adherence AUC"), ({}, "no rule is given"),
        ({"KID": ("about", 1.0)}, "'about' is no sign"), ({"KID": ("<", "low")}, "KID='low'"), (["KID<1"], "'KID<1' is no rule"), ({"KID": 0.05}, "is no rule"),
        ("KID<1", "got 'KID<1'; give"), (5, "got 5; give"), ({("KID", "sex=F"): ("<", 1.0)}, "KID is measured for all images, not for 'sex=F'"),
        ({"Adherence AUC": (">", 0.8)}, r'give the factor, \("Adherence AUC", "effusion"\)'), (read_gate(["KID:sex<1"]), "not for 'sex'"),
    ],
)  # fmt: skip
def test_a_gate_that_means_nothing_is_refused(gate, message):
    with pytest.raises(sk.DataError, match=message):
        rules_of(gate, toy_cohort(2).space)
    with pytest.raises(sk.DataError, match="is no rule"):
        read_gate(["KID below .05"])


@pytest.mark.parametrize("fewest", [np.nan, 0, 1.5, "many"])
def test_a_gate_asks_for_a_whole_number_of_images(fewest):
    with pytest.raises(sk.DataError, match="fewest="):
        rules_of(GATE, toy_cohort(2).space, fewest=fewest)


def test_a_difference_that_could_not_be_assessed_leaves_the_champion(good):
    holder = Champion("toy", "1", "champion", good)
    given = {"better": "lower", "n": 100, "asked": 2}
    better, same, unknown = (compared(name, "all", value, error, **given) for name, value, error in (("A", -1, 0.1), ("B", 0, 1), ("C", np.nan, np.nan)))
    assert [row["result"] for row in (better, same, unknown)] == ["better", "no difference shown", "not assessed"]
    assert _decided(pd.DataFrame([better, same]), holder, False)[0] == "champion"
    decision, reason = _decided(pd.DataFrame([better, unknown]), holder, False)
    assert decision == "challenger" and "not assessed in C all" in reason
    row = {"metric": "Adherence AUC", "group": "lesion", "value": 0.9, "low": 0.8, "high": 1.0, "n_fake": 100, "better": "higher"}
    scores = pd.DataFrame([row])
    (missing,) = unpaired(scores, scores[:0], [("Adherence AUC", "lesion")], asked=1)
    assert missing["result"] == "not assessed", "the champion has no such score"


@pytest.mark.parametrize("name", ["", "chest/v1", "chest:1", 5])
def test_a_name_that_the_registry_does_not_take_is_refused_first(name, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(sk.DataError, match="name="):
        current(name)


def test_the_better_one_serves_and_the_worse_one_is_refused(tracking, cohorts, good, poor):
    train, _, real = cohorts
    given = {"gate": GATE, "real": real, "train": train, "extractor": pixels, "name": "toy", "seed": 3}
    with pytest.raises(sk.StoreError, match="holds no champion called 'toy'; promote a generator first"):
        sk.champion("toy")
    refused = sk.promote(poor, **{**given, "gate": {"KID": ("<", 1e-9)}})
    assert refused.decision == "refused" and refused.version is None and "NOT MET" in refused.reason and current("toy") is None
    first = sk.promote(poor, **given)
    assert (first.decision, first.version) == ("champion", "1") and sk.champion("toy").generator.identity() == poor.identity()
    second = sk.promote(good, **given)
    difference = second.frame().set_index("check").loc["against the champion"]
    assert (second.decision, second.version) == ("champion", "2") and difference["result"] == "better" and difference["high"] < 0
    assert difference["value"] == pytest.approx(second.frame()["value"].iloc[0] - first.frame()["value"].iloc[0], abs=1e-9)
    assert {alias: int(one) for alias, one in tracking.get_registered_model("toy").aliases.items()} == {"champion": 2, "former-champion": 1}
    worse = sk.promote(poor, **given)
    assert worse.decision == "refused" and "worse than the champion, version 2, in KID all by" in worse.reason and sk.champion("toy").version == "2"
    again = sk.promote(good, **given)
    assert (again.decision, again.version) == ("champion", "2") and "the champion already" in again.reason
    assert {run.data.tags["title"].rsplit(": ")[-1] for run in runs_of(tracking, "result")} >= {"refused", "champion"}


def test_one_that_is_not_shown_to_be_better_stays_challenger(tracking, cohorts, good):
    train, _, real = cohorts
    given = {"gate": {"Coverage": (">", -1.0)}, "real": real, "train": train, "extractor": pixels, "name": "twins"}
    sk.promote(good, **given)
    twin = replace(good, trained=deepcopy(good.trained))
    twin.trained.load_state_dict({name: tensor * (1 + 1e-6) for name, tensor in good.trained.state_dict().items()})
    found = sk.promote(twin, **given)
    assert found.decision == "challenger" and "no difference shown" in found.reason and "The champion stays." in found.reason
    assert sk.champion("twins").version == "1" and sk.champion("twins", alias="challenger").version == "2"


def test_too_few_images_refuse_and_known_patients_are_an_error(tracking, cohorts, good):
    train, judge, real = cohorts
    few = sk.promote(good, gate=GATE, real=real[:60], train=train, extractor=pixels, name="few")
    assert few.decision == "refused" and "n = 60 is under 100" in few.reason
    with pytest.raises(sk.LeakageError, match="learnt from"):
        sk.promote(good, gate=GATE, real=train, name="few")
    with pytest.raises(sk.DataError, match="adherence, which a judge reads"):
        sk.promote(good, gate={("Adherence AUC", "lesion"): (">", 0.5)}, real=real, name="few")


@pytest.mark.slow
def test_adherence_is_a_gate_and_a_missing_row_is_not_passed(tracking, cohorts, good, poor):
    train, judge, real = cohorts
    gate = {("Adherence AUC", "lesion"): (">", 0.9), ("Adherence AUC", "nothing"): (">", 0.1)}
    found = sk.promote(good, gate=gate, real=real, train=train, judge=judge, extractor=pixels, name="obeys").frame().set_index("group")
    assert found.loc["lesion", "result"] == PASS and found["result"].tolist().count(NOT_ASSESSED) == 1
    only = {("Adherence AUC", "lesion"): (">", 0.1)}
    given = {"gate": only, "real": real, "train": train, "judge": judge, "extractor": pixels, "name": "obeys"}
    assert [sk.promote(one, **given).decision for one in (good, poor)] == ["champion", "refused"]


def test_a_champion_of_other_factors_is_not_compared(tracking, cohorts, good):
    train, _, real = cohorts
    sk.promote(good, gate=GATE, real=real, train=train, extractor=pixels, name="schema")
    schema = train.schema.only(("lesion", "sex"))
    other = RECIPE.fit(replace(train, schema=schema), budget="1 steps")
    with pytest.raises(sk.DataError, match="knows other factors"):
        sk.promote(other, gate=GATE, real=replace(real, schema=schema), train=replace(train, schema=schema), extractor=pixels, name="schema")


def test_what_is_served_is_what_the_generator_samples(tracking, cohorts, good):
    import mlflow
    from PIL import Image

    train, _, real = cohorts
    version = sk.promote(good, gate=GATE, real=real, train=train, extractor=pixels, name="served").version
    model, wanted = mlflow.pyfunc.load_model("models:/served@champion"), toy_table(5, seed=8)
    expected = good.sample(wanted, seed=11)
    answer = model.predict(wanted, params={"seed": 11, "form": "npy"})
    arrays = [np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) for text in answer["npy"]]
    np.testing.assert_array_equal(np.stack(arrays), expected.images.raw())
    assert answer["image_id"].tolist() == expected.table["image_id"].tolist() and answer["synthetic"].all()
    pictures = model.predict(wanted, params={"seed": 11})
    opened = [Image.open(io.BytesIO(base64.b64decode(text))) for text in pictures["png"]]
    np.testing.assert_array_equal(np.stack([np.array(one) for one in opened]), expected.images.raw()[:, 0])
    for one, row in zip(opened, pictures.to_dict("records")):
        assert one.text["Description"].startswith("Synthetic; record sha256:") and row["mark"] == one.text["Description"]
        assert json.loads(row["record"])["kind"] == "synthetic" and json.loads(row["record"])["pixels"] == row["pixels"]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/served/{version}"))
    assert not list(folder.rglob("*.pkl")) and (folder / "served.py").is_file()
    misspelt = wanted.rename(columns={"sex": "Sex"})
    for table, params, message in ((wanted, {"form": "gif"}, "form='gif'"), (wanted.assign(seed=1), {}, "the seed is one"), (misspelt, {}, "mean 'sex'")):
        with pytest.raises(mlflow.exceptions.MlflowException, match=message):
            model.predict(table, params=params)


@pytest.mark.slow
def test_the_champion_answers_over_a_socket_with_the_same_bytes(tracking, cohorts, good, database, tmp_path):
    import socket

    from synthkit.lifecycle.serve import serve_command

    train, _, real = cohorts
    sk.promote(good, gate=GATE, real=real, train=train, extractor=pixels, name="socket")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "server.log", "wb") as told:
        server = subprocess.Popen(serve_command(sk.champion("socket").uri, port=port), env=env, cwd=tmp_path, stdout=told, stderr=told, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2)
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()[-3000:]
                time.sleep(0.5)
        wanted = toy_table(6, seed=8)
        split = {"columns": list(wanted), "data": wanted.astype(object).where(wanted.notna(), None).to_numpy().tolist()}
        ask = {"dataframe_split": split, "params": {"seed": 11, "form": "npy"}}
        rows = pd.DataFrame(posted(port, ask)["predictions"])
        expected = good.sample(wanted, seed=11)
        assert rows["pixels"].tolist() == [pixel_digest(expected.images.raw([i])[0]) for i in range(6)]
        arrays = [np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) for text in rows["npy"]]
        np.testing.assert_array_equal(np.stack(arrays), expected.images.raw())
        assert rows["mark"].str.startswith("Synthetic; record sha256:").all()
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(port, {**ask, "params": {"form": "gif"}})
        assert refused.value.code == 400 and b"png, npy" in refused.value.read()
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def posted(port: int, ask: dict) -> dict:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(ask).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_without_a_floor_every_image_counts_and_rules_of_the_floor_keep_one(tracking, cohorts, good):
    train, _, real = cohorts
    plain = sk.promote(good, gate=GATE, real=real, train=train, extractor=pixels, name="plain")
    assert plain.frame()["n"].tolist() == [len(real)] and plain.scores.frame()["floor"].isna().all()
    rule = sk.PassRule(section="congruence", measure="KID", at_most=1000.0, of_floor=True, fewest=10)
    floored = sk.promote(good, gate=[rule], real=real, train=train, name="floored")
    assert floored.frame()["n"].iloc[0] < len(real) and floored.scores.frame()["floor"].notna().all() and "floor" in floored.frame()["reason"].iloc[0]

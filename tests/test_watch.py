"""Watching: what drifts is trained on, measured and promoted; what does not is left alone; and an interrupted watch goes on."""
import json
from dataclasses import replace

import numpy as np
import pytest
from toys import SMALL_NET, PowerCut, pixels, toy_cohort

import synthkit as sk
from synthkit.core.pixels import Pixels
from synthkit.lifecycle.steps import Steps
from synthkit.lifecycle.tracking import VARIABLE
from synthkit.lifecycle.watch import _retrained

RECIPE = sk.Diffusion(options=SMALL_NET, batch_size=16, steps=2, learning_rate=4e-3)
GATE = {"KID": ("<", 9.0)}


@pytest.fixture(scope="module")
def train() -> sk.Cohort:
    return toy_cohort(120, seed=1, prefix="a")


@pytest.fixture(scope="module")
def generator(train) -> sk.Generator:
    return RECIPE.fit(train, budget="50 steps")


@pytest.fixture
def champion(database, generator, train, monkeypatch, request) -> str:
    """The name under which the generator serves in this test."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "synthkit")
    monkeypatch.setenv(VARIABLE, database)
    sk.track(database)
    name = request.node.name
    sk.promote(generator, gate=GATE, real=toy_cohort(50, seed=7, prefix="judged"), train=train, extractor=pixels, name=name, fewest=40)
    yield name
    sk.track(None)


def new_patients(count: int = 110, *, gain: float = 1.0) -> sk.Cohort:
    cohort = toy_cohort(count, seed=3, prefix="b")
    raw = (cohort.images.raw().astype(float) * gain).clip(0, 65535).astype(np.uint16)
    return replace(cohort, images=Pixels([raw], cohort.space))


def watched(new, train, name, run, **more):
    given = {"gate": GATE, "run": run, "name": name, "extractor": pixels, "budget": "40 steps", "times": 199, "fewest": 40, **more}
    return sk.watch(new, train=train, **given)


def test_patients_like_those_before_disturb_nothing(champion, train, tmp_path):
    found = watched(new_patients(80), train, champion, tmp_path / "run")
    assert found.outcome == "quiet" and not found.drift.alarm and found.promotion is None and found.learnt is None
    assert found.frame()["step"].tolist() == ["begin", "drift", "end"] and not (tmp_path / "run" / "generator").exists()
    assert sk.champion(champion).version == "1"


def test_a_new_scanner_is_noticed_learnt_and_its_successor_serves(champion, generator, train, tmp_path):
    import mlflow

    new = new_patients(gain=1.5)
    found = watched(new, train, champion, tmp_path / "run")
    assert found.outcome == "champion" and found.drift.alarm and sk.champion(champion).version == "2"
    difference = found.promotion.frame().set_index("check").loc["against the champion"]
    assert difference["result"] == "better" and difference["high"] < 0
    serving = sk.champion(champion).generator
    learnt, judged = new.split((0.6, 0.4), by="patient_id", seed=0)
    assert serving.knows(learnt).all() and not serving.knows(judged).any()
    assert found.learnt.version == learnt.version == sk.load(tmp_path / "run" / "learnt").version
    lines = [json.loads(line) for line in (tmp_path / "run" / "watch.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["begin", "drift", "train", "promote", "end"] and lines[2]["identity"] == serving.identity()
    runs = mlflow.search_runs(filter_string=f"tags.synthkit = 'watch' and tags.name = '{champion}'", output_format="list")
    assert runs[0].data.tags["outcome"] == "champion"


def test_a_successor_that_fails_its_gate_is_refused_and_the_champion_stays(champion, train, tmp_path):
    found = watched(new_patients(gain=1.5), train, champion, tmp_path / "run", gate={"KID": ("<", -5.0)}, budget="1 steps")
    assert found.outcome == "refused" and "NOT MET" in found.promotion.reason and sk.champion(champion).version == "1"
    assert "no longer fits" in found.caveats()[0]


@pytest.mark.parametrize("cut", ["train", "promote"])
def test_an_interrupted_watch_goes_on_and_does_nothing_twice(champion, train, tmp_path, monkeypatch, cut):
    import synthkit.lifecycle.watch as module

    new, own = new_patients(gain=1.5), module.promote

    def broken(*given, **more):
        own(*given, **more)  # registered, but not yet in the log
        raise PowerCut

    def unsaved(*given, **more):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(*((sk.Generator, "save", unsaved) if cut == "train" else (module, "promote", broken)))
        with pytest.raises(PowerCut):
            watched(new, train, champion, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(module, "drift", lambda *given, **more: pytest.fail("the drift stands in the log"))
        if cut == "promote":
            patched.setattr(sk.Generator, "fine_tune", lambda *given, **more: pytest.fail("the successor is trained already"))
        found = watched(new, train, champion, tmp_path / "run")
    assert found.outcome == "champion" and sk.champion(champion).version == "2" and found.drift is None
    with monkeypatch.context() as patched:
        patched.setattr(module, "promote", lambda *given, **more: pytest.fail("it is promoted already"))
        again = watched(new, train, champion, tmp_path / "run")
    assert again.outcome == "champion" and again.frame().equals(found.frame())
    assert again.figure().layout.title.text == again.title == f"Watch of {champion!r}: champion"


def test_a_folder_belongs_to_one_watch_and_its_log_may_not_be_changed(champion, train, tmp_path):
    new = new_patients(80)
    watched(new, train, champion, tmp_path / "run")
    with pytest.raises(sk.StoreError, match="is the log of another watch .its alpha differ"):
        watched(new, train, champion, tmp_path / "run", alpha=0.05)
    with pytest.raises(sk.StoreError, match="its new differ"):
        watched(new[:60], train, champion, tmp_path / "run")
    for other in ({"extractor": "radiomics"}, {"judge": toy_cohort(20, seed=9, prefix="judge")}):
        with pytest.raises(sk.StoreError, match=f"its {next(iter(other))} differ"):
            watched(new, train, champion, tmp_path / "run", **other)
    log = tmp_path / "run" / "watch.jsonl"
    log.write_text(log.read_text().replace('"alarm": false', '"alarm": true'))
    with pytest.raises(sk.StoreError, match="line 2 was changed"):
        watched(new, train, champion, tmp_path / "run")


def test_without_a_champion_or_with_known_patients_nothing_begins(champion, train, tmp_path):
    with pytest.raises(sk.StoreError, match="holds no champion called 'nobody'"):
        watched(new_patients(80), train, "nobody", tmp_path / "run")
    with pytest.raises(sk.LeakageError, match="both train and new"):
        watched(train, train, champion, tmp_path / "run")
    with pytest.raises(sk.LeakageError, match="learnt from"):
        watched(train, new_patients(80), champion, tmp_path / "run")
    with pytest.raises(sk.FitError, match="budget 'soon'"):
        watched(new_patients(80), train, champion, tmp_path / "run", budget="soon")
    with pytest.raises(sk.DataError, match="'FID' is no known metric"):
        watched(new_patients(80), train, champion, tmp_path / "run", gate={"FID": ("<", 1.0)})
    assert not (tmp_path / "run").exists()


def test_a_log_passes_over_a_line_that_broke_off_and_refuses_one_that_is_missing(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = Steps(path)
    steps.append("one", value=1.5, table=[{"a": float("nan")}])
    steps.append("two")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": "thr')
    again = Steps(path)
    assert [step["step"] for step in again.done] == ["one", "two"] and again.find("one")["table"] == [{"a": None}]
    again.append("three")
    assert [step["step"] for step in Steps(path).done] == ["one", "two", "three"]
    path.write_bytes(whole.splitlines(keepends=True)[1])
    with pytest.raises(sk.StoreError, match="line 1 was changed, removed or put in"):
        Steps(path)


def test_a_log_goes_on_wherever_its_last_line_broke_off(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = Steps(path)
    steps.append("one")
    before = len(path.read_bytes())
    steps.append("two", moved=[{"a": 1}, {"a": 2}])
    whole = path.read_bytes()
    for end in range(before, len(whole)):
        path.write_bytes(whole[:end])
        expected = ["one", "two"] if end == len(whole) - 1 else ["one"]  # only the end of the line is missing
        Steps(path).append("three")
        assert [step["step"] for step in Steps(path).done] == [*expected, "three"], whole[:end]


def test_another_generator_in_the_folder_is_not_taken_for_the_successor(generator, train, tmp_path):
    steps = Steps(tmp_path / "watch.jsonl")
    generator.save(tmp_path / "generator")
    steps.append("train", identity=generator.identity())
    assert _retrained(steps, None, train, tmp_path, "1 steps", 0, print).identity() == generator.identity()
    generator.using(steps=3).save(tmp_path / "generator")
    with pytest.raises(sk.StoreError, match="is not the one that this watch trained"):
        _retrained(steps, None, train, tmp_path, "1 steps", 0, print)


def invoked(*words: str):
    from typer.testing import CliRunner

    from synthkit.__main__ import app

    return CliRunner().invoke(app, list(words))


def test_the_command_line_refuses_before_it_reads_an_image(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    given = ["watch", "no-such-set", "--train", "no-such-set", "--out", str(tmp_path / "out")]
    for words, kind, message in (
        (["--gate", "KID about 1"], sk.DataError, "is no rule"), (["--gate", "KID<1"], sk.DataError, "no tracking address is set"),
        (["--gate", "KID<1", "--tracking", "./mlruns"], sk.DataError, "file store"),
        (["--gate", "KID<1", "--tracking", f"sqlite:///{tmp_path}/runs.db", "--name", "nobody"], sk.StoreError, "no champion called 'nobody'"),
    ):  # fmt: skip
        answer = invoked(*given, *words)
        assert isinstance(answer.exception, kind) and message in str(answer.exception)
    answer = invoked("serve", "nobody", "--tracking", f"sqlite:///{tmp_path}/runs.db")
    assert isinstance(answer.exception, sk.StoreError) and not (tmp_path / "out").exists()
    sk.track(None)


@pytest.mark.slow
def test_the_command_line_watches_and_writes_a_page(champion, database, train, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    train.save(tmp_path / "train")
    for name, gain, outcome in (("same", 1.0, "quiet"), ("moved", 1.5, "refused")):
        new_patients(gain=gain).save(tmp_path / name)
        words = ["watch", str(tmp_path / name), "--train", str(tmp_path / "train"), "--gate", "KID<-5", "--out", str(tmp_path / "out" / name)]
        answer = invoked(*words, "--name", champion, "--budget", "2 steps", "--fewest", "20", "--tracking", database)
        assert answer.exit_code == int(outcome == "refused"), answer.output
        assert f"Watch of '{champion}': {outcome}" in answer.output and "<section" in (tmp_path / "out" / name / "report.html").read_text()
        assert (tmp_path / "out" / name / "watch.jsonl").is_file()

"""Hybrid experiments: planted generators, the order of choice and reading, equal arms, honest intervals, and what is refused."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from toys import SCHEMA, SMALL_NET, PowerCut, toy_cohort, toy_table

from synthkit.core.budget import Minutes, Steps
from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance, patient_digest
from synthkit.core.schema import Category, Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, FitError, LeakageError, SchemaError, StoreError
from synthkit.generators.card import Card
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.metrics.paired import Estimate
from synthkit.nets.network import Batch, EditableNetwork, Network
from synthkit.nets.predictor import FactorPredictor
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import ece
from synthkit.studies.hybrid.arms import (
    ARMS,
    AUGMENTED,
    BALANCED,
    BALANCED_MIX,
    COUNTERFACTUAL,
    DUPLICATED,
    FILTERED,
    NAIVE,
    PRETRAINED,
    REAL_ONLY,
    Arm,
    Candidate,
    candidates,
)  # fmt: skip
from synthkit.studies.hybrid.choice import Choice, choose, cuts
from synthkit.studies.hybrid.design import FRESH, Design
from synthkit.studies.hybrid.effects import Readings, allowance, relative
from synthkit.studies.hybrid.filtering import agreeing, failing, kept
from synthkit.studies.hybrid.fits import ORIGIN, Job, learn, marked
from synthkit.studies.hybrid.hybrid import hybrid
from synthkit.studies.hybrid.ledger import CHOICE, EXPERIMENT
from synthkit.studies.hybrid.measures import average_precision, brier, calibration_error, measured, roc_area, threshold
from synthkit.studies.hybrid.notes import notes
from synthkit.studies.hybrid.pools import CHUNK, Pool, Pools, joined, pools, requests
from synthkit.studies.hybrid.rare import FEWEST_RARE, Rare
from synthkit.studies.hybrid.result import COLUMNS, STORED, Hybrid, rows, said
from synthkit.studies.hybrid.source import origin, prepared
from synthkit.tasks.classifier import Classifier, cell_weights
from synthkit.tasks.predictor import Predictor

APART = 1.6  # distance of the classes in standard deviations of the only direction that tells them apart
SPACE = Space((16, 16), (Channel("grey", high=65535),))
PLACES = (np.arange(16) + 0.5) / 16
BASIS = np.stack([np.outer(np.cos(np.pi * a * PLACES), np.cos(np.pi * b * PLACES)) for a, b in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2))])
TASK = Classifier("lesion", options={"widths": (8, 16)}, batch_size=16, learning_rate=6e-3)
QUICK = Classifier("lesion", backbone="test_hybrid:Plane", augment=False, batch_size=16, learning_rate=3e-2)
RARE = {"lesion": "present", "k": 4}


def waves(count: int, *, seed: int, prefix: str, per_patient: int = 1) -> Cohort:
    """Images of six waves of random heights; the finding raises the first of them, and one patient in five has it."""
    table, rng = toy_table(count, seed=seed, prefix=prefix, per_patient=per_patient), np.random.default_rng(seed + 77)
    ill = (np.arange(count) // per_patient) % 5 == 0
    table = table.assign(lesion=np.where(ill, "present", "absent"), diameter=np.where(ill, 5.0, np.nan))
    heights = rng.normal(0, 1, (count, 6))
    heights[:, 0] += APART * ill
    return Cohort.of(SPACE.to_raw(drawn(torch.from_numpy(heights))), table, schema=SCHEMA, space=SPACE, provenance=Provenance("real", f"{prefix} waves"))


def drawn(heights: torch.Tensor) -> torch.Tensor:
    return 0.12 * torch.einsum("nk,khw->nhw", heights.double(), torch.from_numpy(BASIS))[:, None].float()


class Waves(EditableNetwork):
    """Draws the waves exactly as they are in patients (strength 1), or without any finding (strength 0)."""

    evaluations = 1

    def __init__(self, strength: float):
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(strength), requires_grad=False)

    def latent_shape(self) -> tuple[int, ...]:
        return (6,)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return drawn(z + self.raised(c))

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        flat = torch.from_numpy(BASIS).flatten(1).float()
        return x.flatten(1) @ flat.T / flat.square().sum(1) / 0.12 - self.raised(c)

    def raised(self, c: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(self.strength * APART * c[:, 1:2], (0, 5))


class Plane(torch.nn.Module):
    """A linear classifier, which learns to tell waves apart in a few steps."""

    def __init__(self, *, channels: int, size: tuple[int, ...], outputs: int):
        super().__init__()
        self.plane = torch.nn.Linear(channels * int(np.prod(size)), outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.plane(x.flatten(1))


class Blind(Network):
    """The same without an encoder, as a GAN."""

    evaluations = 1

    def __init__(self):
        super().__init__()
        self.inner = Waves(1.0)

    def latent_shape(self) -> tuple[int, ...]:
        return (6,)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.inner.decode(z, c)


def planted(network: Network, *, schema: Schema = SCHEMA, space: Space = SPACE, patients: tuple[str, ...] = ("elsewhere",)) -> Generator:
    facts = {"source": "elsewhere", "images": 9, "kind": "real", "licence": "CC0", "digest": "0", "provenance": REAL.provenance.to_json()}
    return Generator(Diffusion(), network, schema, space, Card("planted waves", facts, {}), frozenset(map(patient_digest, patients)))


REAL, VALID, TEST = waves(100, seed=1, prefix="r"), waves(100, seed=2, prefix="v"), waves(250, seed=3, prefix="t")
PERFECT, FEW = planted(Waves(1.0)), {"budget": Steps(2), "seeds": [0], "test": TEST[:60]}


def study(**changes: object) -> Hybrid:
    settings = {"task": QUICK, "real": REAL, "valid": VALID, "test": TEST, "generator": PERFECT, "rare": RARE, "arms": (REAL_ONLY, BALANCED, DUPLICATED, NAIVE),
                "shares": (2,), "seeds": range(3), "budget": Steps(25), "progress": False, "jobs": 1, "say": lambda text: None}  # fmt: skip
    return hybrid(**{**settings, **changes})


def design(**changes: object) -> Design:
    settings = {"real": REAL, "valid": VALID, "test": TEST, "rare": Rare.of(RARE), "arms": ARMS, "shares": (1, 2), "seeds": range(3), "budget": Steps(40)}
    return Design.of(QUICK, **{**settings, "most": 999, **changes})


@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> tuple[Hybrid, Path, list[str]]:
    """All arms with a generator that draws what patients look like; its run folder, and what was announced."""
    folder, heard = tmp_path_factory.mktemp("hybrid") / "run", []
    return study(arms=ARMS, run=folder, say=heard.append), folder, heard


def test_a_perfect_generator_is_found_to_help(perfect):
    result, folder, heard = perfect
    assert result.better and result.choice.chosen.arm.synthetic
    first = result.headline[result.headline["measure"] == "AUPRC"].set_index("against")
    assert set(first.index) >= {f"{DUPLICATED.name} x 2", BALANCED.name, REAL_ONLY.name} and (first["diff_low"] > 0).all()
    assert (first.loc[[f"{DUPLICATED.name} x 2", BALANCED.name], "rel_low"] > 0).all() and first["rel_low"].between(-1, first["relative"]).all()
    assert np.allclose(first["difference"], first["value"] - first["baseline"]) and np.allclose(first["relative"], first["value"] / first["baseline"] - 1)
    assert len(heard) == 1 and f"up to {(9 + 5) * 3} classifiers of" in heard[0] and "their filter" in heard[0] and " min" in heard[0]


def test_the_headline_is_read_on_seeds_that_did_not_choose(perfect):
    result, folder, _ = perfect
    keys = [read_manifest(path)["key"] for path in folder.glob("fit-*.json")]
    fresh = [key for key in keys if key["seed"] >= FRESH]
    assert len(keys) == 27 + len(fresh) and len(fresh) == 3 * len(result.choice.read)
    assert {key["seed"] for key in fresh} == {FRESH, FRESH + 1, FRESH + 2} and {key["seed"] for key in keys} - {key["seed"] for key in fresh} == {0, 1, 2}
    assert {key["arm"]["name"] for key in fresh} == {name.split(" x ")[0] for name in result.choice.read}
    assert len(list(folder.glob("test-*.json"))) == len(keys), "both the headline and the exploratory rows are read on test"
    first, rest = (part[part["measure"] == "AUPRC"].set_index("arm")["value"] for part in (result.headline, result.exploratory))
    assert first.iloc[0] != rest[first.index[0]], "a headline that repeats an exploratory row was read on the runs of the choice"
    assert first.iloc[0] == pytest.approx(rest[first.index[0]], abs=0.1)


def test_the_frame_has_every_arm_and_measure_with_its_interval(perfect):
    frame = perfect[0].frame()
    assert tuple(frame.columns) == COLUMNS and len(perfect[0].exploratory) == len(ARMS) * 6
    assert (frame["low"] <= frame["value"]).all() and (frame["value"] <= frame["high"]).all()
    assert (frame["n_test"] == 250).all() and (frame["n_rare"] == 50).all()
    counts = perfect[0].exploratory.drop_duplicates("arm").set_index("arm")
    assert (counts["n_real"] == 84).all(), "80 healthy patients and four ill ones"
    assert counts.loc[[REAL_ONLY.name, f"{DUPLICATED.name} x 2", f"{NAIVE.name} x 2"], "n_added"].tolist() == [0, 168, 168]
    assert counts.loc[f"{BALANCED_MIX.name} x 2", "n_distinct"] == 168 and counts.loc[f"{FILTERED.name} x 2", "n_distinct"] > 100
    assert counts.loc[[f"{DUPLICATED.name} x 2", f"{NAIVE.name} x 2", f"{COUNTERFACTUAL.name} x 2"], "n_distinct"].tolist() == [84, 168, 160]
    reached = perfect[0].exploratory.query("measure == 'specificity'")
    assert reached["value"].between(0.75, 1).all() and (reached["verdict"].isin(["not assessed", "baseline"])).all()


def test_caveats_and_figure_say_what_was_compared(perfect):
    notes, figure = "\n".join(perfect[0].caveats()), perfect[0].figure()
    for words in ("train: 4 of 84 images, 4 patients", "pretrained elsewhere (9 images of elsewhere)", "chosen among 5",
                  "on runs from other seeds", "and many comparisons", "not carry another draw of the k patients", "Filter, rare class:",
                  "overstate a rare class", "threshold counts as fixed", "'naive mix' differs from 'duplicated real' in the images alone",
                  "'duplicated real', 'naive mix' drew every image equally often", "All arms but 'real only' were augmented"):  # fmt: skip
        assert words in notes, words
    assert [title.text for title in figure.layout.annotations][0].startswith("Difference in AUPRC: ")
    drawn_values = [trace for trace in figure.data if trace.name == "value or difference"]
    assert list(drawn_values[0].x) == perfect[0].headline.query("measure == 'AUPRC'")["difference"].tolist()


def test_a_generator_without_the_finding_does_not_pass_for_help():
    result = study(generator=planted(Waves(0.0)), budget=Steps(16))
    assert not result.better
    first = result.headline.query("measure == 'AUPRC'").set_index("against")
    assert first.loc[BALANCED.name, "verdict"] in ("worse", "no difference shown") and first.loc[BALANCED.name, "difference"] < 0.05


class Sealed(Pixels):
    """Pixels that may only be read when the choice is written down."""

    def __init__(self, inner: Pixels, folder: Path):
        super().__init__(inner.parts, inner.space, inner.where)
        self.folder = folder

    def raw(self, rows=None):
        assert (self.folder / CHOICE).is_file(), "a test image was read before the choice"
        return super().raw(rows)

    def take(self, rows):
        return Sealed(super().take(rows), self.folder)


def test_no_test_image_is_read_before_the_choice(tmp_path):
    sealed = replace(TEST[:60], images=Sealed(TEST[:60].images, tmp_path))
    with pytest.raises(AssertionError, match="before the choice"):
        sealed.images.raw()
    assert study(**FEW | {"test": sealed}, run=tmp_path).choice.chosen.arm == NAIVE


def test_a_run_that_broke_off_goes_on_to_the_same_table(tmp_path, monkeypatch):
    arms = {"arms": (REAL_ONLY, BALANCED, DUPLICATED, NAIVE, FILTERED), **FEW}
    whole, fit, fitted = study(**arms), Job.fit, []

    def unsteady(job: Job, *given: object) -> None:
        if len(fitted) == 3:
            raise PowerCut
        fitted.append(job)
        fit(job, *given)

    monkeypatch.setattr(Job, "fit", unsteady)
    with pytest.raises(PowerCut):
        study(run=tmp_path, **arms)
    rest, filtered = [], []
    monkeypatch.setattr(Job, "fit", lambda job, *given: (rest.append(job), fit(job, *given))[1])
    monkeypatch.setattr("synthkit.studies.hybrid.pools.kept", lambda *given: filtered.append(given))
    heard = []
    again = study(run=tmp_path, say=heard.append, **arms)
    total = 5 + len(again.choice.read)
    assert again.frame().equals(whole.frame()) and len(rest) == total - 3 and "3 of 9 classifiers are there" in heard[0] and total == 9
    assert study(run=tmp_path, say=heard.append, **arms).frame().equals(whole.frame()) and len(rest) == total - 3 and not filtered
    assert "up to 0 classifiers" in heard[1] and f"{total} of {total} classifiers are there" in heard[1]
    with pytest.raises(FitError, match=r"holds another experiment \(other arms and shares\); give a new folder"):
        study(run=tmp_path, **arms, shares=(1, 2))
    sick = replace(TEST[:60], table=TEST[:60].table.assign(lesion=np.where(np.arange(60) % 5 == 1, "present", "absent"), diameter=np.nan))
    with pytest.raises(FitError, match=r"holds another experiment \(other test\)"):
        study(run=tmp_path, **arms | {"test": sick})
    damaged = next(tmp_path.glob("test-*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="was changed or damaged"):
        study(run=tmp_path, **arms)


def test_a_refusal_of_the_expected_time_leaves_the_folder_free(tmp_path):
    with pytest.raises(FitError, match="would take about"):
        study(run=tmp_path, limit=0.0001)
    assert not (tmp_path / EXPERIMENT).exists()
    assert study(run=tmp_path, **FEW).choice is not None


@pytest.mark.slow
def test_several_processes_give_the_same_table():
    assert study(budget=Steps(5), jobs=2).frame().equals(study(budget=Steps(5), jobs=1).frame())


def test_every_arm_trains_equally_long_and_as_it_says(monkeypatch):
    calls, fit = [], Classifier.fit

    def noted(recipe: Classifier, train: Cohort, **given: object):
        started = given.get("start") is not None
        calls.append((recipe.augment, given["balance"], len(train), given["budget"].count, started, given["seed"], given["early_stopping"]))
        return fit(recipe, train, **given)

    monkeypatch.setattr(Classifier, "fit", noted)
    real = design().images(design().real)
    for arm in (REAL_ONLY, AUGMENTED, BALANCED):
        learn(QUICK, arm, real=real, added=None, steps=5, seed=7)
    for arm in (NAIVE, BALANCED_MIX, PRETRAINED):
        learn(QUICK, arm, real=real, added=design().images(VALID[:30]), steps=5, seed=7)
    both = ("lesion", ORIGIN)
    assert calls == [(False, None, 84, 5, False, 7, False), (True, None, 84, 5, False, 7, False), (True, "lesion", 84, 5, False, 7, False),
                     (True, None, 114, 5, False, 7, False), (True, both, 114, 5, False, 7, False), (True, "lesion", 30, 2, False, 7, False),
                     (True, "lesion", 84, 3, True, 7, False)]  # fmt: skip


def test_arms_draw_their_images_as_often_as_they_say(monkeypatch):
    """Real images of the rare class are marked by a wave of their own, which no other image has."""
    laid, seen = design(), []
    real, added = laid.images(laid.real), laid.images(VALID[np.argsort(VALID.table["lesion"].to_numpy() == "absent", kind="stable")[:40]])
    ill = laid.rare.positive(real)
    dark = Cohort.of(np.where(ill[:, None, None, None], 0, np.maximum(real.images.raw(), 1)).astype(np.uint16), real.table, schema=real.schema,
                     space=SPACE, provenance=real.provenance)  # fmt: skip
    bright = Cohort.of(np.maximum(added.images.raw(), 1).astype(np.uint16), added.table, schema=added.schema, space=SPACE, provenance=added.provenance)
    step = FactorPredictor.training_step

    def noted(network: FactorPredictor, batch: Batch) -> torch.Tensor:
        marked_rows = (batch.x == -1).flatten(1).all(1).double()
        seen.append((float(marked_rows.mean()), float(batch.c[:, 1].double().mean())))
        return step(network, batch)

    monkeypatch.setattr(FactorPredictor, "training_step", noted)
    # Of 84 real images 4 are ill, of 40 added ones 20: shares of real ill images and of all ill images among those drawn.
    for arm, expected in ((NAIVE, (4 / 124, 24 / 124)), (replace(BALANCED, added="sampled"), (0.5 * 4 / 24, 0.5)), (BALANCED_MIX, (0.25, 0.5))):
        seen.clear()
        learn(replace(QUICK, batch_size=64), arm, real=dark, added=bright, steps=31, seed=0)
        assert np.mean(seen[1:], 0) == pytest.approx(expected, abs=0.03), arm.name


def test_a_network_without_an_encoder_cannot_edit_and_the_arm_is_left_out():
    result = study(generator=planted(Blind()), arms=(REAL_ONLY, BALANCED, DUPLICATED, NAIVE, COUNTERFACTUAL), **FEW)
    assert not result.frame()["arm"].str.contains("counterfactual").any()
    assert any("Diffusion has no encoder, so real images cannot be edited" in note for note in result.caveats())
    assert not any("counterfactual augmentation" in note for note in result.caveats()), "what was left out drew nothing"
    with pytest.raises(DataError, match="no arm with synthetic images is left: Diffusion has no encoder"):
        study(generator=planted(Blind()), arms=(REAL_ONLY, BALANCED, DUPLICATED, COUNTERFACTUAL), **FEW)


def test_a_recipe_learns_from_the_k_shot_patients_alone(tmp_path, capsys):
    laid = design(arms=(REAL_ONLY, BALANCED, DUPLICATED, NAIVE))
    recipe = Diffusion(options=SMALL_NET, steps=1)
    made = prepared(recipe, laid, budget=Steps(2), fine_tune=None, folder=tmp_path)
    assert made.patients == frozenset(map(patient_digest, laid.real.table["patient_id"])) and len(made.patients) == 84
    assert made.card.training["balance"] == "lesion"
    tuned = prepared(made, laid, budget=Steps(9), fine_tune=Steps(3), folder=tmp_path / "tuned")
    assert tuned.card.training["steps"] == 3 and tuned.weights_digest() != made.weights_digest() and "pretrained elsewhere" in origin(tuned, laid, Steps(3))
    result = study(generator=recipe, generator_budget=Steps(2), shares=(0.2,), **FEW)
    assert any("learnt from the same k-shot patients" in note for note in result.caveats()) and set(result.headline["verdict"]) == {"not assessed"}


def test_the_k_shot_set_keeps_all_images_of_k_patients():
    cohort = waves(60, seed=5, prefix="m", per_patient=3)
    table = cohort.table.assign(lesion=cohort.table["lesion"].where(np.arange(60) != 4), diameter=np.nan)
    cohort = Cohort(cohort.images, table, SCHEMA, cohort.provenance)
    few, more = (Rare("lesion", "present", k).shots(cohort).table for k in (1, 2))
    ill = [set(part["patient_id"][part["lesion"] == "present"]) for part in (few, more)]
    assert len(ill[0]) == 1 and len(ill[1]) == 2 and ill[0] < ill[1], "a smaller k keeps some of those that a larger one keeps"
    assert (few["lesion"] == "present").sum() == 3 and (few["lesion"] == "absent").sum() == 47 and few["lesion"].notna().all()
    draws = {tuple(Rare("lesion", "present", 1, seed).shots(cohort).table["patient_id"].unique()) for seed in range(8)}
    assert len(draws) > 1


def test_images_are_added_in_turns_and_a_smaller_share_is_the_start_of_a_larger():
    laid = design()
    sides = {level: np.flatnonzero(VALID.table["lesion"] == level) for level in ("present", "absent")}
    pool = Pool(laid.images(VALID[sides["present"][:3]]), laid.images(VALID[sides["absent"][:5]]))
    many, few = pool.first(10), pool.first(4)
    assert many.table["lesion"].tolist() == ["present", "absent"] * 5 and many.table["image_id"].is_unique
    assert np.array_equal(many.images.raw()[:4], few.images.raw()) and len({row.tobytes() for row in many.images.raw()}) == pool.distinct(10) == 8
    ill, healthy = requests(laid, PERFECT, 200)
    assert set(ill["lesion"]) == {"present"} and set(healthy["lesion"]) == {"absent"} and ill["image_id"].is_unique and len(healthy) == 200
    assert set(ill["age"]) <= set(laid.real.table["age"]) and healthy["diameter"].isna().all()


def test_edited_images_stand_beside_their_originals(tmp_path):
    laid = design(arms=(REAL_ONLY, BALANCED, DUPLICATED, COUNTERFACTUAL), shares=(1,))
    made = pools(laid, PERFECT, seed=0, folder=tmp_path, progress=False)
    pool = made.by_kind["edited"]
    after, before = pool.rare.images.tensor(), pool.other.images.tensor()
    raised, inside = drawn(torch.tensor([[APART, 0, 0, 0, 0, 0]])).expand_as(after), (after.abs() < 0.99) & (before.abs() < 0.99)
    assert len(pool.rare) == 42 and set(pool.rare.table["lesion"]) == {"present"} and set(pool.other.table["lesion"]) == {"absent"}
    assert inside.float().mean() > 0.9 and torch.allclose((after - before)[inside], raised[inside], atol=2e-3)
    assert pools(laid, PERFECT, seed=0, folder=tmp_path, progress=False).by_kind["edited"].rare.table.equals(pool.rare.table)


def test_the_filter_drops_copies_of_training_images_and_images_of_the_other_class():
    laid = design(real=waves(300, seed=9, prefix="big"), rare=Rare("lesion", "present", 60), budget=Steps(60))
    ill, healthy = (laid.images(waves(400, seed=11, prefix="s")[np.arange(400) % 5 == place]) for place in (0, 1))
    copied = laid.images(laid.real)[np.flatnonzero(laid.rare.positive(laid.real))[:10]]
    copied.table["image_id"], copied.table["patient_id"] = [f"copy-{i}" for i in range(10)], [f"copy-{i}" for i in range(10)]
    broken, sound = (failing(laid.images(laid.real), side) for side in (copied, ill))
    assert broken["duplicate"].all() and sound.any(axis=1).mean() < 0.2
    wrong = replace(healthy, table=healthy.table.assign(lesion="present", image_id=[f"wrong-{i}" for i in range(80)]))
    chosen, why, notes = kept(laid, ill + wrong + copied, healthy, 500)
    names = chosen[0].table["image_id"]
    right, others = (names.str.startswith(prefix).sum() for prefix in ("s-", "wrong"))
    assert right > 1.5 * others and not names.str.startswith("copy").any() and why == "" and len(notes) == 2 and "of 170 images pass" in notes[0]
    assert "7% are near copies" in notes[0] and "by heart" not in "".join(notes)
    twice = replace(copied, table=copied.table.assign(image_id=[f"again-{i}" for i in range(10)], patient_id=[f"again-{i}" for i in range(10)]))
    assert "learnt them by heart" in kept(laid, copied + twice + ill[:5], healthy, 500)[2][1]


def test_the_filter_asks_for_the_very_level_of_each_image():
    grades = Schema((Category("grade", ("none", "mild", "severe")),))
    table = pd.DataFrame({"image_id": list("abcd"), "patient_id": list("abcd"), "grade": ["none", "mild", "mild", "severe"]})
    shades = np.array([0, 30000, 65535, 65535], np.uint16)[:, None, None, None].repeat(16, 2).repeat(16, 3)
    side = Cohort.of(shades, table, schema=grades, space=SPACE, provenance=REAL.provenance)
    # Dark is "none", middle "mild" and bright "severe": the third image was asked to be mild and is severe.
    judge = Predictor(Shades(), grades, SPACE)
    assert agreeing(judge, side, Rare("grade", "severe", 1)).tolist() == [True, True, False, True]


class Shades(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x.mean((1, 2, 3))[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs() * 10


def test_cohorts_are_joined_at_once_as_they_are_by_turns():
    parts = [VALID[:3], VALID[3:4], VALID[4:9]]
    whole = joined(parts)
    assert whole.table.equals((parts[0] + parts[1] + parts[2]).table) and np.array_equal(whole.images.raw(), VALID.images.raw(range(9)))
    assert whole.provenance == VALID.provenance and whole.schema == VALID.schema


def test_many_images_are_edited_in_pieces(tmp_path, monkeypatch):
    sizes, edit = [], Generator.edit
    monkeypatch.setattr(Generator, "edit", lambda generator, cohort, do: (sizes.append(len(cohort)), edit(generator, cohort, do))[1])
    laid = design(arms=(REAL_ONLY, BALANCED, DUPLICATED, COUNTERFACTUAL), shares=(2,))
    pools(laid, PERFECT, seed=0, folder=tmp_path, progress=False)
    assert sizes == [CHUNK, 80 - CHUNK]


def test_measures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, weights = rng.random(80) < 0.3, rng.integers(0, 4, (5, 80)).astype(float)
    chance = np.round(np.clip(0.3 * truth + rng.random(80) * 0.7, 0, 1), 1)
    for one in weights:
        assert average_precision(chance, truth, one[None])[0] == pytest.approx(average_precision_score(truth, chance, sample_weight=one))
        assert roc_area(chance, truth, one[None])[0] == pytest.approx(roc_auc_score(truth, chance, sample_weight=one))
    assert brier(chance, truth, weights)[2] == pytest.approx(np.average((chance - truth) ** 2, weights=weights[2]))
    nobody = np.where(truth, 0.0, weights[:1])
    assert np.isnan(average_precision(chance, truth, nobody)[0]) and np.isnan(roc_area(chance, truth, nobody)[0]) and np.isnan(
        average_precision(chance, truth, np.where(truth, weights[:1], 0))[0]
    )


def test_calibration_error_and_threshold_by_hand():
    chance, truth = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, True, True, True])
    # Two groups of equal chances, each in a bin of its own: |0.1 - 1/2| and |0.9 - 1|, half of the images each.
    assert calibration_error(chance, truth, np.ones((1, 4)))[0] == pytest.approx((0.4 + 0.1) / 2)
    rng = np.random.default_rng(3)
    chance, weights = np.round(rng.random(90), 2), rng.integers(0, 3, (20, 90)).astype(float)
    truth = rng.random(90) < chance
    order = np.argsort(chance, kind="stable")
    audited = Judged.of(chance, truth, np.arange(90), threshold=0.5)
    assert calibration_error(chance, truth, weights) == pytest.approx(ece(audited, weights[:, order])), "as an audit measures it"
    assert np.isnan(calibration_error(chance, truth, np.zeros((1, 90))))
    negatives = np.linspace(0, 1, 101)
    cut = threshold(np.append(negatives, [0.95, 0.2]), np.append(np.zeros(101, bool), [True, True]))
    assert (negatives <= cut).mean() >= 0.9 > (negatives < cut - 0.005).mean()
    every = np.ones((1, 103))
    chances, ill = np.append(negatives, [0.95, 0.2]), np.append(np.zeros(101, bool), [True, True])
    assert measured("sensitivity", chances, ill, every, cut=cut)[0] == 0.5 and measured("specificity", chances, ill, every, cut=cut)[0] >= 0.9


def readings(shift: float, *, trial: int = 0, seeds: int = 3, patients: int = 80, positives: int = 27) -> Readings:
    """Two arms whose scores share the patients' luck; the second is better by `shift` standard deviations."""
    rng = np.random.default_rng([trial, int(10 * shift), positives])
    truth, luck = np.arange(patients) < positives, rng.normal(0, 1, patients)
    arms = {}
    for arm, apart in (("a", 1.0), ("b", 1.0 + shift)):
        scores = [apart * truth + luck + rng.normal(0, 0.3, patients) + rng.normal(0, 0.1) * truth for _ in range(seeds)]
        arms[arm] = np.stack([1 / (1 + np.exp(-score)) for score in scores])
    return Readings(arms, {arm: np.full(seeds, 0.5) for arm in arms}, truth, np.arange(patients))


def test_relative_differences_are_ratios_of_means():
    scores = readings(1.0).paired(times=100)["AUPRC"]
    found, itself = relative(scores, "b", "a"), relative(scores, "a", "a")
    assert found.value == pytest.approx(scores.values[1].mean() / scores.values[0].mean() - 1) and found.low < found.value < found.high
    back = relative(scores, "a", "b")
    assert (1 + back.low, 1 + back.high) == pytest.approx((1 / (1 + found.high), 1 / (1 + found.low))), "on the log scale it does not matter which is the base"
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)


@pytest.mark.parametrize(("shift", "positives"), [(0.0, 27), (1.5, 27), (0.0, 5), (1.5, 5)])
def test_intervals_cover_the_truth_about_95_times_in_100(shift, positives):
    """Absolute and relative differences of AUPRC; the truth is the mean over many studies."""
    every = [readings(shift, trial=trial, positives=positives) for trial in range(100)]
    studies = [one.paired(measures=("AUPRC",), times=60, seed=trial)["AUPRC"] for trial, one in enumerate(every)]
    found = [(scores.difference("b", "a"), relative(scores, "b", "a")) for scores in studies]
    for place in (0, 1):
        expected = np.mean([pair[place].value for pair in found])
        assert 0.9 <= np.mean([pair[place].low <= expected <= pair[place].high for pair in found]) <= 1
    sure = np.mean([pair[0].low > 0 for pair in found])
    assert sure <= 0.08 if shift == 0 else sure > 0.5


def test_arms_without_an_error_still_leave_a_difference_open():
    truth = np.arange(40) % 4 == 0
    perfect_chance = np.where(truth, 0.9, 0.1)[None].repeat(3, 0)
    scores = Readings({"a": perfect_chance, "b": perfect_chance}, {"a": np.full(3, 0.5), "b": np.full(3, 0.5)}, truth, np.arange(40)).paired(times=50)["AUPRC"]
    assert scores.mean("a").low == pytest.approx(0.025 ** (1 / 10), abs=0.01) and scores.difference("a", "b").high > 0.2
    assert allowance(np.linspace(0.4, 0.6, 9), 10) == 0


@pytest.mark.parametrize(
    ("measure", "change", "seeds", "rare", "expected"),
    [("AUPRC", (0.1, 0.05, 0.2), 3, 8, "better"), ("AUPRC", (0.1, 0.05, 0.2), 2, 8, "not assessed"), ("AUPRC", (0.1, 0.05, 0.2), 3, 7, "not assessed"),
     ("Brier", (0.1, 0.05, 0.2), 3, 8, "worse"), ("ECE", (-0.1, -0.2, -0.05), 3, 8, "better"), ("AUC", (0.0, -0.1, 0.1), 3, 8, "no difference shown"),
     ("specificity", (0.1, 0.05, 0.2), 3, 8, "not assessed")],
)  # fmt: skip
def test_verdicts(measure, change, seeds, rare, expected):
    assert said(measure, Estimate(*change), same=False, seeds=seeds, rare=rare) == expected


@pytest.mark.parametrize(("patients", "told"), [(FEWEST_RARE - 1, False), (FEWEST_RARE, True)])
def test_few_rare_patients_on_test_give_no_verdict_and_no_ratio(patients, told, tmp_path):
    every = readings(1.5, positives=FEWEST_RARE)
    names = {"a": BALANCED.name, "b": f"{NAIVE.name} x 1"}
    scores = Readings({names[arm]: runs for arm, runs in every.chances.items()}, {names[arm]: every.cuts[arm] for arm in names}, every.truth, every.units)
    choice = Choice(Candidate(NAIVE, 1.0), (BALANCED.name,), dict.fromkeys(names.values(), 0.5))
    table = rows(choice, *2 * [scores.paired(times=50)], dict.fromkeys(names.values(), {
        "n_rare": patients, "n_real": 9, "n_added": 9, "n_distinct": 9, "n_test": 80, "seeds": 3, "steps": 9}))  # fmt: skip
    first = table[(table["part"] == "headline") & (table["measure"] == "AUPRC")].iloc[0]
    assert (first["verdict"] == "better") == told and np.isfinite(first["relative"]) == told and first["diff_low"] > 0
    result = Hybrid("few", table)
    back = Hybrid.load(result.save(tmp_path / "few.json"))
    assert back.better == result.better == told
    pd.testing.assert_frame_equal(back.frame(), result.frame(), check_dtype=False, atol=1e-5)


def test_notes_warn_of_few_rare_patients():
    def told(valid: int, test: int) -> str:
        sides = {name: cohort[:number * 5] for name, cohort, number in (("valid", VALID, valid), ("test", TEST, test))}
        return "\n".join(notes(design(**sides), Pools({}, {}), PERFECT, None))

    assert "under 8" not in told(8, 8)
    assert "valid: 7 patients of the rare class, under 8: which arm is chosen" in told(7, 8)
    assert "test: 7 patients of the rare class, under 8: no verdict" in told(8, 7)


def test_an_arm_that_is_chosen_by_luck_is_not_read_by_the_same_luck():
    """All arms are equal. Read on the runs that chose it, the best one passes for better about three times as often as it may, or more."""
    shared, fresh = np.array([chosen_by_luck(trial) for trial in range(100)]).transpose(1, 2, 0)
    assert shared[0].mean() > 0.06 and shared[1].mean() > 0.08, "the fault that fresh seeds are for"
    assert fresh[0].mean() <= 0.06 and abs(fresh[1].mean()) < 0.05


def chosen_by_luck(trial: int, *, seeds: int = 5, spread: float = 0.4) -> list[tuple[float, float]]:
    """Whether the chosen arm passes for better, and its relative gain: on the runs that chose it, and on fresh ones."""
    rng, every = np.random.default_rng([trial, 2]), candidates(ARMS, (0.5, 1, 2))
    valid, test = np.arange(80) % 4 == 0, np.arange(100) % 4 == 0

    def luck() -> dict[str, np.ndarray]:
        return {one.name: rng.normal(0, spread, seeds) for one in every}

    def chances(lucky: dict[str, np.ndarray], truth: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        patients = rng.normal(0, 0.8, len(truth))
        noise = {name: rng.normal(0, 0.6, (seeds, len(truth))) for name in names}
        return {name: 1 / (1 + np.exp(-((1 + lucky[name])[:, None] * truth + patients + noise[name]))) for name in names}

    lucky = luck()
    read = choose(every, chances(lucky, valid, tuple(lucky)), valid).chosen.name, BALANCED.name
    found = []
    for runs in (lucky, luck()):
        readings = Readings(chances(runs, test, read), dict.fromkeys(read, np.full(seeds, 0.5)), test, np.arange(100))
        scores = readings.paired(measures=("AUPRC",), times=40, seed=trial)["AUPRC"]
        found.append((float(scores.difference(*read).low > 0), relative(scores, *read).value))
    return found


def test_the_choice_is_the_best_synthetic_arm_on_validation_and_names_its_baselines():
    truth, rng = np.arange(60) % 3 == 0, np.random.default_rng(0)
    names = candidates((REAL_ONLY, AUGMENTED, BALANCED, DUPLICATED, NAIVE), (1, 2))
    strength = {"naive mix x 2": 0.5, "naive mix x 1": 0.3, "standard augmentation": 0.8}
    chances = {one.name: np.stack([strength.get(one.name, 0.0) * truth + rng.random(60) for _ in range(2)]) for one in names}
    choice = choose(names, chances, truth)
    assert choice.chosen == Candidate(NAIVE, 2.0) and cuts(chances, truth)["real only"].shape == (2,)
    assert choice.against == ("duplicated real x 2", "class-balanced augmentation", "real only", "standard augmentation")
    assert choice.read == ("naive mix x 2", *choice.against)
    same = dict.fromkeys(chances, chances["naive mix x 2"])
    for order in (names, names[::-1]):
        assert choose(order, same, truth).chosen == Candidate(NAIVE, 1.0), "of equal ones the smallest share"


def patients_of(cohort: Cohort, rows: slice) -> tuple[str, ...]:
    return tuple(cohort.table["patient_id"][rows])


LEFT_OUT = tuple(set(REAL.table["patient_id"]) - set(Rare.of(RARE).shots(REAL).table["patient_id"]))
OTHER = Schema((Category("ward", ("a", "b")),))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"rare": {"lesion": "present", "k": 21}}, DataError, "k=21, but only 20 patients of real= have lesion = present; give a k up to 20"),
        ({"rare": {"lesion": "present"}}, SchemaError, 'give one factor with its rare level.*"k": 10'),
        ({"rare": {"lesion": "present", "sex": "F", "k": 3}}, SchemaError, "give one factor"),
        ({"rare": {"lesion": "present", "k": 0}}, SchemaError, "k is 1 or more"),
        ({"rare": {"lesion": "severe", "k": 2}}, SchemaError, "lesion = 'severe' must be one of absent, present"),
        ({"rare": {"age": "70", "k": 2}, "task": "age"}, SchemaError, "age = '70' must be of a category"),
        ({"rare": {"sex": "F", "k": 2}}, SchemaError, "task predicts lesion and rare names sex"),
        ({"valid": VALID[np.flatnonzero(VALID.table["lesion"] == "absent")]}, DataError, "valid: no image with lesion = present among 80"),
        ({"valid": VALID[:5]}, DataError, r"valid: 1 patient\(s\) with lesion = present, and 2 or more are needed \(8 for a verdict\)"),
        ({"test": TEST[:4]}, DataError, r"test: 1 patient\(s\) with lesion = present, and 2 or more are needed"),
        ({"test": TEST[np.flatnonzero(TEST.table["lesion"] == "present")]}, DataError, "test: no known image without lesion = present"),
        ({"test": REAL}, LeakageError, "both real and test"),
        ({"valid": TEST[:60]}, LeakageError, "both valid and test"),
        ({"test": toy_cohort(12, size=(8, 8), prefix="s")}, DataError, "test and real images do not fit together"),
        ({"generator": planted(Waves(1.0), patients=patients_of(TEST, slice(3, 4)))}, LeakageError, r"planted waves learnt from 1 patient\(s\)"),
        ({"generator": planted(Waves(1.0), patients=patients_of(VALID, slice(3, 4)))}, LeakageError, "learnt from 1 patient"),
        ({"generator": planted(Waves(1.0), patients=LEFT_OUT[:1])}, LeakageError, "learnt from 1 patient"),
        ({"generator": planted(Waves(1.0), schema=OTHER)}, SchemaError, "the generator does not know 'lesion'; it knows ward"),
        ({"generator": planted(Waves(1.0), space=Space((8, 8), SPACE.channels))}, DataError, "the generator and real images do not fit together"),
        ({"generator": "diffusion"}, DataError, "give a fitted generator or a recipe such as sk.Diffusion"),
        ({"generator": Diffusion(), "fine_tune": "5 steps"}, DataError, "fine_tune= goes on from a fitted generator"),
        ({"shares": (200,)}, DataError, "share 200 of 84 training images needs 16800 synthetic images, over most=10000"),
        ({"shares": (0,)}, DataError, "give distinct shares above 0"),
        ({"shares": ()}, DataError, "give distinct shares above 0"),
        ({"arms": (BALANCED, DUPLICATED, NAIVE)}, DataError, "arms: 'real only' is missing"),
        ({"arms": (REAL_ONLY, BALANCED, DUPLICATED)}, DataError, "no arm adds synthetic images"),
        ({"arms": ("naive mix",)}, DataError, "'naive mix' is no arm; take them from"),
        ({"seeds": []}, DataError, "give distinct whole numbers"),
        ({"seeds": 5}, DataError, r"seeds=5: one number could be a seed or how many; give range\(5\)"),
        ({"seeds": [0, 0]}, DataError, "give distinct whole numbers"),
        ({"seeds": [0, FRESH]}, DataError, "from 0 to under 1000000"),
        ({"budget": Minutes(1)}, DataError, "equal steps"),
        ({"limit": 0.0001}, FitError, "would take about .* min: up to 24 classifiers of .* limit=0.0001 min. Give fewer seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(changes, kind, message, monkeypatch):
    monkeypatch.setattr(Job, "fit", lambda *given: pytest.fail("a classifier was trained"))
    with pytest.raises(kind, match=message):
        study(**changes)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"added": "sample"}, r"arm 'mine': added='sample' must be one of 'nothing', 'real', 'sampled', 'filtered', 'edited'"),
     ({"balance": "classes"}, "balance='classes' must be one of 'none', 'class', 'class and origin'"), ({"pretrain": True}, "pretrain=True needs added images"),
     ({"balance": "class and origin"}, "balance='class and origin' needs added images"),
     ({"added": "sampled", "pretrain": True, "balance": "class and origin"}, "keeps real and added images apart already")],
)  # fmt: skip
def test_an_arm_that_cannot_be_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        Arm("mine", **given)
    with pytest.raises(DataError, match="give the arm a name"):
        Arm("")


def test_a_classifier_goes_on_from_another_of_the_same_make():
    first = TASK.fit(REAL, budget=Steps(2), early_stopping=False, progress=False)
    still = replace(TASK, learning_rate=1e-12).fit(VALID, budget=Steps(4), early_stopping=False, progress=False, start=first, seed=5)
    assert torch.allclose(still.outputs(TEST.images.tensor(range(8))), first.outputs(TEST.images.tensor(range(8))), atol=1e-4)
    assert still.patients == frozenset(VALID.table["patient_id"]) | first.patients
    with pytest.raises(FitError, match="start predicts .* it must predict"):
        replace(TASK, target="sex").fit(REAL, budget=Steps(1), start=first, progress=False)
    with pytest.raises(FitError, match="start has another backbone than this recipe"):
        replace(TASK, options={"widths": (8, 8)}).fit(REAL, budget=Steps(1), start=first, early_stopping=False, progress=False)


def test_balanced_drawing_shows_each_level_equally_often(monkeypatch):
    seen, step = [], FactorPredictor.training_step
    monkeypatch.setattr(FactorPredictor, "training_step", lambda network, batch: (seen.append(float(batch.c[:, 1].mean())), step(network, batch))[1])
    for balance in (None, "lesion"):
        seen.clear()
        QUICK.fit(REAL, budget=Steps(25), early_stopping=False, progress=False, balance=balance)
        assert np.mean(seen) == pytest.approx(0.5 if balance else 0.2, abs=0.08)
    with pytest.raises(SchemaError, match="unknown factor 'ward'"):
        QUICK.fit(REAL, budget=Steps(1), progress=False, balance="ward")
    both = marked(REAL[:10], "real") + marked(REAL[10:], "added")
    weights = cell_weights(both, ("lesion", ORIGIN))
    cells = pd.Series(weights).groupby([both.table["lesion"], both.table[ORIGIN]]).sum()
    assert len(cells) == 4 and np.allclose(cells, 1) and QUICK.fit(both, budget=Steps(2), progress=False, balance=("lesion", "sex"), early_stopping=False)


def test_a_saved_result_says_the_same_and_a_changed_one_is_refused(perfect, tmp_path):
    result = perfect[0]
    path = result.save(tmp_path / "result.json")
    back = Hybrid.load(path)
    assert back.title == result.title and back.caveats() == result.caveats() and back.better == result.better
    pd.testing.assert_frame_equal(back.frame(), result.frame(), check_dtype=False, atol=1e-5)
    assert back.figure().to_json() and repr(back)
    path.write_text(path.read_text().replace("better", "worse"))
    for call, message in ((lambda: Hybrid.load(path), "changed or damaged"), (lambda: Hybrid.load(tmp_path / "none.json"), "is no file"),
                          (lambda: Hybrid.stored("nonesuch"), "no stored experiment 'nonesuch'")):  # fmt: skip
        with pytest.raises(StoreError, match=message):
            call()


@pytest.mark.parametrize("name", sorted(path.stem for path in STORED.glob("*.json")))
def test_stored_experiments_can_be_read(name):
    told = Hybrid.stored(name)
    first = told.headline[told.headline["measure"] == "AUPRC"]
    assert len(first) == 3 and first["arm"].nunique() == 1 and told.better == (first["diff_low"] > 0).all()
    assert (first["seeds"] == 5).all() and told.exploratory["arm"].nunique() >= 9 and told.caveats() and told.figure().data

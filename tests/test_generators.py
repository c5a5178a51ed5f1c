"""What every generator family promises; each family in synthkit/generators is found and held to it."""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, SMALL_NET, exact_generator, tiny_pipeline, toy_cohort, toy_table

import synthkit.generators
from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance, patient_digest, pixel_digest
from synthkit.core.schema import Schema
from synthkit.errors import AbilityError, DataError, FitError, LeakageError, SchemaError, StoreError
from synthkit.generators.base import RECIPES, Recipe
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.nets.network import Network, Trainable

for module in iter_modules(synthkit.generators.__path__):
    import_module(f"synthkit.generators.{module.name}")
FAMILIES = sorted(name for name, kind in RECIPES.items() if kind.__module__.startswith("synthkit.") and not isabstract(kind))
# Settings that make a family small enough for a test; a new family need not stand here.
SMALL = {"Diffusion": {"options": SMALL_NET, "batch_size": 16, "steps": 8, "learning_rate": 4e-3},
         "VAE": {"options": SMALL_NET, "batch_size": 16, "learning_rate": 4e-3},
         "LatentDiffusion": {"options": SMALL_NET, "codec_options": {"widths": (16, 16)}, "batch_size": 16, "steps": 8, "learning_rate": 4e-3},
         "GAN": {"widths": (32, 16), "batch_size": 16},
         "Student": {"options": SMALL_NET, "batch_size": 16, "learning_rate": 2e-3},
         "Pretrained": {"batch_size": 16, "learning_rate": 1e-2, "steps": 8}}  # fmt: skip
ROOT = Path(__file__).parents[1]
WANT = SCHEMA.grid(lesion=["absent", "present"], age=[30, 70], each=3).assign(image_id=lambda t: [f"want-{i}" for i in t.index])


@cache
def pipeline() -> Path:
    """What `Pretrained` adapts: a pipeline with random weights."""
    folder = Path(tempfile.mkdtemp(prefix="synthkit-pipeline"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tiny_pipeline(folder)


def recipe_of(family: str) -> Recipe:
    needed = {"path": pipeline()} if family == "Pretrained" else {}
    return RECIPES[family](**needed, **SMALL.get(family, {}))


def fitted(family: str, cohort: Cohort, **how: object) -> Generator:
    teacher = RECIPES[family].teacher
    start = fitted(teacher, cohort, budget=how["budget"]) if teacher else None
    return recipe_of(family).fit(cohort, start=start, **how)


@pytest.fixture(scope="module")
def train() -> Cohort:
    return toy_cohort(48, per_patient=2)


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request, train) -> Generator:
    return fitted(request.param, train, valid=toy_cohort(8, seed=7, prefix="v"), budget=Steps(120), seed=0)


@pytest.fixture(scope="module")
def editor(generator) -> Generator:
    if not generator.can_edit:
        pytest.skip("this family has no encoder")
    return generator


def test_there_are_families_to_test():
    assert "Diffusion" in FAMILIES


def test_samples_have_the_shape_scale_and_rows_that_were_asked_for(generator, train):
    fake = generator.sample(WANT, seed=1)
    assert fake.images.raw().shape == (12, 1, 16, 16) and fake.images.raw().dtype == np.uint16
    assert fake.space == train.space.sixteen_bit() and fake.schema == SCHEMA and fake.images.tensor().abs().max() <= 1
    assert fake.table["request_id"].tolist() == WANT["image_id"].tolist()
    assert fake.table["lesion"].tolist() == WANT["lesion"].tolist() and fake.table["age"].tolist() == WANT["age"].tolist() and fake.table["sex"].isna().all()
    assert fake.table["image_id"].str.startswith("synthetic-").all() and not set(fake.table["patient_id"]) & set(train.table["patient_id"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(generator):
    first, again, other = (generator.sample(WANT, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.images.raw(), again.images.raw()) and first.table.equals(again.table)
    assert all((a != b).any() for a, b in zip(first.images.raw(), other.images.raw())) and not set(first.table["image_id"]) & set(other.table["image_id"])


@pytest.mark.parametrize("rows", [[0], [11], [5, 2, 8], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_an_image_does_not_depend_on_the_company_it_is_asked_for_in(generator, rows):
    whole, part = generator.sample(WANT, seed=1), generator.sample(WANT.iloc[rows], seed=1)
    assert np.array_equal(part.images.raw(), whole.images.raw()[rows])
    assert part.table.equals(whole.table.iloc[rows].reset_index(drop=True))


def test_the_condition_matters(generator):
    fake = generator.sample(WANT, seed=3)
    brightness = fake.images.tensor().flatten(1).mean(1).numpy()
    ill = (fake.table["lesion"] == "present").to_numpy()
    assert brightness[ill].min() > brightness[~ill].max() and brightness[ill].mean() - brightness[~ill].mean() > 0.4


def test_any_subset_of_factors_may_be_asked_for(generator):
    one, none = generator.sample(pd.DataFrame({"age": [50.0]}), seed=0), generator.sample(pd.DataFrame({"remark": ["any"]}), seed=0)
    assert one.table["age"].tolist() == [50] and one.table["lesion"].isna().all() and none.table[list(SCHEMA.names)].isna().all(axis=None)
    assert (one.images.raw() != none.images.raw()).any(), "a factor left open is not a factor given"


def test_lineage_names_seed_weights_licence_and_training_data(generator, train):
    record = generator.sample(WANT[:1], seed=5).provenance
    assert (record.kind, record.seed, record.licence) == ("synthetic", 5, "CC0")
    assert record.digests["weights"] == generator.weights_digest() and record.recipe["recipe"] == generator.recipe.to_json()
    (taught,) = record.parents
    assert (taught.kind, taught.source) == ("real", "toy") and taught.digests["data"] == generator.card.trained_on["digest"]
    assert json.loads(json.dumps(record.to_json())), "it can be written down"


def test_the_card_says_what_was_learnt_from_what(generator):
    card = generator.card
    assert (card.trained_on["images"], card.trained_on["patients"], card.training["steps"], card.training["seed"]) == (48, 24, 120, 0)
    losses = [loss for _, loss in card.training["losses"]]
    assert len(losses) >= 2 and np.isfinite(losses).all()
    if isinstance(generator.trained, Trainable):  # others are trained by what holds them, and their losses play against each other
        assert np.isfinite(card.training["validation loss"])
        if len(generator.recipe.stages(generator.trained, generator.schema, generator.space)) == 1:
            assert losses[-1] < losses[0] and card.training["validation loss"] < losses[0]
    assert "Not a medical device" in generator._repr_html_()
    made, how = card.command.split(".fit(train, ")
    assert eval(made, {"sk": synthkit}) == generator.recipe and how.startswith("budget=sk.Steps(120), seed=0")


def test_saved_and_read_back_it_makes_the_same_bytes(generator, tmp_path):
    back = Generator.load(generator.save(tmp_path)).to("cpu")
    assert back.weights_digest() == generator.weights_digest() and back.card == type(back.card).from_json(json.loads(json.dumps(generator.card.to_json())))
    assert (back.schema, back.space) == (generator.schema, generator.space) and back.recipe.to_json() == json.loads(json.dumps(generator.recipe.to_json()))
    fake = generator.sample(WANT, seed=1)
    assert np.array_equal(back.sample(WANT, seed=1).images.raw(), fake.images.raw())
    half = Generator.load(generator.save(tmp_path, half=True)).to("cpu").sample(WANT, seed=1)
    assert len(list(tmp_path.iterdir())) == 2, "the larger weights are gone"
    assert (half.images.tensor() - fake.images.tensor()).abs().mean() < 0.01


def test_a_full_disk_leaves_the_generator_that_was_saved_before(generator, tmp_path, monkeypatch):
    generator.save(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        generator.save(tmp_path, half=True)
    assert Generator.load(tmp_path).weights_digest() == generator.weights_digest() and not list(tmp_path.glob(".*.part"))


def test_another_process_reads_it_and_makes_the_same_bytes(generator, tmp_path):
    generator.save(tmp_path / "gen")
    WANT.to_parquet(tmp_path / "want.parquet")
    program = (
        "import sys, pandas, torch, synthkit as sk\nfrom synthkit.core.provenance import pixel_digest\n"
        "torch.set_num_threads(1)\ngen = sk.Generator.load(sys.argv[1]).to('cpu')\n"
        "print(pixel_digest(gen.sample(pandas.read_parquet(sys.argv[2]), seed=1).images.raw()))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "gen"), str(tmp_path / "want.parquet")]
    done = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == pixel_digest(generator.sample(WANT, seed=1).images.raw()), done.stderr


@pytest.mark.parametrize("kind", ["weights-*.safetensors", "generator.json"])
@pytest.mark.parametrize("where", [0.0, 0.3, 1.0])
def test_one_flipped_bit_in_a_checkpoint_is_seen(generator, tmp_path, kind, where):
    (path,) = generator.save(tmp_path).glob(kind)
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        Generator.load(tmp_path)
    path.unlink()
    with pytest.raises(StoreError, match="missing"):
        Generator.load(tmp_path)


def test_decoding_what_was_encoded_gives_the_image(editor):
    cohort = toy_cohort(10, seed=5, prefix="n")
    z = editor.encode(cohort)
    assert z.shape == (10, *editor.trained.latent_shape())
    again = editor.decode(z, cohort.table)
    assert (again - cohort.images.tensor()).abs().mean() < 0.05


@pytest.mark.parametrize("high", [255, 65535])
def test_doing_nothing_changes_no_byte(editor, high):
    cohort = toy_cohort(5, seed=5, high=high)
    twin = editor.edit(cohort, {})
    assert np.array_equal(twin.images.raw(), cohort.images.raw().astype(np.uint16) * (65535 // high))


def test_an_edit_moves_its_factor_and_says_where_it_comes_from(editor):
    cohort = toy_cohort(12, seed=5).where("lesion == 'present'")
    twin = editor.edit(cohort, {"lesion": "absent"})
    change = (twin.images.tensor() - cohort.images.tensor()).flatten(1).mean(1)
    assert (change < -0.2).all()
    assert twin.table["lesion"].eq("absent").all() and twin.table["diameter"].isna().all() and twin.table["age"].equals(cohort.table["age"])
    assert twin.table["source_id"].tolist() == cohort.table["image_id"].tolist() and twin.table["patient_id"].equals(cohort.table["patient_id"])
    assert twin.provenance.kind == "edited" and twin.provenance.recipe["do"] == {"lesion": "absent"}
    assert [p.source for p in twin.provenance.parents] == ["toy", "toy"] and "Edited images: each is a changed copy of its source." in twin.caveats()


def test_with_a_perfect_network_an_edit_is_exact_and_undoes_itself():
    cohort = toy_cohort(8, seed=2)
    cohort = cohort[np.flatnonzero(cohort.images.tensor().flatten(1).abs().amax(1) < 0.99)]
    generator = exact_generator(cohort)
    there = generator.edit(cohort, {"lesion": "present"})
    step = torch.tensor(cohort.table["lesion"].eq("absent").tolist()).float().reshape(-1, 1, 1, 1)
    assert step.any() and torch.allclose(there.images.tensor(), (cohort.images.tensor() + step).clamp(-1, 1), atol=1e-4)
    assert np.allclose(there.table["round_trip"], 0, atol=1e-4)
    half = toy_cohort(8, seed=2)
    gentle = exact_generator(half, strength=0.1)
    gone = gentle.edit(half, {"lesion": "absent"})
    back = gentle.edit(Cohort(gone.images, gone.table.assign(lesion="absent"), SCHEMA, gone.provenance), {"lesion": "present"})
    ill = half.table["lesion"].eq("present").tolist()
    assert torch.allclose(back.images.tensor()[ill], half.images.tensor()[ill], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda g: g.sample(SCHEMA.grid(age=30)[:0], seed=0), SchemaError, "requests must be a DataFrame with one row per image"),
        (lambda g: g.sample(pd.DataFrame({"age": [140]}), seed=0), SchemaError, "age: 140 years is outside 0..100 years"),
        (lambda g: g.sample(pd.DataFrame({"lesion": ["maybe"]}), seed=0), SchemaError, "lesion: 'maybe' is not one of absent, present"),
        (lambda g: g.edit(toy_cohort(4), {"weight": 3}), SchemaError, "unknown factor 'weight'; this schema has lesion"),
        (lambda g: g.edit(toy_cohort(4), {"age": -3}), SchemaError, "age: -3 years is outside"),
        (lambda g: g.edit(toy_cohort(4, size=(8, 8)), {"age": 3}), DataError, r"sizes \(16, 16\) and \(8, 8\)"),
        (lambda g: g.encode(toy_cohort(4)[:0]), DataError, "the cohort is empty"),
        (lambda g: Generator.pretrained("nonesuch"), StoreError, "no pretrained generator 'nonesuch'"),
        (lambda g: Generator.load(ROOT / "tests"), StoreError, "holds no saved generator"),
        (lambda g: Recipe.from_json({**g.recipe.to_json(), "family": "synthkit.errors:DataError"}), FitError, "not a subclass"),
        (lambda g: Recipe.from_json({**g.recipe.to_json(), "family": "nonesuch:GAN"}), FitError, "cannot import"),
    ],
)
def test_impossible_wishes_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(exact_generator(toy_cohort(4)))


class OneWay(Network):
    """A network without an encoder."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def latent_shape(self):
        return (1, 16, 16)

    def decode(self, z, c):
        return z


def test_a_family_without_an_encoder_says_so():
    exact = exact_generator(toy_cohort(4))
    one_way = Generator(exact.recipe, OneWay(), exact.schema, exact.space, exact.card)
    assert len(one_way.sample(WANT, seed=0)) == 12
    for call in (lambda: one_way.edit(toy_cohort(4), {"age": 3}), lambda: one_way.encode(toy_cohort(4))):
        with pytest.raises(AbilityError, match="no encoder. Use VAE or Diffusion"):
            call()


@pytest.mark.parametrize("size", [(8, 16, 16), (28, 28), (30, 30), (50, 50), (100, 84)])
@pytest.mark.parametrize("family", FAMILIES)
def test_volumes_and_odd_sizes_work_from_end_to_end(family, size):
    cohort = toy_cohort(6, size=size)
    if family == "Pretrained" and len(size) == 3:
        with pytest.raises(FitError, match="makes pictures"):
            fitted(family, cohort, budget=Steps(1), seed=0)
        return
    generator = fitted(family, cohort, budget=Steps(1), seed=0)
    fake = generator.sample(WANT[:2], seed=0)
    assert fake.images.raw().shape == (2, 1, *size)
    if generator.can_edit:
        assert generator.edit(cohort[:2], {"age": 40}).images.raw().shape == (2, 1, *size)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_any_factor_it_still_learns_and_samples(family):
    cohort = toy_cohort(8)
    bare = Cohort(cohort.images, cohort.table[["image_id", "patient_id"]], Schema(), Provenance("real", "bare"))
    assert len(fitted(family, bare, budget=Steps(2)).sample(pd.DataFrame(index=range(3)), seed=0)) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recipe_is_json(family):
    recipe = recipe_of(family)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))).to_json() == json.loads(json.dumps(recipe.to_json()))
    with pytest.raises(AttributeError):
        recipe.batch_size = 3
    assert Recipe.from_json(Diffusion(steps=3).to_json()) == Diffusion(steps=3)


def test_it_remembers_whom_it_learnt_from(generator, train, tmp_path):
    generator.require_unseen(toy_cohort(8, seed=7, prefix="new"))
    for one in (generator, Generator.load(generator.save(tmp_path))):
        assert one.patients == {patient_digest(name) for name in train.table["patient_id"]} and len(one.patients) == 24
        with pytest.raises(LeakageError, match="learnt from 1 patient"):
            one.require_unseen(toy_cohort(8, prefix="new") + train[:1])
    assert not [name for name in train.table["patient_id"].unique() if name in (tmp_path / "generator.json").read_text()], "ids are not written down"


def test_fine_tuning_goes_on_from_the_weights_and_leaves_the_first_generator_alone(generator, train):
    if generator.recipe.teacher:
        with pytest.raises(FitError, match="Student learns from a Diffusion and cannot go on by itself"):
            generator.fine_tune(train, budget=Steps(1))
        return
    before, others = generator.weights_digest(), toy_cohort(12, seed=5, prefix="other")
    tuned = generator.fine_tune(others, budget=Steps(4), learning_rate=1e-9)
    first, second = (gen.sample(WANT, seed=1).images.tensor() for gen in (generator, tuned))
    assert (first - second).abs().mean() < 1e-3, "steps at a rate of nothing change next to nothing"
    assert generator.weights_digest() == before and tuned.recipe.learning_rate == 1e-9
    assert tuned.patients == generator.patients | {patient_digest(name) for name in others.table["patient_id"]}
    assert tuned.card.training["started from"]["weights"] == before and tuned.card.trained_on["images"] == 12
    with pytest.raises(LeakageError, match="learnt from"):
        generator.recipe.fit(others, valid=train, budget=Steps(1), start=generator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, schema=c.schema.only(["sex"])), "other factors"),
        (lambda c: toy_cohort(8, size=(20, 20)), "other images"),
    ],
)
def test_fine_tuning_refuses_what_does_not_fit(change, message):
    with pytest.raises(FitError, match=message):
        exact_generator(toy_cohort(8)).fine_tune(change(toy_cohort(8)), budget=Steps(1))


def test_weights_of_another_network_are_refused():
    with pytest.raises(FitError, match="same backbone"):
        exact_generator(toy_cohort(8)).fine_tune(toy_cohort(8), budget=Steps(1))


def test_sampling_can_be_changed_after_the_fit_and_training_cannot():
    gen = Diffusion(**SMALL["Diffusion"]).fit(toy_cohort(8), budget=Steps(2), seed=0)
    fewer = gen.using(steps=2)
    assert (gen.evaluations, fewer.evaluations, gen.recipe.steps, fewer.recipe.steps) == (16, 4, 8, 2) and fewer.weights_digest() == gen.weights_digest()
    first, second = (one.sample(WANT, seed=1) for one in (gen, fewer))
    assert (first.images.raw() != second.images.raw()).any() and not set(first.table["image_id"]) & set(second.table["image_id"])
    for wish in ({"batch_size": 4}, {"colour": 1}):
        with pytest.raises(AbilityError, match="cannot be changed after the fit; what can: steps"):
            gen.using(**wish)


def test_guidance_follows_its_definition_in_both_directions_and_weight_one_changes_nothing():
    gen = Diffusion(**SMALL["Diffusion"]).fit(toy_cohort(16), budget=Steps(20), seed=0)
    guided = gen.using(guidance={"lesion": 3.0, "sex": 0.5})
    assert guided.evaluations == 3 * gen.evaluations and guided.weights_digest() == gen.weights_digest()
    x, t, c = torch.randn(2, 1, 16, 16), torch.tensor([0.2, 0.7]), torch.from_numpy(SCHEMA.encode(toy_table(2)))
    with torch.no_grad():
        plain = gen.trained.velocity(x, t, c)
        places = dict(zip(SCHEMA.names, SCHEMA.blocks()))
        wanted = plain.clone()
        for name, weight in (("lesion", 3.0), ("sex", 0.5)):
            without = c.clone()
            without[:, places[name]] = 0
            wanted += (weight - 1) * (plain - gen.trained.velocity(x, t, without))
        assert torch.allclose(guided.trained.under(c)(x, t), wanted, atol=1e-5) and not torch.allclose(wanted, plain, atol=1e-3)
        assert torch.equal(gen.using(guidance={"lesion": 1.0}).trained.under(c)(x, t), plain)
        assert gen.using(guidance={"lesion": 1.0}).evaluations == gen.evaluations < gen.using(guidance={"lesion": 2.0}).evaluations
        back = guided.using(steps=40).trained
        assert (back.decode(back.encode(x, c), c) - x).abs().mean() < 0.05, "inverted under the same guidance it leads back"


def test_guidance_makes_a_factor_show_more():
    gen = Diffusion(**SMALL["Diffusion"]).fit(toy_cohort(48), budget=Steps(120), seed=0)
    ill = (WANT["lesion"] == "present").to_numpy()
    gaps = []
    for weight in (0.0, 1.0, 2.0):
        bright = gen.using(guidance={"lesion": weight}).sample(WANT, seed=3).images.tensor().flatten(1).mean(1).numpy()
        gaps.append(bright[ill].mean() - bright[~ill].mean())
    assert gaps[0] < 0.8 * gaps[1] and gaps[1] < gaps[2], "at 0 the diameter still tells that there is a lesion"


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"guidance": {"lesion": -1.0}}, FitError, "0 or more"), ({"guidance": {"lesion": float("nan")}}, FitError, "0 or more"),
        ({"guidance": {"nonesuch": 2.0}}, SchemaError, "unknown factor 'nonesuch'"),
    ],
)  # fmt: skip
def test_impossible_guidance_is_refused(settings, kind, message):
    gen = Diffusion(**SMALL["Diffusion"]).fit(toy_cohort(8), budget=Steps(1), seed=0)
    with pytest.raises(kind, match=message):
        gen.using(**settings)
    with pytest.raises(FitError, match="never saw a factor hidden"):
        Diffusion(drop=0.0, guidance={"lesion": 2.0})


def test_what_was_learnt_before_stays_in_licence_and_lineage():
    first, second = (replace(c, provenance=Provenance("real", name, licence=licence)) for c, name, licence in (
        (toy_cohort(8), "clinic", "CC BY-NC"), (toy_cohort(8, seed=3, prefix="other"), "ward", "CC0")))  # fmt: skip
    gen = Diffusion(**SMALL["Diffusion"]).fit(first, budget=Steps(2)).fine_tune(second, budget=Steps(2)).fine_tune(second, budget=Steps(2))
    record = gen.sample(WANT[:1], seed=0).provenance
    assert [parent.source for parent in record.parents] == ["ward", "clinic"] and record.licence == "CC0; CC BY-NC"


def test_a_guided_teacher_is_refused_and_a_plain_one_taken():
    cohort = toy_cohort(16)
    teacher = Diffusion(**SMALL["Diffusion"]).fit(cohort, budget=Steps(2))
    with pytest.raises(FitError, match="does not learn its teacher's guidance"):
        recipe_of("Student").fit(cohort, budget=Steps(1), start=teacher.using(guidance={"lesion": 3.0}))
    assert recipe_of("Student").fit(cohort, budget=Steps(1), start=teacher.using(guidance={})).evaluations == 2


def test_changing_settings_leaves_the_global_random_stream_alone(tmp_path):
    gen = Diffusion(**SMALL["Diffusion"]).fit(toy_cohort(8), budget=Steps(1))
    gen.save(tmp_path)
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    gen.using(steps=1), Generator.load(tmp_path)
    assert torch.equal(torch.rand(3), wanted)

"""Foundation models: a pipeline from elsewhere adapted to a cohort, its sentences, what is saved, and what is refused."""
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, SMALL_NET, tiny_pipeline, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.budget import Steps
from synthkit.errors import AbilityError, FitError, MissingExtraError, SchemaError, StoreError
from synthkit.generators.foundation.prompts import Template, values
from synthkit.generators.foundation.to_diffusers import merged

pytest.importorskip("transformers")
pytest.importorskip("peft")
TEMPLATE = "a film[ of a {age}-year-old {sex}][ with {findings}]"
WANT = SCHEMA.grid(lesion=["absent", "present"], age=[30, 70], each=2)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("pixels") / "p")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("texts") / "p", by_text=True)


@pytest.fixture(scope="module")
def told(texts) -> sk.Generator:
    return sk.Pretrained(texts, template=TEMPLATE, batch_size=8, steps=4, learning_rate=1e-2).fit(toy_cohort(16), budget=Steps(6), seed=0)


@pytest.mark.parametrize(
    ("text", "known", "sentence"),
    [
        (TEMPLATE, {"age": 63.4, "sex": "F", "lesion": "present"}, "a film of a 63-year-old woman with lesion"),
        (TEMPLATE, {"age": 63.4, "lesion": "absent"}, "a film with no finding"), (TEMPLATE, {}, "a film"),
        ("{sex}, {age} years", {"sex": "M"}, "man, unknown years"), ("lesion {lesion}", {"lesion": "absent"}, "lesion absent"),
        ("", {"lesion": "present", "diameter": 5.0, "age": 40.0}, "lesion present, diameter 5 mm, age 40 years"), ("", {}, "unknown"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_is_given_and_leaves_out_what_is_not(text, known, sentence):
    assert Template(text, SCHEMA).write(known) == sentence


def test_no_finding_is_said_only_where_every_finding_is_known():
    """A caption that hides a finding must not deny it: the image may show it."""
    template = Template("a film[ with {findings}]", sk.Schema(tuple(sk.Category(name, ("absent", "present")) for name in ("effusion", "old_scar"))))
    told = {"effusion": "absent", "old_scar": "absent"}
    assert template.write(told) == "a film with no finding"
    assert [template.write({name: "absent"}) for name in told] == ["a film with no effusion", "a film with no old scar"]
    assert template.write({"old_scar": "present"}) == "a film with old scar" == template.write({**told, "old_scar": "present"})


def test_condition_codes_are_read_back_as_the_values_they_stand_for():
    table = toy_table(20)
    table.loc[:4, "age"] = np.nan
    table.loc[3:6, "sex"] = None
    for row, known in zip(table.to_dict("records"), values(SCHEMA, SCHEMA.encode(table))):
        given = {name: row[name] for name in SCHEMA.names if not pd.isna(row[name])}
        assert set(known) == set(given)
        assert all(known[name] == pytest.approx(value, abs=1e-4) if isinstance(value, float) else known[name] == value for name, value in given.items())


def test_the_recipe_shows_its_sentences():
    shown = sk.Pretrained("anywhere", template=TEMPLATE).prompts(SCHEMA.grid(lesion=["present"], sex=["M"], age=[70]), SCHEMA)
    assert shown == ["a film of a 70-year-old man with lesion"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a {tumour}", "unknown factor 'tumour'"), ("a [film", "square brackets"), ("a [[film]]", "square brackets"), ("a {age", "expected '}'"),
     ("a {age:.0f}", "write {age} alone"), ("[of {sex!r}]", "write {sex} alone")],
)
def test_an_impossible_template_is_refused(text, message):
    with pytest.raises(SchemaError, match=message):
        Template(text, SCHEMA)
    with pytest.raises(SchemaError, match="this schema has none"):
        Template("{findings}", SCHEMA.only(("sex", "age")))


def test_before_any_step_lora_samples_what_the_pipeline_itself_samples(texts):
    """Only the sentence comes from here: the same prompt and noise through diffusers' own pipeline."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    cohort = toy_cohort(8)
    network = sk.Pretrained(texts, template=TEMPLATE, steps=5, guidance=2.0).network(SCHEMA, cohort.space)
    pipe = StableDiffusionPipeline.from_pretrained(texts)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    z = torch.randn(2, *network.latent_shape())
    table = SCHEMA.grid(lesion=["present"], sex=["M", "F"], age=[70])
    with torch.no_grad():
        ours = network.decode(z, torch.from_numpy(SCHEMA.encode(table)))
    prompts = ["a film of a 70-year-old man with lesion", "a film of a 70-year-old woman with lesion"]
    theirs = pipe(prompts, negative_prompt=["a film"] * 2, latents=z, num_inference_steps=5, guidance_scale=2.0, output_type="np", height=16, width=16).images
    assert np.abs((ours.numpy()[:, 0] + 1) / 2 - theirs.mean(-1)).max() < 1e-4


def test_lora_trains_a_small_share_of_the_weights_and_saves_nothing_else(told, texts, tmp_path):
    from safetensors import safe_open

    base = sum(weight.numel() for name, weight in told.trained.pipeline.unet.named_parameters() if ".lora_" not in name)
    kept = {name: tensor for name, tensor in told.trained.state_dict().items() if name != "pipeline_digest"}
    assert 0 < sum(t.numel() for t in kept.values()) < 0.2 * base and all(".lora_" in name.replace("/", ".") for name in kept)
    assert any((tensor != 0).any() for name, tensor in kept.items() if "lora_B" in name), "it has learnt"
    (path,) = told.save(tmp_path).glob("*.safetensors")
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {*kept, "pipeline_digest", "trained_on.patients"}
    assert np.array_equal(sk.Generator.load(tmp_path).sample(WANT, seed=0).images.raw(), told.sample(WANT, seed=0).images.raw())


def test_a_sentence_matters_and_guidance_makes_it_matter_more(told):
    images = {}
    for weight in (0.0, 1.0, 4.0):
        gen = told.using(guidance=weight)
        images[weight] = [gen.sample(pd.DataFrame({"image_id": ["same"], "lesion": [level]}), seed=0).images.tensor() for level in ("absent", "present")]
    apart = {weight: float((one - other).abs().mean()) for weight, (one, other) in images.items()}
    assert apart[0.0] == 0 and 0 < apart[1.0] < apart[4.0]
    assert (told.evaluations, told.using(guidance=4.0).evaluations) == (4, 8)


def test_the_pipeline_stays_as_it_was(texts):
    files = {path: path.read_bytes() for path in texts.rglob("*.safetensors")}
    recipe = sk.Pretrained(texts, adapter="full", batch_size=8, steps=2)
    first = recipe.fit(toy_cohort(8), budget=Steps(2), seed=0)
    assert recipe.fit(toy_cohort(8), budget=Steps(2), seed=0).weights_digest() == first.weights_digest(), "the second fit began where the first did"
    assert files == {path: path.read_bytes() for path in texts.rglob("*.safetensors")}


def test_another_pipeline_at_its_place_is_noticed(tmp_path):
    gen = sk.Pretrained(tiny_pipeline(tmp_path / "p"), batch_size=8, steps=2).fit(toy_cohort(8), budget=Steps(1), seed=0)
    gen.save(tmp_path / "gen")
    unet = tmp_path / "p" / "unet" / "diffusion_pytorch_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name: tensor * 1.5 for name, tensor in load_file(unet).items()}, unet, metadata={"format": "pt"})
    (tmp_path / "p" / "model_index.json").touch()
    with pytest.raises(StoreError, match="another one than this generator was trained on"):
        sk.Generator.load(tmp_path / "gen")


def test_another_autoencoder_is_noticed_and_no_adapter_is_added_to_another_pipeline(told, texts, tmp_path):
    """What decodes the images and what reads the sentences belongs to the generator as the denoising network does."""
    from safetensors.torch import load_file, save_file

    from synthkit.generators.foundation.pipeline import opened

    whole = opened(str(texts), adapter="full", rank=8, width=0).digest
    for part in ("vae", "text_encoder"):
        folder = Path(shutil.copytree(texts, tmp_path / part))
        (file,) = (folder / part).glob("*.safetensors")
        save_file({name: tensor * 1.5 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
        assert opened(str(folder), adapter="full", rank=8, width=0).digest != whole
    moved = replace(told, recipe=replace(told.recipe, path=str(tmp_path / "vae")))
    with pytest.raises(StoreError, match="another one than this generator was trained on"):
        sk.to_diffusers(moved, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_colour_images_and_a_colour_pipeline_of_pixels_fit(tmp_path):
    from synthkit.core.space import Channel, Space

    path = tiny_pipeline(tmp_path / "p", channels=3, prediction_type="epsilon", rescale_betas_zero_snr=False)
    grey = sk.Pretrained(path, batch_size=8, steps=2).fit(toy_cohort(8), budget=Steps(1), seed=0)
    assert grey.sample(WANT[:1], seed=0).images.raw().shape == (1, 1, 16, 16)
    space = Space((16, 16), tuple(Channel(name, "colour") for name in "rgb"))
    table = toy_table(8)
    coloured = sk.Cohort.of(np.random.default_rng(0).integers(0, 255, (8, 3, 16, 16), np.uint8), table, schema=SCHEMA, space=space,
                            provenance=toy_cohort(4).provenance)  # fmt: skip
    assert sk.Pretrained(path, batch_size=8, steps=2).fit(coloured, budget=Steps(1), seed=0).sample(WANT[:1], seed=0).images.raw().shape == (1, 3, 16, 16)
    two = sk.Cohort.of(np.zeros((8, 2, 16, 16), np.uint8), table, schema=SCHEMA, space=Space((16, 16), (Channel("a"), Channel("b"))),
                       provenance=toy_cohort(4).provenance)  # fmt: skip
    with pytest.raises(FitError, match="pictures of 3 channels, and the cohort's have 2"):
        sk.Pretrained(path).fit(two, budget=Steps(1))


@pytest.mark.parametrize("labels", [{"num_class_embeds": 10}, {"class_embed_type": "timestep"}], ids=["classes", "numbers"])
def test_factors_take_the_place_of_class_labels(labels, pixels, tmp_path):
    import diffusers

    unet = diffusers.UNet2DModel.from_pretrained(pixels / "unet")
    diffusers.DDIMPipeline(diffusers.UNet2DModel.from_config({**unet.config, **labels}), diffusers.DDIMScheduler()).save_pretrained(tmp_path / "p")
    gen = sk.Pretrained(tmp_path / "p", batch_size=8, steps=2, learning_rate=1e-2).fit(toy_cohort(8), budget=Steps(3), seed=0)
    shape = gen.trained.adapter["class_embedding/weight"].shape
    assert shape[1] == SCHEMA.width and (gen.trained.adapter["class_embedding/weight"] != 0).any()
    same = [gen.sample(pd.DataFrame({"image_id": ["one"], "age": [age]}), seed=0).images.tensor() for age in (20.0, 80.0)]
    assert not torch.equal(*same)


def test_copies_are_looked_for_and_quality_is_controlled_as_for_any_generator(told):
    train = toy_cohort(40)
    fake = told.sample(WANT, seed=0, reject_copies_of=train)
    assert fake.provenance.recipe["reject_copies_of"]["rejected"] == 0 and len(sk.check(fake, like=train).frame()) == len(WANT)
    assert fake.provenance.recipe["recipe"]["template"] == TEMPLATE and fake.provenance.parents[0].source == "toy"


def test_factors_that_no_sentence_tells_stand_on_the_card(told):
    assert Template("a film[ of a {age}-year-old]", SCHEMA).untold == ["lesion", "diameter", "sex"]
    assert Template("{findings}", SCHEMA).untold == ["diameter", "sex", "age"] and Template("", SCHEMA).untold == []
    untold = Template(TEMPLATE, SCHEMA).untold
    assert untold and any(", ".join(untold) in line for line in told.card.limits)


def test_written_for_diffusers_it_samples_the_same_without_synthkit(told, tmp_path):
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(sk.to_diffusers(told, tmp_path / "out"))
    pipe.set_progress_bar_config(disable=True)
    z = torch.randn(len(WANT), *told.trained.latent_shape())
    ours = told.decode(z, WANT)
    prompts = told.recipe.prompts(WANT, SCHEMA)
    theirs = pipe(prompts, latents=z, num_inference_steps=4, guidance_scale=1.0, output_type="np", height=16, width=16).images
    assert np.abs((ours.numpy()[:, 0] + 1) / 2 - theirs.mean(-1)).max() < 1e-4
    record = json.loads((tmp_path / "out" / "synthkit.json").read_text())
    assert record["recipe"]["template"] == TEMPLATE and record["card"]["trained_on"]["source"] == "toy"
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    with pytest.raises(StoreError, match="exists already"):
        sk.to_diffusers(told, tmp_path / "out")


@pytest.mark.parametrize("recipe", [sk.Diffusion(options=SMALL_NET, batch_size=8, steps=2), sk.VAE(options=SMALL_NET, batch_size=8)], ids=["flow", "vae"])
def test_any_family_becomes_a_pipeline_that_draws_the_same_images_for_the_same_seed(recipe, tmp_path):
    from diffusers import DiffusionPipeline

    from synthkit.generators.foundation.cohort_pipeline import CohortPipeline

    gen = recipe.fit(toy_cohort(16), budget=Steps(4), seed=0)
    folder, fake = sk.to_diffusers(gen, tmp_path / "out"), gen.sample(WANT, seed=5)
    for pipe in (CohortPipeline.from_pretrained(folder), DiffusionPipeline.from_pretrained(folder, custom_pipeline=str(folder), trust_remote_code=True)):
        found = pipe(WANT, seed=5, output_type="pt").images
        assert (found - fake.images.tensor()).abs().max() < 1e-4 and pipe(WANT, seed=5).images.shape == (8, 16, 16, 1)
    assert pipe.network.generator().sample(WANT, seed=5).table.equals(fake.table)
    with pytest.raises(SchemaError, match="did you mean 'lesion'"):
        pipe(WANT.rename(columns={"lesion": "Lesion"}), seed=5)


def test_a_pipeline_whose_labels_gave_way_to_factors_cannot_be_written_as_one(pixels, tmp_path):
    gen = sk.Pretrained(pixels, batch_size=8, steps=2).fit(toy_cohort(8), budget=Steps(1), seed=0)
    with pytest.raises(AbilityError, match="took class labels"):
        sk.to_diffusers(gen, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_adapter_is_added_to_its_weights_by_the_product_of_its_factors():
    weights = {"a.weight": torch.randn(5, 4), "b.weight": torch.randn(6, 3, 3, 3)}
    down, up, kernel, mix = torch.randn(2, 4), torch.randn(5, 2), torch.randn(2, 3, 3, 3), torch.randn(6, 2, 1, 1)
    adapter = {"a.lora_A.default.weight": down, "a.lora_B.default.weight": up, "b.lora_A.default.weight": kernel, "b.lora_B.default.weight": mix}
    found, x, picture = merged(weights, adapter), torch.randn(7, 4), torch.randn(1, 3, 8, 8)
    assert torch.allclose(x @ found["a.weight"].T, x @ weights["a.weight"].T + x @ down.T @ up.T, atol=1e-5)
    conv = torch.nn.functional.conv2d
    assert torch.allclose(conv(picture, found["b.weight"]), conv(picture, weights["b.weight"]) + conv(conv(picture, kernel), mix), atol=1e-4)


def test_a_place_that_holds_no_diffusion_pipeline_is_refused_with_what_to_do(tmp_path, texts):
    encoder = texts / "text_encoder"
    for path, message in ((encoder, "holds no diffusion pipeline"), (tmp_path / "nowhere", "is no folder; give one that")):
        with pytest.raises(FitError, match=message):
            sk.Pretrained(path).fit(toy_cohort(8), budget=Steps(1))


def test_without_the_hub_it_suggests_a_local_folder(monkeypatch):
    from diffusers import DiffusionPipeline

    def unreachable(*args, **more):
        raise OSError("We couldn't connect to the hub\nand more")

    monkeypatch.setattr(DiffusionPipeline, "load_config", unreachable)
    with pytest.raises(FitError, match=r"owner/name: the pipeline cannot be opened \(We couldn't connect to the hub\); without a network.*local folder"):
        sk.Pretrained("owner/name").fit(toy_cohort(8), budget=Steps(1))


def test_a_pipeline_of_another_kind_is_refused(tmp_path):
    import diffusers

    transformer = diffusers.DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=8,
                                                  norm_num_groups=4, num_embeds_ada_norm=10)  # fmt: skip
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=8)
    diffusers.DiTPipeline(transformer, vae, diffusers.DDIMScheduler()).save_pretrained(tmp_path / "dit")
    with pytest.raises(FitError, match="DiTPipeline .*transformer DiTTransformer2DModel.* cannot be adapted; give one with a UNet2DModel"):
        sk.Pretrained(tmp_path / "dit").fit(toy_cohort(8), budget=Steps(1))


def test_a_schedule_that_ends_in_nothing_but_noise_cannot_predict_noise(tmp_path):
    path = tiny_pipeline(tmp_path / "p", prediction_type="epsilon")
    with pytest.raises(FitError, match="divide by nothing"):
        sk.Pretrained(path).fit(toy_cohort(8), budget=Steps(1))


def test_missing_libraries_are_named(monkeypatch, pixels, texts, tmp_path):
    other, text = (Path(shutil.copytree(source, tmp_path / name)) for source, name in ((pixels, "pixels"), (texts, "texts")))
    old = ModuleType("peft")
    old.PeftModel = type("PeftModel", (), {})  # all that diffusers looks for in it
    for name, stub, path in (("peft", old, other), ("transformers", None, text)):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, stub)
            with pytest.raises(MissingExtraError, match=rf"{name}.*synthkit\[foundation\]"):
                sk.Pretrained(path).fit(toy_cohort(8), budget=Steps(1))


@pytest.mark.parametrize("wish", [{"adapter": "prefix"}, {"rank": 0}, {"steps": 1.5}, {"drop": 1.0}, {"guidance": -1}, {"batch_size": 0}, {"learning_rate": 0},
                                  {"guidance": "3"}, {"template": None}])  # fmt: skip
def test_impossible_settings_are_refused(wish):
    with pytest.raises((FitError, sk.DataError), match=next(iter(wish))):
        sk.Pretrained("anywhere", **wish)


def test_sites_share_an_adapter_as_they_share_any_weights(pixels):
    pytest.importorskip("flwr")
    sites = {name: toy_cohort(8, prefix=name) for name in ("north", "south")}
    gen = sk.federate(sk.Pretrained(pixels, batch_size=8, steps=2), sites, rounds=1, local_steps=1)
    numbers = sum(tensor.numel() for tensor in gen.trained.state_dict().values())
    assert sk.federation(gen).rows["bytes_received"].max() < 2 * 4 * numbers + 2 * 8 * 32 + 1, "the pipeline itself is not sent"

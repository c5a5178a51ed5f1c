"""Channels drawn from others: what is given stays, what is drawn follows, and cohorts whose images lack some train as they are."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SMALL_NET, toy_cohort

import synthkit as sk
from synthkit.core.missing import missing_channels
from synthkit.generators.diffusion import FlowNetwork
from synthkit.nets.network import Batch
from synthkit.nets.showing import Showing

SPACE = sk.Space((8, 8), (sk.Channel("bright", high=65535), sk.Channel("dark", high=65535), sk.Channel("region", kind="mask", high=65535)))
SCHEMA = sk.Schema((sk.Category("side", ("left", "right")),))


def pairs(count: int, seed: int, prefix: str = "t") -> sk.Cohort:
    """A grey level of its own per image; the second channel is its negative, the third one marks a side."""
    rng = np.random.default_rng(seed)
    level, side = rng.uniform(-0.8, 0.8, count), np.where(rng.permutation(count) % 2, "left", "right")
    images = np.zeros((count, 3, 8, 8))
    images[:, 0], images[:, 1] = level[:, None, None], -level[:, None, None]
    images[:, 2] = np.where((np.arange(8) < 4) == (side == "left")[:, None], 0.8, -0.8)[:, None]
    images += rng.normal(0, 0.02, images.shape)
    ids = [f"{prefix}{number}" for number in range(count)]
    table = pd.DataFrame({"image_id": ids, "patient_id": ids, "side": side})
    return sk.Cohort.of(SPACE.to_raw(torch.from_numpy(images)), table, schema=SCHEMA, space=SPACE, provenance=sk.Provenance("real", "pairs", licence="CC0"))


TEST = pairs(12, 1, "x")


@pytest.fixture(scope="module")
def gen():
    """Fitted on images half of which lack a channel."""
    train, rng = pairs(96, 0), np.random.default_rng(5)
    train = sk.hide_channels(train, ["dark"], rows=rng.random(96) < 0.25)
    train = sk.hide_channels(train, ["bright"], rows=(rng.random(96) < 0.25) & ~missing_channels(train)[:, 1])
    return sk.Diffusion(options=SMALL_NET, steps=4, show=0.8, batch_size=16).fit(train, budget=sk.Steps(300))


def middle(cohort: sk.Cohort) -> np.ndarray:
    return cohort.images.tensor().flatten(2).mean(2).numpy()


def test_what_is_given_stays_and_the_rest_follows(gen):
    full = gen.complete(TEST, missing=["dark"], seed=0)
    assert np.array_equal(full.images.raw()[:, [0, 2]], TEST.images.raw()[:, [0, 2]])
    assert np.corrcoef(middle(full)[:, 0], middle(full)[:, 1])[0, 1] < -0.8 and np.abs(middle(full)[:, 1] - middle(TEST)[:, 1]).mean() < 0.25
    back = gen.complete(TEST, missing=["bright"], seed=0)
    assert np.corrcoef(middle(back)[:, 0], middle(back)[:, 1])[0, 1] < -0.8
    table = full.table
    assert table["source_id"].tolist() == TEST.table["image_id"].tolist() and table["drawn_channels"].eq("dark").all()
    assert full.provenance.kind == "edited" and full.provenance.recipe["complete"] == ["dark"]
    assert len({*table["image_id"], *back.table["image_id"]}) == 24


def test_another_seed_draws_anew_and_the_others_of_a_batch_do_not_matter(gen):
    one, again, other = (gen.complete(TEST, missing=["dark"], seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.images.raw(), again.images.raw()) and not np.array_equal(one.images.raw()[:, 1], other.images.raw()[:, 1])
    alone = gen.complete(TEST[5:6], missing=["dark"], seed=0)
    assert np.array_equal(alone.images.raw()[0], one.images.raw()[5]) and alone.table["image_id"][0] == one.table["image_id"][5]


def test_each_image_is_completed_by_what_it_has(gen):
    rows = np.arange(12) % 2 == 0
    mixed = sk.hide_channels(sk.hide_channels(TEST, ["dark"], rows=rows), ["bright"], rows=~rows)
    assert "12 of 12 images lack a channel" in "\n".join(mixed.caveats())
    full = gen.complete(mixed, seed=0)
    assert full.table["drawn_channels"].tolist() == ["dark", "bright"] * 6 and "missing_channels" not in full.table
    given = full.images.raw()[np.arange(12), np.where(rows, 0, 1)]
    assert np.array_equal(given, TEST.images.raw()[np.arange(12), np.where(rows, 0, 1)]) and not missing_channels(full).any()
    assert np.corrcoef(middle(full)[:, 0], middle(full)[:, 1])[0, 1] < -0.8
    assert np.array_equal(gen.complete(mixed[3:4], seed=0).images.raw()[0], full.images.raw()[3])


def test_a_cohort_of_one_modality_is_given_the_others(gen):
    space = sk.Space((8, 8), (sk.Channel("bright", high=65535),))
    few = sk.Cohort.of(TEST.images.raw()[:, :1], TEST.table, schema=SCHEMA, space=space, provenance=TEST.provenance)
    full = gen.complete(few, seed=0)
    assert full.space.matches(SPACE) and np.array_equal(full.images.raw()[:, 0], few.images.raw()[:, 0])
    assert full.table["drawn_channels"].eq("dark|region").all()
    left = full.images.tensor()[:, 2, :, :4].mean((1, 2)) > full.images.tensor()[:, 2, :, 4:].mean((1, 2))
    assert (left.numpy() == TEST.table["side"].eq("left")).mean() > 0.9, "the record says where the region lies"


def test_mask_to_image_and_image_with_its_mask(gen):
    drawn = gen.sample(pd.DataFrame({"side": ["left", "right"] * 4}), seed=0)
    assert drawn.images.raw().shape == (8, 3, 8, 8)
    from_mask = gen.complete(TEST, missing=["bright", "dark"], seed=0)
    assert np.array_equal(from_mask.images.raw()[:, 2], TEST.images.raw()[:, 2])
    assert np.corrcoef(middle(from_mask)[:, 0], middle(from_mask)[:, 1])[0, 1] < -0.8, "what is drawn together fits together"


def test_saved_and_read_back_it_completes_alike(gen, tmp_path):
    again = sk.Generator.load(gen.save(tmp_path / "gen"))
    assert np.array_equal(again.complete(TEST, missing=["dark"], seed=0).images.raw(), gen.complete(TEST, missing=["dark"], seed=0).images.raw())
    hidden = sk.hide_channels(TEST, ["dark"])
    assert sk.load(hidden.save(tmp_path / "cohort")).table["missing_channels"].eq("dark").all()


def test_guidance_and_other_solvers_complete_too(gen):
    fast = gen.using(steps=3, solver="adams", guidance={"side": 2})
    full = fast.complete(TEST, missing=["region"], seed=0)
    assert np.array_equal(full.images.raw()[:, :2], TEST.images.raw()[:, :2])


def test_a_student_learns_from_a_teacher_of_several_modalities(gen):
    student = sk.Student(evaluations=1, teacher_steps=1, options=SMALL_NET, batch_size=8).fit(pairs(16, 0), start=gen, budget=sk.Steps(2))
    assert student.sample(pd.DataFrame({"side": ["left"]}), seed=0).space.shape == (3, 8, 8)
    with pytest.raises(sk.AbilityError, match="fit a Diffusion"):
        student.complete(TEST, missing=["dark"], seed=0)


def test_an_edit_needs_all_channels(gen):
    assert np.array_equal(gen.edit(TEST, {}).images.raw(), TEST.images.raw())
    with pytest.raises(sk.DataError, match="cannot encode 12 of 12 images that lack a channel .dark."):
        gen.edit(sk.hide_channels(TEST, ["dark"]), {"side": "left"})
    with pytest.raises(sk.DataError, match="cannot teach a VAE 12 of 12 images"):
        sk.VAE().fit(sk.hide_channels(TEST, ["dark"]), budget=sk.Steps(1))


def test_what_is_shown_is_never_all_and_never_what_is_absent():
    showing, absent = Showing(((0,), (1,), (2,)), 0.7), torch.zeros(4000, 3, dtype=torch.bool)
    absent[1000:2000, 0] = absent[2000:, :2] = True
    shown = showing.drawn(Batch(torch.zeros(4000, 3, 2, 2), torch.zeros(4000, 3), torch.Generator().manual_seed(0)), absent)
    assert not (shown & absent).any() and not (shown | absent).all(1).any() and not shown[2000:].any()
    shares = shown[:1000].float().mean(0)
    assert (shares > 0.1).all() and (shares.max() - shares.min()) < 0.08 and 0.5 < (~shown[:1000]).all(1).float().mean() + 0.2 < 0.8
    colours = sk.Space((4, 4), (sk.Channel("depth"), *(sk.Channel(name, kind="colour") for name in "rgb")))
    assert colours.parts == ((0,), (1, 2, 3))
    pixels = Showing(colours.parts).pixels(torch.tensor([[True, False], [False, True]]), torch.zeros(2, 4, 4, 4))
    assert pixels[:, :, 0, 0].tolist() == [[True, False, False, False], [False, True, True, True]]


def test_what_an_image_lacks_teaches_nothing(gen):
    """Whatever stands in a missing channel, loss and gradient are the same."""
    network, codes = gen.trained, torch.from_numpy(gen.recipe.codes(sk.hide_channels(TEST, ["dark"])))
    x = TEST.images.tensor()
    other = x.clone()
    other[:, 1] = 0.9
    losses = [float(network.training_step(Batch(one, codes, torch.Generator().manual_seed(3)))) for one in (x, other)]
    assert losses[0] == losses[1] and losses[0] != float(network.training_step(Batch(-x, codes, torch.Generator().manual_seed(3))))


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda gen: gen.complete(TEST, seed=0), sk.DataError, "no channel is missing; name what is to be drawn"),
    (lambda gen: gen.complete(TEST, missing="dark", seed=0), sk.DataError, "missing: got 'dark'; give a list of names"),
    (lambda gen: gen.complete(TEST, missing=["CT"], seed=0), sk.DataError, "missing: no channel 'CT'; the images have bright, dark, region"),
    (lambda gen: gen.complete(TEST, missing=["bright", "dark", "region"], seed=0), sk.DataError, "nothing left to complete from; sample whole images"),
    (lambda gen: gen.complete(TEST[:0], missing=["dark"], seed=0), sk.DataError, "the cohort is empty"),
    (lambda gen: gen.complete(TEST, missing=["dark"], seed="a"), sk.DataError, "seed='a': give a whole number"),
    (lambda gen: gen.complete(TEST.table, missing=["dark"], seed=0), sk.DataError, "cohort: got a DataFrame"),
    (lambda gen: gen.complete(toy_cohort(4, size=(16, 16)), seed=0), sk.DataError, r"images of \(16, 16\), and the generator makes \(8, 8\)"),
    (lambda gen: gen.complete(toy_cohort(4, size=(8, 8)), seed=0), sk.DataError, "no channel 'grey'; the images have bright"),
    (lambda gen: sk.Diffusion(show=2), sk.FitError, "show must lie between 0 and 1"),
    (lambda gen: sk.Diffusion(options=SMALL_NET, show=0).fit(pairs(8, 0), budget=sk.Steps(1)).complete(TEST, missing=["dark"], seed=0),
     sk.AbilityError, "show=0.* never saw some channels beside others"),
    (lambda gen: sk.Diffusion(options=SMALL_NET).fit(toy_cohort(8), budget=sk.Steps(1)).complete(toy_cohort(4), missing=["grey"], seed=0),
     sk.AbilityError, "makes images of one part .grey."),
    (lambda gen: sk.hide_channels(TEST, ["bright", "dark", "region"]), sk.DataError, "lacks all its channels"),
    (lambda gen: sk.hide_channels(TEST, ["dark"], rows=[1, 0]), sk.DataError, r"rows: got int64 of shape \(2,\)"),
])  # fmt: skip
def test_what_cannot_be_completed_is_refused(gen, call, kind, words):
    with pytest.raises(kind, match=words):
        call(gen)


def test_colours_are_drawn_together():
    space = sk.Space((4, 4), (*(sk.Channel(name, kind="colour") for name in "rgb"), sk.Channel("depth")))
    raw = np.random.default_rng(0).integers(0, 255, (8, 4, 4, 4)).astype(np.uint8)
    films = sk.Cohort.of(raw, TEST.table[:8], schema=SCHEMA, space=space, provenance=TEST.provenance)
    gen = sk.Diffusion(options={"widths": (8, 8), "embedding": 16}, steps=2, batch_size=4).fit(films, budget=sk.Steps(1))
    full = gen.complete(films, missing=["g"], seed=0)
    assert full.table["drawn_channels"].eq("r|g|b").all() and np.allclose(full.images.tensor()[:, 3], films.images.tensor()[:, 3], atol=1e-4)


class Known(torch.nn.Module):
    """A velocity that leads straight to the negative of the first channel, `spread` of the noise kept."""

    def __init__(self, spread: float):
        super().__init__()
        self.spread, self.one = spread, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        share = t.reshape(-1, 1, 1, 1)
        aim = torch.cat([x[:, :1], -x[:, :1], x[:, 2:]], 1)
        # On the way from z to aim + spread * z: x_t = (1 - t + t * spread) z + t * aim.
        start = (x - share * aim) / (1 - share + share * self.spread)
        return torch.where(torch.tensor([False, True, False]).reshape(1, 3, 1, 1), aim + (self.spread - 1) * start, 0.0)


def told(gen: sk.Generator, spread: float, films: sk.Cohort, **more: object) -> sk.Completion:
    """Completions whose law is known: the negative, with normal noise of this spread."""
    network = FlowNetwork(Known(spread), shape=(3, 8, 8), hiding=gen.trained.hiding, steps=4, showing=gen.trained.showing)
    return sk.completion(replace(gen, trained=network.requires_grad_(False)), films, missing=["dark"], **more)


def test_spread_error_and_coverage_of_a_known_law(gen):
    films = pairs(20, 9, "y")
    raw, rng = films.images.tensor().numpy(), np.random.default_rng(2)
    raw[:, 1] = -raw[:, 0] + rng.normal(0, 0.1, raw[:, 0].shape)
    truth = sk.Cohort.of(SPACE.to_raw(torch.from_numpy(raw)), films.table, schema=SCHEMA, space=SPACE, provenance=films.provenance)
    right, sure = told(gen, 0.1, films), told(gen, 0.03, films)
    assert right.coverage == pytest.approx(0.9) and len(right.draws) == 19
    assert float(right.spread("dark").mean()) == pytest.approx(0.1, rel=0.05) and right.frame()["value"].item() == pytest.approx(0.1, rel=0.05)
    found = {name: told.against(truth).frame().set_index("measure")["value"] for name, told in (("right", right), ("sure", sure))}
    share, one = "dark: share of pixels inside the 90% interval", "dark: MAE of one draw (image units, -1..1)"
    mean = "dark: MAE of the mean of 19 draws (image units, -1..1)"
    assert found["right"][share] == pytest.approx(0.9, abs=0.02) and found["sure"][share] < 0.5, "who is too sure is found out"
    assert found["right"][one] == pytest.approx(0.1 * np.sqrt(2 * 2 / np.pi), rel=0.05)
    assert found["right"][mean] == pytest.approx(0.1 * np.sqrt((1 + 1 / 19) * 2 / np.pi), rel=0.05)
    inside = torch.zeros(20, 8, 8, dtype=torch.bool)
    inside[:, 2:4] = True
    assert right.against(truth, inside=inside).frame()["n"].tolist() == [20] * 3
    assert right.figure().data and right.against(truth).figure().data and "synthetic" in right.caveats()[0]


@pytest.mark.parametrize(("call", "words"), [
    (lambda gen: sk.completion(gen, TEST, missing=["dark"], draws=1), "draws=1: a spread needs 2 or more"),
    (lambda gen: sk.completion(gen, TEST), r"missing: got \[\]; give a list of names"),
    (lambda gen: sk.completion("gen", TEST), "generator: got 'gen'"),
    (lambda gen: sk.completion(gen, TEST, missing=["dark"], draws=2).against(TEST[::-1]), "its rows are not those"),
    (lambda gen: sk.completion(gen, TEST, missing=["dark"], draws=2).against(TEST, inside=np.ones((12, 4, 4), bool)), r"give a bool array of \(12, 8, 8\)"),
])  # fmt: skip
def test_studies_that_say_nothing_are_refused(gen, call, words):
    with pytest.raises(sk.DataError, match=words):
        call(gen)

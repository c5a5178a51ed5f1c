"""Near copies: the search against brute force, the limit against its closed form, and rejection while sampling."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from toys import SCHEMA, Shift, exact_generator, toy_table

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.space import Channel, Space
from synthkit.metrics.copying import search
from synthkit.metrics.copying.eye import FeatureEye, PixelEye
from synthkit.metrics.copying.guard import CopyGuard
from synthkit.metrics.copying.search import Gallery, Nearest
from synthkit.metrics.copying.tail import Tail, isolation
from synthkit.metrics.features import Features
from synthkit.studies.privacy.planting import planted


def people(count: int, *, seed: int, size: tuple[int, ...] = (24, 24), per_patient: int = 1, prefix: str = "p") -> Cohort:
    """Images that differ from patient to patient in coarse shapes, and within one only in grain."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randn(-(-count // per_patient), 1, *(6 for _ in size), generator=draws).repeat_interleave(per_patient, 0)[:count]
    smooth = F.interpolate(coarse, size=size, mode="bilinear" if len(size) == 2 else "trilinear")
    images = (0.4 * smooth + 0.05 * torch.randn(smooth.shape, generator=draws)).clamp(-1, 1)
    space = Space(size, (Channel("grey"),)).sixteen_bit()
    table = toy_table(count, seed=seed, per_patient=per_patient, prefix=f"{prefix}{seed}")
    return Cohort.of(space.to_raw(images), table, schema=SCHEMA, space=space, provenance=Provenance("real", "people", licence="CC0"))


def brute(eye, queries: Cohort, references: Cohort, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarity and row of the nearest image of each of the nearest patients, by looking at every pair."""
    alike = torch.einsum("nvd,md->nvm", eye.seen(queries.images.tensor()), eye.rows(references.images.tensor())).amax(1).double().numpy()
    found = []
    for row in alike:
        best = pd.DataFrame({"alike": row, "row": range(len(row)), "patient": references.table["patient_id"].to_numpy()})
        found.append(best.sort_values("alike", ascending=False, kind="stable").drop_duplicates("patient").head(count))
    return np.stack([f["alike"].to_numpy() for f in found]), np.stack([f["row"].to_numpy() for f in found])


EYES = {"pixels": PixelEye(2), "features": FeatureEye(Features("flat", lambda x: x.flatten(1)[:, ::7]), torch.zeros(83))}


@pytest.mark.parametrize("blocks", [(8192, 64), (50, 7)])
@pytest.mark.parametrize("eye", EYES.values(), ids=EYES)
def test_the_search_finds_what_looking_at_every_pair_finds(eye, blocks, monkeypatch):
    monkeypatch.setattr(search, "REFERENCES", blocks[0])
    monkeypatch.setattr(search, "QUERIES", blocks[1])
    monkeypatch.setattr(search, "COORDINATES", 12)  # so few that the bound must be looked behind
    references, queries = people(180, seed=1, per_patient=3), people(30, seed=2)
    found = Gallery.of(eye, references).nearest(queries, count=5)
    alike, rows = brute(eye, queries, references, 5)
    np.testing.assert_allclose(found.similarity, alike, atol=1e-5)
    assert (found.row == rows).mean() > 0.99
    assert (np.diff(found.similarity) <= 0).all() and all(len(set(row)) == 5 for row in found.patient)


def test_too_large_a_gallery_is_read_block_by_block_with_the_same_answer(monkeypatch):
    references, queries, eye = people(120, seed=1), people(20, seed=2), PixelEye(2)
    held = Gallery.of(eye, references)
    monkeypatch.setattr(search, "HELD", 0)
    monkeypatch.setattr(search, "REFERENCES", 32)
    streamed = Gallery.of(eye, references)
    assert held.rows is not None and streamed.rows is None
    # A product of other blocks may round otherwise in the last bits.
    np.testing.assert_allclose(held.nearest(queries, count=4).similarity, streamed.nearest(queries, count=4).similarity, atol=1e-6)
    assert (held.nearest(queries, count=4).row == streamed.nearest(queries, count=4).row).all()


@pytest.mark.parametrize("count", [30, 600])
def test_the_directions_are_orthonormal_and_hold_most_of_what_is_seen(count):
    cohort, eye = people(count, seed=9), PixelEye(2)
    basis, rows = Gallery.of(eye, cohort).basis, eye.rows(cohort.images.tensor())
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4, rtol=0)
    assert (rows @ basis).square().sum(1).mean() > 0.95 * rows.square().sum(1).mean()


def test_an_image_of_the_same_patient_does_not_count_among_others():
    cohort = people(60, seed=3, per_patient=2)
    found = Gallery.of(PixelEye(2), cohort).nearest(cohort, count=3, others_only=True)
    own = np.unique(cohort.table["patient_id"], return_inverse=True)[1]
    assert (found.patient != own[:, None]).all() and (found.similarity[:, 0] < 0.99).all()
    assert (Gallery.of(PixelEye(2), cohort).nearest(cohort, count=1).similarity > 0.999).all()


@pytest.mark.parametrize("size", [(48, 48), (24, 24, 24), (9, 7)])
def test_a_mirrored_and_moved_copy_is_found_in_the_plane_and_in_space(size):
    references = people(40, seed=4, size=size)
    images = references.images.tensor().flip(-1)
    step = 1 if min(size) > 12 else 0
    images = images if not step else torch.cat([images[..., :step], images[..., :-step]], -1)
    copies = replace(references, images=type(references.images)([references.space.to_raw(images)], references.space))
    found = Gallery.of(PixelEye(len(size)), references).nearest(copies, count=2)
    assert (found.row[:, 0] == np.arange(40)).all()


def test_isolation_is_the_log_of_how_many_times_farther_the_next_ones_are():
    distance = np.array([[0.1, 0.4, 0.4, 0.4], [1.0, 1.0, 1.0, 1.0]])
    rows = np.zeros((2, 4), int)
    found = Nearest(1 - distance**2 / 2, rows, rows, rows)
    np.testing.assert_allclose(isolation(found), [np.log(4), 0], atol=1e-12)
    short = Nearest(found.similarity[:, :3], np.array([[0, 0, -1], [0, 0, 0]]), rows[:, :3], rows[:, :3])
    np.testing.assert_allclose(isolation(short), [np.log(4), 0], atol=1e-12)


def test_the_limit_lies_a_little_above_the_true_one_of_an_exponential_tail():
    rng = np.random.default_rng(0)
    limits = [Tail.of(rng.exponential(0.05, 400), np.arange(400)).limit for _ in range(40)]
    truth = 0.05 * np.log(1 / 1e-4)
    assert truth < np.mean(limits) < 1.5 * truth
    assert np.mean(np.array(limits) > truth) >= 0.85
    assert Tail.of(np.zeros(30), np.arange(30)).limit == 0


def test_new_patients_are_no_near_copies_and_changed_training_images_are():
    train = people(800, seed=5)
    guard = CopyGuard.of(train)
    assert guard.copies(people(1000, seed=6)).mean() <= 0.01
    assert guard.copies(planted(train, seed=0)).mean() >= 0.95
    with pytest.raises(sk.DataError, match="5 patient.s. are too few"):
        CopyGuard.of(train[:5])


class Parrot(Shift):
    """Gives back training images wherever the noise of a request says so."""

    def __init__(self, images: torch.Tensor, share: float):
        super().__init__(tuple(images.shape[1:]))
        self.images, self.share = images, share

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        coarse = 0.4 * 6 * F.adaptive_avg_pool2d(z, 6)
        fresh = F.interpolate(coarse, size=z.shape[2:], mode="bilinear")
        says = (z.flatten(1)[:, 0] * 1e4).long().abs()
        return torch.where((says % 100 < 100 * self.share)[:, None, None, None], self.images[says % len(self.images)], fresh)


def parrot(train: Cohort, share: float) -> sk.Generator:
    return replace(exact_generator(train), trained=Parrot(train.images.tensor(), share).requires_grad_(False))


def test_copies_are_rejected_counted_and_drawn_again():
    train = people(200, seed=7)
    gen, want = parrot(train, 0.3), train.schema.grid(sex=["F", "M"], each=50)
    plain, clean = gen.sample(want, seed=3), gen.sample(want, seed=3, reject_copies_of=train)
    guard = CopyGuard.of(train)
    copied = guard.copies(plain)
    assert 0.2 < copied.mean() < 0.45 and not guard.copies(clean).any()
    assert clean.table["request_id"].tolist() == plain.table["request_id"].tolist() and clean.table["image_id"].is_unique
    # What was no copy is the very image that comes without the guard.
    assert (clean.images.raw(np.flatnonzero(~copied)) == plain.images.raw(np.flatnonzero(~copied))).all()
    assert ((clean.table["draws"] > 1).to_numpy() == copied).all()
    apart = clean.provenance.recipe["reject_copies_of"]
    assert apart["rejected"] == int((clean.table["draws"] - 1).sum()) and apart["left out"] == 0 and apart["from"] == "people"
    assert "were rejected" in " ".join(clean.caveats())
    # Each request has its own fate, whatever company it is asked for in.
    some = gen.sample(want.assign(image_id=range(len(want))).iloc[[70, 4]], seed=3, reject_copies_of=train)
    assert (some.images.raw() == clean.images.raw([70, 4])).all()


def test_a_generator_that_knows_nothing_but_copies_is_told_so_and_other_images_are_refused():
    train = people(60, seed=8)
    with pytest.raises(sk.AbilityError, match="learnt them by heart"):
        parrot(train, 1.0).sample(train.schema.grid(sex=["F"], each=5), seed=0, reject_copies_of=train)
    nearly = parrot(train, 0.8).sample(train.schema.grid(sex=["F"], each=60), seed=0, reject_copies_of=train)
    left = nearly.provenance.recipe["reject_copies_of"]["left out"]
    assert len(nearly) == 60 - left and left > 0 and f"{left} of 60 requests are left out" in " ".join(nearly.caveats())
    with pytest.raises(sk.DataError, match="reject_copies_of holds other images"):
        parrot(train, 0.5).sample(train.schema.grid(sex=["F"]), seed=0, reject_copies_of=people(40, seed=1, size=(32, 32)))
    with pytest.raises(sk.DataError, match="reject_copies_of: got a DataFrame"):
        parrot(train, 0.5).sample(train.schema.grid(sex=["F"]), seed=0, reject_copies_of=train.table)

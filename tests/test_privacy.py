"""Privacy: the verdict on planted copies, on clean images and on a generator that knows its patients; and what is refused."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_copying import people
from toys import SMALL_NET, exact_generator

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import patient_digest
from synthkit.generators.vae import bits
from synthkit.metrics.copying.eye import PixelEye
from synthkit.nets.network import KnowingNetwork
from synthkit.studies.privacy.membership import auc, membership, misfits
from synthkit.studies.privacy.nearness import nearness
from synthkit.studies.privacy.planting import planted
from synthkit.studies.privacy.result import COPYING, NONE_SEEN, NOT_ASSESSED


def pooled(x: torch.Tensor) -> torch.Tensor:
    """A second eye that needs no training."""
    return torch.nn.functional.adaptive_avg_pool2d(x, 6).flatten(1)


def named(cohort: Cohort, prefix: str) -> Cohort:
    """The same images under other names."""
    names = [f"{prefix}-{i}" for i in range(len(cohort))]
    return replace(cohort, table=cohort.table.assign(image_id=names, patient_id=names))


TRAIN, HOLDOUT = people(300, seed=1), people(200, seed=2)
CLEAN = named(people(300, seed=3), "fake")


def study(fake: Cohort = CLEAN, **more) -> sk.Privacy:
    return sk.privacy(None, **{"train": TRAIN, "holdout": HOLDOUT, "fake": fake, "extractor": pooled, **more})


def test_two_percent_of_copies_convict():
    mixed = named(CLEAN[:294] + planted(TRAIN, seed=0, count=6), "mix")
    found = study(mixed)
    assert found.verdict == COPYING and "near copies (pixels)" in found.reason
    top = found.pairs.head(6)
    assert set(top["image_id"]) == {f"mix-{i}" for i in range(294, 300)}
    truth = dict(zip([f"mix-{i}" for i in range(294, 300)], planted(TRAIN, seed=0, count=6).table["image_id"]))
    assert all(truth[row.image_id] == row.train_image_id for row in top.itertuples())


def test_clean_images_are_not_accused_and_the_power_is_told():
    found = study()
    assert found.verdict == NONE_SEEN and found.reason.startswith("None of 300 images is a near copy: of all that it makes at most 0.99% are")
    assert found.attacks["p"].notna().sum() == 4 and found.attacks["p"].min() > 0.01
    assert found.power.set_index("share").loc[0.02, "found"] > 0.95 and found.power["caught"].iloc[0] > 0.9
    said = " ".join(found.caveats())
    assert "Detection power" in said and "does not make synthetic images anonymous" in said and "membership inference was not tried" in said


def test_the_false_alarms_are_as_rare_as_promised():
    """40 small studies of clean images by pixels alone, two tests each, at .05 in all: about 1 alarm by the shuffled sides, none by copies."""
    alarms = 0
    for seed in range(40):
        train, holdout, fake = (people(60, seed=10 * seed + k) for k in (1, 2, 3))
        rows = nearness(PixelEye(2), train=train, holdout=holdout, fake=fake, seed=seed).rows
        alarms += min(row["p"] for row in rows if row["p"] == row["p"]) < 0.05 / 2
    assert alarms <= 4


def test_votes_for_training_patients_beyond_chance_are_seen_without_any_near_copy():
    """Half-way blends with training images stand out from nobody, yet always lie nearer to the training side."""
    blend = 0.75 * TRAIN.images.tensor() + 0.25 * CLEAN.images.tensor()
    drawn = named(replace(TRAIN, images=type(TRAIN.images)([TRAIN.space.to_raw(blend)], TRAIN.space)), "blend")
    rows = {row["attack"]: row for row in nearness(PixelEye(2), train=TRAIN, holdout=HOLDOUT, fake=drawn, seed=0).rows}
    side = rows["nearest patient is a training patient"]
    assert side["value"] > 0.95 and side["p"] < 0.001 and side["expected"] == pytest.approx(0.6)


def test_without_a_holdout_or_with_few_patients_nothing_is_assessed():
    assert study(holdout=None).verdict == NOT_ASSESSED
    few = study(holdout=HOLDOUT[:19])
    assert few.verdict == NOT_ASSESSED and few.reason == "holdout has 19 patient(s), and at least 20 are needed in each."
    assert len(few.frame()) == 0 and few.figure().layout.title.text == "Privacy: NOT ASSESSED"
    assert sk.Report("privacy", [few, study()]).html().count("NOT ASSESSED") >= 1


def test_overlap_and_wrong_cohorts_are_refused():
    with pytest.raises(sk.LeakageError, match="stand in both train and holdout"):
        study(holdout=HOLDOUT + TRAIN[:1])
    gen = exact_generator(TRAIN)
    with pytest.raises(sk.LeakageError, match="learnt from 200 patient"):
        sk.privacy(replace(gen, patients=frozenset(map(patient_digest, HOLDOUT.table["patient_id"]))), train=TRAIN, holdout=HOLDOUT, fake=CLEAN)
    with pytest.raises(sk.DataError, match="learnt from none of the 300 patients of train"):
        sk.privacy(replace(gen, patients=frozenset([patient_digest("somebody")])), train=TRAIN, holdout=HOLDOUT, fake=CLEAN)
    with pytest.raises(sk.DataError, match="nothing to attack"):
        sk.privacy(None, train=TRAIN, holdout=HOLDOUT)
    with pytest.raises(sk.DataError, match="do not fit together"):
        study(people(30, seed=4, size=(32, 32)))
    with pytest.raises(sk.DataError, match="alpha=2: give a chance"):
        study(alpha=2)


class Knower(KnowingNetwork):
    """Knows the images that it is given with a zero misfit, up to noise."""

    def __init__(self, known: torch.Tensor, blur: float):
        super().__init__()
        self.known, self.blur, self.weight = known, blur, torch.nn.Parameter(torch.zeros(1))

    def latent_shape(self):
        return tuple(self.known.shape[1:])

    def decode(self, z, c):
        return z

    def misfit(self, x, c, noise, t):
        far = torch.cdist(x.flatten(1), self.known.flatten(1), compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        return (far > 1e-3).float() + self.blur * noise.flatten(1)[:, 0]


@pytest.mark.parametrize(("blur", "seen"), [(0.5, True), (200.0, False)])
def test_membership_is_seen_where_the_loss_tells_it_and_not_where_it_does_not(blur, seen):
    gen = replace(exact_generator(TRAIN), trained=Knower(TRAIN.images.tensor(), blur).requires_grad_(False))
    found = {row["attack"]: row for row in membership(gen, train=TRAIN, holdout=HOLDOUT, seed=0)}
    attack = found["loss tells members from new patients"]
    # Two normals a distance apart of 1 / blur: the AUC is Phi(1 / (blur * sqrt(2))).
    expected = torch.distributions.Normal(0, 1).cdf(torch.tensor(1 / (blur * 2**0.5))).item()
    assert attack["value"] == pytest.approx(expected, abs=0.06) and (attack["p"] < 0.001) == seen
    control = next(row for name, row in found.items() if name.startswith("control"))
    assert control["low"] < 0.5 < control["high"] and np.isnan(control["p"])
    assert found["members caught at 5% false alarms"]["expected"] == pytest.approx(0.05)


def test_the_auc_counts_ties_half():
    assert auc(np.array([0, 1]), np.array([1, 2])) == pytest.approx(0.875)
    assert auc(np.array([5.0]), np.array([1.0])) == 0


@pytest.mark.parametrize("recipe", [sk.Diffusion(options=SMALL_NET), sk.VAE(), sk.LatentDiffusion(options=SMALL_NET)], ids=lambda r: type(r).__name__)
def test_every_family_with_a_loss_says_how_well_it_knows_an_image(recipe):
    cohort = people(24, seed=5, size=(16, 16))
    gen = recipe.fit(cohort, budget=sk.Steps(5), seed=0)
    first, again = misfits(gen, cohort, seed=1), misfits(gen, cohort, seed=1)
    assert first.shape == (24,) and np.isfinite(first).all() and (first == again).all() and first.std() > 0
    np.testing.assert_allclose(misfits(gen, cohort[3:5], seed=1), first[3:5], rtol=1e-4)
    noise = named(replace(cohort, images=type(cohort.images)([cohort.space.to_raw(torch.rand(24, 1, 16, 16) * 2 - 1)], cohort.space)), "noise")
    assert misfits(gen, noise, seed=1).mean() > first.mean()


def test_a_generator_without_a_loss_is_attacked_by_its_images_alone():
    cohort = people(40, seed=6, size=(16, 16))
    gan = sk.GAN().fit(cohort, budget=sk.Steps(3), seed=0)
    found = sk.privacy(gan, train=cohort, holdout=people(40, seed=7, size=(16, 16)), extractor=pooled)
    assert "GAN has no loss of single images" in " ".join(found.caveats()) and "loss" not in set(found.attacks["eye"])
    assert found.attacks["n"].iloc[0] == 40 and len(found.pairs) == 20 and found.figure().data


def test_bits_of_one_image_do_not_depend_on_the_others():
    x = torch.rand(5, 1, 4, 4)
    assert bits(x, x + 0.1, torch.tensor(0.2))[2] == pytest.approx(float(bits(x[2:3], x[2:3] + 0.1, torch.tensor(0.2))[0]))

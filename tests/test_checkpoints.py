"""The generators that ship with synthkit: small, with a card that says how they were made, and obedient."""
import numpy as np
import pytest

import synthkit as sk
from synthkit.core.provenance import canonical
from synthkit.generators.checkpoint import MANIFEST, SHIPPED

NAMES = sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))
MOST_BYTES = 12 * 2**20


@pytest.fixture(scope="module", params=NAMES)
def shipped(request):
    return request.param, sk.Generator.pretrained(request.param)


@pytest.fixture(scope="module", params=[name for name in NAMES if name.startswith("chest")])
def films(request):
    return sk.Generator.pretrained(request.param)


def test_there_is_one_of_every_family_that_films_need():
    families = {type(sk.Generator.pretrained(name).recipe).__name__ for name in NAMES}
    assert families >= {"Diffusion", "VAE", "GAN", "Student"}


def test_it_is_small_and_its_card_is_whole(shipped):
    name, generator = shipped
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) <= MOST_BYTES
    card = generator.card
    assert card.measured and all(row["n"] > 0 for row in card.measured)
    taught = [card.trained_on, *card.trained_on.get("before", [])]
    assert all(record["licence"] == "Apache-2.0" for record in taught) and len(generator.patients) == max(record["images"] for record in taught)
    lines, recipe = card.command.split("; "), card.command.split("; ")[-1].split(".fit(train, ")[0]
    phantom = {"chest": "ChestPhantom(64)", "brain": "BrainPhantom(48)"}[name.split("-")[0]]
    assert lines[0].startswith(f"train = sk.{phantom}.cohort({card.trained_on['images']}")
    assert canonical(eval(recipe, {"sk": sk}).to_json()) == canonical(generator.recipe.to_json())


def test_the_sex_that_is_asked_for_shows(films):
    """Films of men and of women differ as the phantom's do, subject by subject."""
    phantom, generator = sk.ChestPhantom(size=64), films
    subjects = phantom.cohort(24, seed=9_900)
    asked = [generator.schema.do(subjects.table, {"sex": level}) for level in ("F", "M")]
    women, men = (generator.sample(table, seed=1).images.tensor().numpy() for table in asked)
    exact_women, exact_men = (phantom.counterfactual(subjects, {"sex": level}).images.tensor().numpy() for level in ("F", "M"))
    assert np.corrcoef((women - men).mean(0).ravel(), (exact_women - exact_men).mean(0).ravel())[0, 1] > 0.5
    assert np.corrcoef(np.r_[women, men].mean(0).ravel(), np.r_[exact_women, exact_men].mean(0).ravel())[0, 1] > 0.95


@pytest.fixture(scope="module")
def heads():
    return sk.Generator.pretrained("brain-phantom-48").using(steps=4, solver="adams", shift=2)


def test_heads_lie_where_heads_lie_in_every_contrast(heads):
    phantom = sk.BrainPhantom(size=48)
    subjects = phantom.cohort(4, seed=9_901)
    drawn, exact = (cohort.images.tensor().numpy().mean(0) for cohort in (heads.sample(subjects.table, seed=1), subjects))
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8 for a, b in zip(drawn, exact))


def test_a_ct_drawn_from_mr_is_nearer_than_that_of_another_head(heads):
    phantom = sk.BrainPhantom(size=48)
    subjects = phantom.cohort(4, seed=9_902)
    drawn, exact = heads.complete(subjects, missing=["CT"], seed=0).images.tensor(), subjects.images.tensor()
    miss, other = ((shown[:, 3] - exact[:, 3]).abs().mean() for shown in (drawn, exact.roll(1, 0)))
    assert (drawn[:, :3] - exact[:, :3]).abs().max() < 1e-4 and miss < 0.5 * other

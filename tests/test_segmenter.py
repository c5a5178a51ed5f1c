"""Segmenters: what they learn, how overlap is counted, and which masks they refuse."""
import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, FitError, LeakageError
from synthkit.nets.network import Batch
from synthkit.nets.segmenter import OrganNet, halvings
from synthkit.tasks.organs import OrganFinder, checked, dice
from synthkit.tasks.segmenter import Segmenter


def balls(count: int, size: tuple[int, ...], *, seed: int = 0, prefix: str = "p") -> tuple[Cohort, dict[str, torch.Tensor]]:
    """A bright ball with a dark core somewhere in noise, and the masks of ball and core."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"))
    images, masks = rng.normal(0, 0.1, (count, 1, *size)), {"ball": [], "core": []}
    for image in images:
        centre = np.array([rng.uniform(n * 0.35, n * 0.65) for n in size]).reshape(-1, *(1,) * len(size))
        away = np.sqrt((((grid - centre) / (np.array(size).reshape(centre.shape) / 16)) ** 2).sum(0))
        masks["ball"].append(away < 5)
        masks["core"].append(away < 2.5)
        image[0] += np.where(away < 2.5, -0.7, np.where(away < 5, 0.7, 0))
    space = Space(size, (Channel("grey", high=65535),))
    table = toy_table(count, prefix=prefix)
    cohort = Cohort.of(space.to_raw(torch.from_numpy(images)), table, schema=SCHEMA, space=space, provenance=Provenance("real", "balls"))
    return cohort, {name: torch.from_numpy(np.stack(mask)) for name, mask in masks.items()}


TRAIN, MASKS = balls(60, (16, 16))
TEST, TRUTH = balls(30, (16, 16), seed=1, prefix="t")
SMALL = Segmenter(width=8)


@pytest.fixture(scope="module")
def finder() -> OrganFinder:
    return SMALL.fit(TRAIN, MASKS, budget=Steps(120), progress=False)


def test_overlapping_organs_are_learnt(finder):
    scores = finder.score(TEST, TRUTH).set_index("organ")
    assert list(scores.index) == ["ball", "core"] and (scores["value"] > 0.85).all() and (scores["n"] == 30).all()
    assert (scores["low"] <= scores["value"]).all() and (scores["value"] <= scores["high"]).all()
    assert "ball, core" in repr(finder) and "51" not in repr(finder) and "60 patients" in repr(finder)


def test_masks_stand_row_by_row_and_an_empty_cohort_has_none(finder):
    whole, rows = finder.masks(TEST), [7, 3]
    assert whole["core"].shape == (30, 16, 16) and whole["core"].dtype == torch.bool
    assert torch.equal(finder.masks(TEST[rows])["ball"], whole["ball"][rows])
    assert finder.masks(TEST[:0])["ball"].shape == (0, 16, 16)


def test_mirrored_images_give_mirrored_masks(finder):
    turned = finder.outline(TEST.images.tensor().flip(-1))
    assert dice(turned["ball"], TRUTH["ball"].flip(-1)).mean() > 0.8


def test_the_same_seed_gives_the_same_segmenter():
    runs = [SMALL.fit(TRAIN, MASKS, budget=Steps(3), seed=seed, progress=False).module(TEST.images.tensor()) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("size", [(4, 8, 8), (6, 17, 20)])
def test_volumes_of_any_size_are_segmented(size):
    cohort, masks = balls(8, size)
    found = SMALL.fit(cohort, masks, budget=Steps(2), progress=False).masks(cohort)
    assert found["ball"].shape == (8, *size)


def test_a_volume_is_learnt():
    cohort, masks = balls(24, (8, 16, 16))
    test, truth = balls(8, (8, 16, 16), seed=5, prefix="t")
    fitted = Segmenter(organs=("ball",), width=8, batch_size=4).fit(cohort, masks, budget=Steps(60), progress=False)
    assert fitted.organs == ("ball",) and fitted.score(test, truth).loc[0, "value"] > 0.75


def test_patients_kept_apart_may_be_given():
    fitted = SMALL.fit(TRAIN[:20], {k: v[:20] for k, v in MASKS.items()}, valid=(TEST, TRUTH), budget=Steps(2), progress=False)
    assert fitted.patients == frozenset({*TRAIN.table["patient_id"][:20], *TEST.table["patient_id"]})


def test_dice_is_that_of_monai_and_one_where_both_are_empty():
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((5, 6, 7)) < share) for share in (0.4, 0.6))
    assert dice(a, b) == pytest.approx(DiceMetric()(a[:, None].float(), b[:, None].float())[:, 0].numpy())
    empty = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert dice(empty, empty).tolist() == [1, 1] and dice(empty, ~empty).tolist() == [0, 0]
    half = torch.zeros(1, 4, 4, dtype=torch.bool)
    half[:, :2] = True
    assert dice(half, ~empty[:1]).tolist() == [pytest.approx(2 / 3)]


def test_the_loss_of_perfect_undecided_and_wrong_maps():
    net, masks = OrganNet(channels=1, size=(8, 8), organs=2, width=8), torch.zeros(3, 2, 8, 8)
    masks[:, 0, :4], masks[0, 1, 2:4] = 1, 1
    logits = 40 * (2 * masks - 1)
    assert float(net.loss(logits, masks)) == pytest.approx(0, abs=1e-4)
    # Cross-entropy of undecided maps is ln 2. Soft Dice over the batch: sum p g = 96/2 and 16/2, sum p = 192/2, sum g = 96 and 16.
    soft = 1 - np.mean([2 * 48 / (96 + 96), 2 * 8 / (96 + 16)])
    assert float(net.loss(torch.zeros_like(masks), masks)) == pytest.approx(np.log(2) + soft, abs=1e-4)
    assert float(net.loss(-logits, masks)) > 30


def test_masks_move_with_their_images():
    net = OrganNet(channels=1, size=(32, 32), organs=1, width=8)
    masks = torch.zeros(16, 1, 32, 32)
    masks[..., 8:20, 6:14] = 1
    x, moved = net._changed(Batch(2 * masks - 1, masks.flatten(1), torch.Generator().manual_seed(0)), masks)
    assert ((x > 0) == (moved > 0)).float().mean() > 0.97 and not torch.equal(moved, masks)
    centre = (moved * torch.arange(32)).sum((1, 2, 3)) / moved.sum((1, 2, 3))
    assert (centre < 14).any() and (centre > 18).any(), "some are mirrored, some are not"


@pytest.mark.parametrize(
    ("size", "levels", "last"), [((16, 16), 1, (8, 8)), ((64, 64), 3, (8, 8)), ((4, 8, 8), 0, (4, 8, 8)), ((16, 64, 32), 3, (8, 8, 8)), ((20, 20), 1, (10, 10))]
)
def test_each_axis_is_halved_while_it_is_large(size, levels, last):
    strides = halvings(size)
    assert len(strides) == levels and tuple(-(-n // np.prod([s[axis] for s in strides], dtype=int)) for axis, n in enumerate(size)) == last


class Bright(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_any_torch_module_plugs_in_and_only_its_own_organs_are_scored():
    plugged = OrganFinder(Bright(), ("bright",), TEST.space)
    truth = {"bright": TEST.images.tensor()[:, 0] > 0, "ball": TRUTH["ball"], "nothing": torch.zeros(30, 16, 16)}
    assert plugged.score(TEST, truth)[["organ", "value"]].values.tolist() == [["bright", 1.0]]
    assert "outside synthkit" in repr(plugged)
    with pytest.raises(DataError, match=r"module gave \(1, 16, 16\); it must give logits \(2 organs"):
        OrganFinder(Bright(), ("a", "b"), TEST.space).masks(TEST)


def test_organs_that_hardly_any_image_shows_are_left_out_unasked():
    rare = {**MASKS, "lesion": torch.zeros(60, 16, 16, dtype=torch.bool)}
    assert SMALL.fit(TRAIN, rare, budget=Steps(1), progress=False).organs == ("ball", "core")
    assert checked({"a": MASKS["ball"].numpy().astype(np.uint8)}, TRAIN)["a"].equal(MASKS["ball"])


NOTHING = torch.zeros(60, 16, 16)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: SMALL.fit(TRAIN, {}), DataError, "masks: give a dictionary"),
        (lambda: SMALL.fit(TRAIN, {"ball": MASKS["ball"][:50]}), DataError, r"masks of ball: shape \(50, 16, 16\), but the cohort needs \(60, 16, 16\)"),
        (lambda: SMALL.fit(TRAIN, {"ball": NOTHING + 3}), DataError, "masks of ball hold other values than 0 and 1"),
        (lambda: Segmenter(organs="heart").fit(TRAIN, MASKS), DataError, "masks has no organ 'heart'; it has ball, core"),
        (lambda: Segmenter(organs=("lesion",)).fit(TRAIN, {"lesion": NOTHING}), FitError, "masks of lesion are empty in all 60 training images"),
        (lambda: SMALL.fit(TRAIN, {"lesion": NOTHING}), FitError, "no organ of lesion is seen in more than 1%"),
        (lambda: SMALL.fit(TRAIN, MASKS, valid=(TRAIN, MASKS)), LeakageError, "both train and valid"),
        (lambda: SMALL.fit(TRAIN, MASKS, valid=(TEST, {"ball": TRUTH["ball"]})), DataError, "the masks of valid lack 'core'"),
        (lambda: SMALL.fit(TRAIN, MASKS, valid=balls(8, (8, 8), prefix="v")), DataError, r"valid and train do not fit together: sizes \(8, 8\) and \(16, 16\)"),
        (lambda: OrganFinder(Bright(), ("a",), TEST.space).masks(toy_cohort(4, size=(8, 8))), DataError, "this segmenter cannot read the cohort: sizes"),
        (lambda: OrganFinder(Bright(), ("a",), TEST.space, frozenset({"t-0"})).score(TEST, TRUTH), LeakageError, r"1 patient\(s\) .* trained on"),
        (lambda: OrganFinder(Bright(), ("a",), TEST.space).outline(torch.zeros(1, 1, 8, 8)), DataError, r"reads \(1, 16, 16\) images, got \(1, 8, 8\)"),
    ],
)
def test_what_cannot_be_learnt_or_read_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_one_patient_cannot_be_kept_apart():
    cohort, masks = toy_cohort(8, per_patient=8), {"a": torch.ones(8, 16, 16)}
    with pytest.raises(FitError, match=r"early stopping needs patients kept apart.*give valid=\(cohort, masks\)"):
        SMALL.fit(cohort, masks)

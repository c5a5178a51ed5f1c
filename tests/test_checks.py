"""Quality control: each rule on images whose value is known, limits in closed form, planted faults, copies, and false alarms."""
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.space import Channel, Space
from synthkit.data.load import load
from synthkit.errors import DataError
from synthkit.metrics.checks.check import check, standard_rules
from synthkit.metrics.checks.detail import Detail, smoothed
from synthkit.metrics.checks.duplicates import Duplicates, Near, copies, neighbours, same_integers
from synthkit.metrics.checks.exposure import Black, Contrast, OutOfWindow, Saturated
from synthkit.metrics.checks.limits import Limits, limits_of
from synthkit.metrics.checks.organs import OrganArea, OrganPlace, organ_rules
from synthkit.metrics.checks.orientation import Orientation, Symmetry
from synthkit.metrics.checks.real import RealImages
from synthkit.metrics.checks.rule import Block, ImageRule
from synthkit.phantoms.chest import ChestPhantom
from synthkit.tasks.organs import OrganFinder

CHEST = ChestPhantom(size=32)
LIKE = CHEST.cohort(160, seed=1)
FRESH = CHEST.cohort(40, seed=2)


def cohort_of(images: torch.Tensor, like: Cohort = FRESH, *, patients: list[str] | None = None, prefix: str = "i") -> Cohort:
    """A cohort of given images in another's space."""
    table = toy_table(len(images), prefix=prefix)
    table = table if patients is None else table.assign(patient_id=patients)
    return Cohort.of(like.space.to_raw(images), table, schema=SCHEMA, space=like.space, provenance=Provenance("synthetic", "planted"))


def noisy(count: int, size: tuple[int, ...], *, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Smooth random fields whose left part is brighter."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(0, 0.3, (count, channels, *(max(2, n // 4) for n in size)))).float()
    fields = torch.nn.functional.interpolate(coarse, size, mode="bilinear" if len(size) == 2 else "trilinear")
    return (fields + torch.linspace(0.4, -0.4, size[-1]) + torch.from_numpy(rng.normal(0, 0.03, fields.shape)).float()).clamp(-1, 1)


def test_grey_value_rules_on_images_with_known_shares():
    image = torch.tensor([[-1.0, -1, -1, 1], [0, 0, 0, 0]]).reshape(1, 1, 2, 4)
    assert float(Black().measure(image)) == 3 / 8 and float(Saturated().measure(image)) == 1 / 8
    assert float(Contrast().measure(image)) == pytest.approx(float(image.std(correction=0)))
    # Red, green and blue of their own level each: no channel varies.
    assert float(Contrast().measure(torch.tensor([-0.5, 0, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4))) == 0


def test_eight_and_sixteen_bits_count_black_alike():
    space = Space((16, 16), (Channel("grey", high=65535),))
    fine = torch.linspace(-1, -0.9, 256).reshape(1, 1, 16, 16)
    coarse = Space((16, 16), (Channel("grey", high=255),))
    shares = [float(Black().measure(s.to_float(s.to_raw(fine)))) for s in (space, coarse)]
    assert shares[0] == shares[1] > 0


def test_values_outside_the_window_are_counted_before_they_are_clipped():
    space = Space((2, 2), (Channel("ct", low=-100, high=100, unit="HU"), Channel("mask", kind="mask", low=0, high=1)))
    raw = np.array([[[-101, -100], [100, 900]], [[0, 1], [1, 2]]], np.int16)[None]
    assert float(OutOfWindow().look(Block(space.to_float(raw), raw, space, {}, {}))) == 3 / 8


def test_detail_of_a_chequerboard_a_plane_and_a_constant():
    chequer = torch.tensor([[1.0, -1], [-1, 1]]).tile(8, 8)[None, None]
    # 1-2-1 takes the fastest wave away wholly; the border, which repeats itself, keeps some of it.
    assert torch.allclose(smoothed(chequer)[..., 1:-1, 1:-1], torch.zeros(14, 14), atol=1e-6)
    ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    assert torch.allclose(smoothed(ramp)[..., 1:-1], ramp[..., 1:-1], atol=1e-6)
    assert float(Detail().measure(torch.full((1, 1, 8, 8), 0.3))) == pytest.approx(-80, abs=1e-3)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 1, 256, 256)))
    # Of white noise 1 - 2 h0 + sum h² stays, where the filter h has the weight 1/4 at its centre and the energy (3/8)².
    assert float(Detail().measure(noise)) == pytest.approx(10 * np.log10(0.01 * (1 - 2 / 4 + 9 / 64)), abs=0.1)
    assert float(Detail().measure(noise / 10)) == pytest.approx(float(Detail().measure(noise)) - 20, abs=0.1)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 8, 8), (2, 1, 4, 6, 8)])
def test_symmetry_is_one_minus_one_or_nothing(shape):
    half = torch.from_numpy(np.random.default_rng(0).normal(size=(*shape[:-1], shape[-1] // 2)))
    even, odd = torch.cat([half, half.flip(-1)], -1), torch.cat([half, -half.flip(-1)], -1)
    assert torch.allclose(Symmetry().measure(even), torch.ones(2).double())
    assert torch.allclose(Symmetry().measure(odd), -torch.ones(2).double())
    assert Symmetry().measure(torch.full(shape, 0.4)).isnan().all()


@pytest.mark.parametrize(("size", "channels", "axis"), [((16, 16), 1, -1), ((15, 17), 1, -1), ((16, 16), 3, -1), ((6, 12, 16), 1, -1), ((16, 16), 1, -2)])
def test_orientation_is_one_on_average_and_changes_its_sign_in_the_mirror(size, channels, axis):
    rule = Orientation(axis=axis)
    images = noisy(60, size, channels=channels) + torch.linspace(0.3, -0.3, size[axis]).reshape(-1, *(1,) * (-1 - axis))
    rows = rule.describe(images)
    learnt = rule.learn(rows).expand(len(rows), -1)
    values, mirrored = rule.compare(rows, learnt), rule.compare(rule.describe(images.flip(axis)), learnt)
    assert float(values.mean()) == pytest.approx(1) and torch.allclose(mirrored, -values, atol=1e-5)


def test_where_real_images_lie_either_way_no_side_is_wrong_and_the_result_says_so():
    either = torch.cat([x.flip(-1) if row % 2 else x for row, x in enumerate(LIKE.images.tensor()[:80].split(1))])
    qc = check(FRESH, like=cohort_of(either, prefix="either"))
    assert not qc.fails()["laterality"].any() and qc.fails()["upright"].mean() < 0.1
    assert any("laterality: real images hardly tell one side from the other; of mirrored ones this rule would find 0%" in note for note in qc.caveats())


def test_orientation_says_nothing_where_nothing_is_learnt_or_nothing_shows():
    rule = Orientation()
    constant = torch.zeros(12, 1, 8, 8)
    assert rule.learn(rule.describe(constant)).isnan().all()
    assert rule.compare(rule.describe(constant), torch.ones(12, 32)).isnan().all()
    assert rule.look(Block(constant, constant.numpy(), FRESH.space, {}, {})).isnan().all()


def test_limits_are_quantiles_moved_out_from_the_median():
    values = np.arange(1001.0)
    margin = 0.5 + 6 / 1001
    assert limits_of(Detail(), values).low == pytest.approx(10 - margin * 490, abs=1e-2)
    assert limits_of(Detail(), values).high == pytest.approx(990 + margin * 490, abs=1e-2)
    ratio = limits_of(Contrast(), np.exp(values / 100))
    assert np.log(ratio.low) == pytest.approx(0.1 - margin * 4.9, abs=1e-3) or ratio.low == pytest.approx(1 / 255)
    assert np.log(ratio.high) == pytest.approx(9.9 + margin * 4.9, abs=1e-3)
    assert Limits(0, 1, "given").broken(np.array([-0.1, 0, 0.5, 1, 1.1, np.nan])).tolist() == [True, False, False, False, True, False]


def test_limits_have_their_fixed_parts():
    assert limits_of(Black(), np.zeros(50)).high == 0.05, "a share of 5 % is harmless"
    assert limits_of(Black(), np.zeros(50)).low == -np.inf, "no side without words"
    assert limits_of(Contrast(), np.zeros(50)).low == 1 / 255, "a constant frame fails whatever the real ones show"
    assert limits_of(Detail(low=-50), np.linspace(-20, -10, 50)).low == -50
    assert limits_of(Detail(), np.linspace(-20, -10, 11)).origin == "none" == limits_of(Detail(), None).origin
    assert limits_of(Orientation(), np.linspace(0.8, 1.2, 50)).low == 0
    assert limits_of(Orientation(), np.linspace(0.1, 2, 50)).low == pytest.approx((0.1 - 0.62 * 0.95) / 2, abs=1e-3)
    assert limits_of(Orientation(), np.linspace(-0.2, 2, 50)).low == pytest.approx(-0.2 - 0.62 * 1.1, abs=1e-3)
    assert limits_of(Orientation(), np.linspace(-1, 2, 50)).low == -np.inf, "real images lie either way: none is called mirrored"


def test_an_organ_that_real_images_lack_by_habit_may_be_missing():
    sometimes, always = np.r_[np.zeros(30), np.full(70, 0.1)], np.full(100, 0.1)
    assert not limits_of(OrganArea(organ="lesion"), sometimes).broken(np.array([0.0, 0.1])).any()
    assert limits_of(OrganArea(organ="heart"), always).broken(np.array([0.0, 0.1, 0.2])).tolist() == [True, False, True]


def spoilt(kind: str, x: torch.Tensor) -> torch.Tensor:
    """Images with one fault."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, x.shape)).float()
    return {"black": -torch.ones_like(x), "saturated": torch.ones_like(x), "constant": torch.full_like(x, 0.2), "mirrored": x.flip(-1),
            "upside down": x.flip(-2), "blurred": smoothed(smoothed(smoothed(x))), "noisy": (x + noise).clamp(-1, 1)}[kind]  # fmt: skip


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    """Rules that the images of each planted fault fail, as one frame."""
    x, frames = FRESH.images.tensor()[:12], []
    for kind in ("black", "saturated", "constant", "mirrored", "upside down", "blurred", "noisy"):
        frame = check(cohort_of(spoilt(kind, x)), like=LIKE).frame()
        frames.append(frame.assign(kind=kind))
    return pd.concat(frames)


@pytest.mark.parametrize(
    ("kind", "rule", "least"),
    [("black", "black", 1), ("black", "contrast", 1), ("saturated", "saturated", 1), ("constant", "contrast", 1), ("mirrored", "laterality", 0.8),
     ("upside down", "upright", 1), ("blurred", "detail", 1), ("noisy", "detail", 1)],
)  # fmt: skip
def test_planted_faults_fail_their_rule(planted, kind, rule, least):
    failed = planted["failed"][planted["kind"] == kind]
    assert failed.str.split(", ").map(lambda names: rule in names).mean() >= least


def test_fresh_images_seldom_fail_and_no_rule_changes_its_mind():
    first, again = (check(FRESH, like=LIKE, seed=3) for _ in range(2))
    assert first.frame().equals(again.frame()) and first.shares().equals(again.shares())
    assert (first.frame()["failed"] != "").mean() <= 0.1
    held_out = first.shares().iloc[0]
    assert held_out["floor_n"] == 160 and held_out["floor"] <= 0.06 and held_out["floor_low"] <= held_out["floor"] <= held_out["floor_high"]


def test_a_value_of_an_image_does_not_depend_on_the_others():
    whole, part = check(FRESH, like=LIKE).frame(), check(FRESH[5:9], like=LIKE).frame()
    names = [rule.name for rule in standard_rules(FRESH.space)]
    assert np.allclose(whole.loc[5:8, names].to_numpy(), part[names].to_numpy(), atol=1e-6, equal_nan=True)


def test_a_constant_frame_fails_even_where_real_ones_are_constant():
    blank = cohort_of(torch.zeros(20, 1, 32, 32), prefix="blank")
    failing = check(blank, like=blank).failing
    assert len(failing) == 20 and failing["failed"].str.contains("contrast").all()


def test_the_result_names_reasons_counts_and_what_was_dropped():
    x = FRESH.images.tensor()[:10]
    images = torch.cat([x[:6], spoilt("black", x[6:7]), spoilt("blurred", x[7:8]), x[8:], x[8:9]])
    qc = check(cohort_of(images), like=LIKE, rules=[Orientation(low=-np.inf)])
    frame, failing = qc.frame(), qc.failing.set_index("image_id")
    assert list(frame.columns) == ["image_id", *(rule.name for rule in standard_rules(FRESH.space)), "duplicate", "duplicate_of", "failed"]
    assert {"i-image-6", "i-image-7", "i-image-10"} <= set(failing.index) and set(failing.index) == set(frame["image_id"][frame["failed"] != ""])
    assert failing.loc["i-image-6", "reason"].startswith("black frame (black 1, over ") and "too smooth (detail -" in failing.loc["i-image-7", "reason"]
    assert failing.loc["i-image-10", "reason"] == "copy of i-image-8" and frame["duplicate_of"].iloc[-1] == "i-image-8"
    kept, step = qc.passed(), qc.passed().provenance.recipe["steps"][-1]
    assert kept.table["image_id"].tolist() == frame["image_id"][frame["failed"] == ""].tolist() and len(kept) == 11 - len(failing)
    assert step["dropped"] == len(failing) and step["images"] == 11 and step["dropped by rule"]["duplicate"] == 1
    assert step["check"]["laterality"] == [None, None] and step["check"]["black"][1] == qc.limits.set_index("rule").loc["black", "high"]
    assert f"{len(failing)} fail" in qc.title and "False alarms" in " ".join(qc.caveats()) and "160 images" in " ".join(qc.caveats())
    bounds = qc.limits.set_index("rule")
    for rule in qc.rules:
        beyond = Limits(*bounds.loc[rule.name]).broken(qc.values[rule.name].to_numpy())
        assert qc.fails()[rule.name].tolist() == beyond.tolist()
    shares = qc.shares().set_index("rule")
    assert shares.loc["any rule", "value"] == len(failing) / 11 and shares.loc["duplicate", "value"] == pytest.approx(1 / 11)
    assert qc.figure().layout.title.text == qc.title and any("black frame (1)" in note.text for note in qc.figure().layout.annotations)


def test_where_all_pass_the_figure_shows_the_shares():
    figure = check(FRESH[:4], like=LIKE, rules=[Orientation(low=-np.inf)]).figure()
    assert {trace.name for trace in figure.data} == {"these images", "held-out real images"}
    assert {"any rule", "detail", "duplicate"} <= set(figure.layout.yaxis.ticktext)


def test_the_contact_sheet_shows_some_images_of_every_fault():
    x = FRESH.images.tensor()
    images = torch.cat([spoilt(kind, x[:12]) for kind in ("black", "saturated", "constant", "blurred", "noisy")])
    qc = check(cohort_of(images), like=LIKE)
    names = [note.text for note in qc.figure().layout.annotations]
    assert "20 of them" in qc.figure().layout.title.text and len(names) == 5
    assert {name.split(" (")[0] for name in names} == {"black frame", "saturated frame", "flat frame", "too smooth", "too noisy"}


@dataclass(frozen=True, kw_only=True)
class Corner(ImageRule):
    """Mean of the upper left pixel."""

    name, too_high, absolute = "corner", "bright corner", (-np.inf, 0.5)

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, 0]


def test_own_rules_join_in_and_replace_those_of_their_name():
    images = FRESH.images.tensor()[:4].clone()
    images[2, 0, 0, 0] = 1
    qc = check(cohort_of(images), rules=[Corner(), Detail(low=0.0)])
    assert qc.failing["failed"].tolist() == ["detail", "detail", "detail, corner", "detail"]
    assert qc.limits.set_index("rule").loc["detail", ["low", "origin"]].tolist() == [0, "given"]


def test_without_real_images_only_absolute_limits_fail():
    images = torch.cat([FRESH.images.tensor()[:4], torch.full((1, 1, 32, 32), -1.0), torch.zeros(1, 1, 32, 32), FRESH.images.tensor()[:1]])
    qc = check(cohort_of(images))
    assert qc.frame()["failed"].tolist() == [""] * 4 + ["black, contrast", "contrast", "duplicate"] and qc.held_out is None
    assert "detail, symmetry, laterality, upright are measured but fail no image" in qc.caveats()[-1] or "measured but fail" in " ".join(qc.caveats())
    assert qc.shares()["floor"].isna().all()


UNIT = np.eye(4)


@pytest.mark.parametrize(
    ("rows", "units", "partner"),
    [
        ([UNIT[0], UNIT[1], UNIT[0] + 0.1 * UNIT[1]], "abc", [-1, -1, 0]),
        ([UNIT[0], UNIT[1], UNIT[0] + 0.1 * UNIT[1]], "aba", [-1, -1, -1]),  # one patient's images may be alike
        ([UNIT[0], 9 * UNIT[0]], "ab", [-1, -1]),  # alike, but far apart
        ([UNIT[0], UNIT[0] + 0.3 * UNIT[1], UNIT[0] + 0.6 * UNIT[1]], "abc", [-1, 0, -1]),  # the third is near the second, which is dropped
        ([UNIT[0] * 0, UNIT[0] * 0], "ab", [-1, -1]),
    ],
)
def test_copies_of_points_with_known_angles(rows, units, partner):
    features = torch.from_numpy(np.array(rows)).float()
    found = copies(features, np.array(list(units)), np.arange(len(rows)), Near(0.9, 1.0))[1]
    assert found.tolist() == partner


def test_nearest_images_are_those_of_other_patients():
    features = torch.tensor([[1.0, 0], [1, 0.1], [0, 1]])
    found = neighbours(features, np.array(["a", "a", "b"]))
    assert found.correlation == pytest.approx([0, 0.1 / 1.01**0.5, 0.1 / 1.01**0.5], abs=1e-6)
    assert found.distance == pytest.approx([2**0.5, (1 + 0.81) ** 0.5, (1 + 0.81) ** 0.5], abs=1e-5)


def test_an_exact_copy_is_one_of_equal_integers_however_alike_a_near_one_is():
    x = FRESH.images.tensor()[:4]
    dot = x[1:2].clone()
    dot[0, 0, 5, 5] += 3e-5 if dot[0, 0, 5, 5] < 0 else -3e-5  # one stored integer
    again = check(cohort_of(torch.cat([x, x[:1], dot, dot])), like=LIKE)
    assert again.partner.tolist() == [-1] * 4 + [0, 1, 1] and again.exact.tolist() == [False] * 4 + [True, False, False]
    assert again.values["duplicate"].iloc[5] > 0.999999 and again.values["duplicate"].iloc[6] == again.values["duplicate"].iloc[5]
    reasons = again.failing.set_index("image_id")["reason"]
    assert "near" not in reasons["i-image-4"] and all("near copy of i-image-1 (correlation 1.000" in reasons[f"i-image-{row}"] for row in (5, 6))


@pytest.mark.parametrize(("size", "channels"), [((32, 32), 1), ((24, 24), 3), ((8, 16, 16), 1)])
def test_exact_and_near_copies_are_found_in_films_colours_and_volumes(size, channels, monkeypatch):
    space = Space(size, tuple(Channel(name) for name in ("red", "green", "blue")[:channels]))
    empty = Cohort.of(np.zeros((0, *space.shape), np.uint8), toy_table(0), schema=SCHEMA, space=space, provenance=Provenance("real", "toy"))
    like, x = cohort_of(noisy(120, size, channels=channels), empty, prefix="like"), noisy(30, size, channels=channels, seed=1)
    shifted = 0.75 * x[3:4] + 0.25 * torch.roll(x[3:4], 1, -1) + 0.02 * torch.from_numpy(np.random.default_rng(2).normal(size=(1, *space.shape))).float()
    cohort = cohort_of(torch.cat([x, x[3:4], shifted, 0.8 * x[5:6] + 0.05]), empty)
    qc = check(cohort, like=like)
    assert qc.partner.tolist() == [-1] * 30 + [3, 3, 5] and qc.values["duplicate"].iloc[30] == 1
    monkeypatch.setattr("synthkit.metrics.checks.duplicates.BLOCK", 7)
    assert check(cohort, like=like).partner.tolist() == qc.partner.tolist()


def test_a_fault_that_all_images_share_makes_no_copies():
    x = CHEST.cohort(60, seed=4).images.tensor().clone()
    x[:, :, 20:, :10] = (x[:, :, 20:, :10] + 0.4).clamp(-1, 1)
    assert (check(cohort_of(x), like=LIKE).partner >= 0).mean() <= 0.05


def test_a_cohort_of_one_image_again_and_again_is_found_whole():
    one = FRESH.images.tensor()[:1] + 0.02 * torch.from_numpy(np.random.default_rng(0).normal(size=(20, 1, 32, 32))).float()
    assert check(cohort_of(one), like=LIKE).partner.tolist() == [-1] + [0] * 19


def test_equal_integers_are_one_digest():
    assert same_integers(cohort_of(FRESH.images.tensor([0, 1, 0, 2, 1]))).tolist() == [0, 1, 0, 3, 1]


def test_duplicate_limits_are_taken_from_the_tail():
    real = RealImages.of(LIKE, (), organs=None, seed=0).neighbours()
    near = Duplicates().limits(real)
    assert np.quantile(real.correlation, 0.99) < near.correlation < 1 and 0 < near.distance <= np.quantile(real.distance, 0.01)
    assert Duplicates(correlation=0.5).limits(real).correlation == 0.5


class Lungs(torch.nn.Module):
    """Finds "lungs" where an image is above 0.5 and a "heart" where it is below -0.5."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1] - 0.5, -0.5 - x[:, :1]], 1)


def body(heart: int, *, width: int = 4, lungs: bool = True) -> torch.Tensor:
    """A 20 x 20 frame: two bright lungs, and a dark heart that starts at one column."""
    image = torch.zeros(1, 1, 20, 20)
    if lungs:
        image[..., 4:16, 2:7], image[..., 4:16, 13:18] = 1, 1
    image[..., 10:15, heart : heart + width] = -1
    return image


SPACE = Space((20, 20), (Channel("grey"),))
FINDER = OrganFinder(Lungs(), ("lungs", "heart"), SPACE)


def test_area_and_place_of_organs_in_closed_form():
    images = torch.cat([body(9), body(6), body(9, lungs=False)])
    block = Block(images, images.numpy(), SPACE, {}, FINDER.outline(images))
    assert OrganArea(organ="heart").look(block).tolist() == [0.05] * 3 and OrganArea(organ="lungs").look(block).tolist() == pytest.approx([0.3, 0.2875, 0])
    # The middle between the lungs is column 9.5; the heart's own middle is 10.5, then 7.5.
    place = OrganPlace(organ="heart", others=("lungs",)).look(block)
    assert place[:2].tolist() == pytest.approx([0.05, -0.1], abs=0.03) and place[2].isnan()
    assert [rule.name for rule in organ_rules(("lungs", "heart"))] == ["lungs_area", "heart_area", "lungs_place", "heart_place"]
    assert [rule.name for rule in organ_rules(("lungs",))] == ["lungs_area"]


def test_a_missing_or_mirrored_or_huge_organ_fails_by_the_segmenter():
    rng = np.random.default_rng(0)
    empty = Cohort.of(np.zeros((0, 1, 20, 20), np.uint8), toy_table(0), schema=SCHEMA, space=SPACE, provenance=Provenance("real", "toy"))
    like = cohort_of(torch.cat([body(int(rng.integers(8, 11)), width=int(rng.integers(3, 6))) for _ in range(60)]), empty, prefix="like")
    odd = cohort_of(torch.cat([body(9), body(9, width=0), body(3), body(1, width=19), body(9, lungs=False)]), empty)
    found = check(odd, like=like, organs=FINDER).frame()["failed"].str.split(", ").map(set)
    wanted = [set(), {"heart_area"}, {"heart_place"}, {"heart_area"}, {"lungs_area"}]
    assert all(want <= names for want, names in zip(wanted, found)) and not {"heart_area", "lungs_area", "heart_place"} & found[0]


def hu(window: tuple[int, int]) -> Cohort:
    space = Space((16, 16), (Channel("ct", low=window[0], high=window[1], unit="HU"),))
    return Cohort.of(np.zeros((16, 1, 16, 16), np.int16), toy_table(16), schema=SCHEMA, space=space, provenance=Provenance("real", "ct"))


class Wrong(Corner):
    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check(FRESH[:0], like=LIKE), "the cohort is empty"),
        (lambda: check(FRESH, like=LIKE[:11]), "like: 11 images of 11 patient.* give at least 12 of 2 or more"),
        (lambda: check(FRESH, like=LIKE[:0]), "like: 0 images"),
        (lambda: check(toy_cohort(20, size=(32, 32)), like=toy_cohort(20, size=(32, 32), per_patient=20)), "20 images of 1 patient"),
        (lambda: check(FRESH, like=toy_cohort(20)), r"do not fit together: sizes \(32, 32\) and \(16, 16\)"),
        (lambda: check(hu((-100, 100)), like=hu((-200, 200))), "windows of ct -100..100 HU and -200..200 HU"),
        (lambda: check(FRESH, like=LIKE, organs=FINDER), r"this segmenter cannot read the cohort: sizes \(20, 20\) and \(32, 32\)"),
        (lambda: check(FRESH, rules=["black"]), "rules: 'black' is no rule"),
        (lambda: check(FRESH, rules=[Wrong()]), r"rule corner gave values of shape \(40, 1, 32, 32\) for 40 images"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_eight_bit_real_images_set_limits_for_sixteen_bit_synthetic_ones():
    space = Space(LIKE.space.size, (Channel("xray", high=255),))
    eight = replace(LIKE, images=LIKE.images.to_space(space))
    failed = [(check(FRESH, like=like).frame()["failed"] != "").sum() for like in (LIKE, eight)]
    assert abs(failed[0] - failed[1]) <= 2


def test_real_films_of_other_patients_pass(real_data, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_DATA", str(real_data))
    like, rest = load("nih-cxr64").split((0.6, 0.4), seed=0)
    qc = check(rest[:150], like=like)
    assert qc.shares().loc[0, "value"] < 0.03 and qc.shares().loc[0, "floor"] < 0.03

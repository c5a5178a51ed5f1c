"""What a map foretells of the classifier's change, and edits in Captum's shape."""
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.infidelity import ADDING_UP, SLOPES, counterfactual_infidelity

FILMS = toy_cohort(12, seed=3)
GEN = exact_generator(FILMS)
CPU = torch.device("cpu")


class Weighing(torch.nn.Module):
    """A weighted sum of the pixels, squared or not."""

    def __init__(self, weights: torch.Tensor, power: int = 1):
        super().__init__()
        self.weights, self.power = torch.nn.Parameter(weights), power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weights).flatten(1).sum(1, keepdim=True) ** self.power


X = FILMS.images.tensor()
TWIN = X - torch.linspace(0, 0.5, 16).expand_as(X)  # the first column stays as it is
WEIGHTS = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [*ADDING_UP, *SLOPES])
def test_the_right_map_of_a_linear_classifier_foretells_everything(name):
    right = (X - TWIN) * WEIGHTS if name in ADDING_UP else WEIGHTS.expand_as(X)
    assert counterfactual_infidelity(Weighing(WEIGHTS), name, right, X, TWIN, device=CPU) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["IntegratedGradients", "Saliency"])
def test_a_map_of_zeros_misses_the_whole_change_and_a_doubled_one_as_much(name):
    eye = Weighing(WEIGHTS)
    change = (eye(X) - eye(TWIN))[:, 0].detach().double().numpy()
    right = (X - TWIN) * WEIGHTS if name in ADDING_UP else WEIGHTS.expand_as(X)
    for wrong in (torch.zeros_like(X), 2 * right):
        assert counterfactual_infidelity(eye, name, wrong, X, TWIN, device=CPU) == pytest.approx(change**2, rel=1e-3)


def test_a_slope_misses_what_a_curve_does():
    eye = Weighing(WEIGHTS, power=2)
    slope = 2 * eye.weights.detach() * (X * WEIGHTS).flatten(1).sum(1).reshape(-1, 1, 1, 1)
    missed = ((X - TWIN) * WEIGHTS).flatten(1).sum(1).double().numpy() ** 2
    assert counterfactual_infidelity(eye, "Saliency", slope, X, TWIN, device=CPU) == pytest.approx(missed**2, rel=1e-2)


def test_an_explanation_states_it_as_a_share_of_the_change():
    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = 3 * x.flatten(1).mean(1)
            return torch.stack([torch.zeros_like(bright), bright], 1)

    ill = FILMS.where("lesion == 'present'")
    twin = sk.counterfactual(GEN, ill, {"lesion": "absent"})
    why = sk.explain(sk.Predictor.of(Bright(), SCHEMA["lesion"], FILMS), twin, methods=["IntegratedGradients", "Saliency", "Occlusion"])
    rows = why.frame().set_index("measure")["value"]
    told = {name for name in rows.index if name.endswith("counterfactual infidelity")}
    assert told == {"IntegratedGradients: counterfactual infidelity", "Saliency: counterfactual infidelity"} and all(rows[name] < 1e-6 for name in told)


def test_an_edit_is_asked_as_an_attribution_is():
    ill = FILMS.where("lesion == 'present'")
    maps = sk.EditAttribution(GEN, FILMS, {"lesion": "absent"})
    found = maps.attribute(ill.images.tensor(), target=0, additional_forward_args=ill.table)
    assert (found - sk.counterfactual(GEN, ill, {"lesion": "absent"}).delta).abs().max() < 1e-4 and found.mean() == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize(("inputs", "table", "words"), [
    (X, None, "factors"), (X, FILMS.table[:3], "a row per image"), (X[:, :, :8], FILMS.table, "images of"),
])  # fmt: skip
def test_what_has_no_rows_or_another_shape_is_refused(inputs, table, words):
    with pytest.raises(sk.DataError, match=words):
        sk.EditAttribution(GEN, FILMS, {"lesion": "absent"}).attribute(inputs, additional_forward_args=table)


def test_an_unknown_factor_is_refused_at_once():
    with pytest.raises(sk.SchemaError, match="ghost"):
        sk.EditAttribution(GEN, FILMS, {"ghost": 1})

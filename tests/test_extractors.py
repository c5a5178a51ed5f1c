"""Encoders made elsewhere: opened from files and folders without a network, and shown medical images as they expect them."""
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from toys import toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError, MissingExtraError, StoreError
from synthkit.metrics.cached import cached_weights
from synthkit.metrics.encoder import trained_encoder
from synthkit.metrics.extractors import features, judge_eyes
from synthkit.metrics.pixel_components import pixel_components
from synthkit.metrics.pretrained import PHOTO_MEAN, PHOTO_SPREAD, Photographs

DATA = toy_cohort(20)
HUB = """
import torch
dependencies = ["torch"]
def tiny(pretrained=True, **more):
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
"""


class Seen(torch.nn.Module):
    """Keeps the pictures it is shown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.pictures = x
        return x.mean((2, 3))


def test_grey_is_shown_as_a_resized_normalised_colour_picture():
    network = Seen()
    images = torch.linspace(-1, 1, 2 * 16 * 16).reshape(2, 1, 16, 16)
    found = Photographs(network, 32, PHOTO_MEAN, PHOTO_SPREAD)(images)
    assert network.pictures.shape == (2, 3, 32, 32) and found.shape == (2, 3)
    grey = network.pictures * torch.tensor(PHOTO_SPREAD).reshape(3, 1, 1) + torch.tensor(PHOTO_MEAN).reshape(3, 1, 1)
    assert torch.allclose(grey[:, 0], grey[:, 2], atol=1e-6) and torch.allclose(grey.mean((1, 2, 3)), (images.mean((1, 2, 3)) + 1) / 2, atol=1e-3)


@pytest.mark.parametrize(("shape", "pictures"), [((1, 8, 8), 1), ((3, 8, 8), 1), ((4, 8, 8), 4), ((1, 6, 8, 10), 3), ((2, 6, 8, 10), 6)])
def test_colour_stays_together_and_modalities_and_planes_stand_side_by_side(shape, pictures):
    assert Photographs(Seen(), 16, PHOTO_MEAN, PHOTO_SPREAD)(torch.zeros(2, *shape)).shape == (2, 3 * pictures)


def test_a_program_saved_by_torch_export_is_opened_and_a_damaged_one_refused(tmp_path, caplog):
    class Pool(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(x, 8).flatten(1)

    batch = torch.export.Dim("batch", min=1, max=512)
    torch.export.save(torch.export.export(Pool(), (torch.zeros(4, 1, 16, 16),), dynamic_shapes=({0: batch},)), tmp_path / "pool.pt2")
    eyes = features(str(tmp_path / "pool.pt2"), DATA)
    assert eyes.name == "pool.pt2" and torch.allclose(eyes.of(DATA).float(), Pool()(DATA.images.tensor()))
    whole = (tmp_path / "pool.pt2").read_bytes()
    for data in (whole[: len(whole) // 2], whole[:900] + bytes(255 - byte for byte in whole[900:1500]) + whole[1500:], b""):
        (tmp_path / "bad.pt2").write_bytes(data)
        caplog.clear()
        with pytest.raises(DataError, match=r"bad\.pt2: the encoder cannot be opened .*; the file is damaged or no encoder"):
            features(str(tmp_path / "bad.pt2"), DATA)
        assert not caplog.records


def test_a_local_torch_hub_folder_is_opened(tmp_path):
    (tmp_path / "hubconf.py").write_text(HUB)
    eyes = features(f"hub:{tmp_path}:tiny", DATA)
    assert eyes.of(DATA).shape == (20, 12) and eyes.of(DATA).std() > 0


def test_a_local_transformers_folder_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
    with torch.random.fork_rng():
        transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 16, "width": 16}}')
    first, again = (features(f"transformers:{tmp_path}", DATA).of(DATA) for _ in range(2))
    assert first.shape == (20, 8) and torch.equal(first, again) and first.std(0).min() > 0


def test_timm_is_told_the_weights_and_asked_for_features(monkeypatch):
    told = {}

    def create_model(name: str, **more: object) -> torch.nn.Module:
        told.update(name=name, **more)
        return Seen()

    config = {"input_size": (3, 24, 24), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    timm = SimpleNamespace(create_model=create_model, data=SimpleNamespace(resolve_model_data_config=lambda network: config))
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert features("timm:resnet18@weights.safetensors", DATA).of(DATA).shape == (20, 3)
    assert told == {"name": "resnet18", "pretrained": False, "num_classes": 0, "checkpoint_path": "weights.safetensors"}
    features("timm:resnet18", DATA)
    assert told["pretrained"] is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inception", "'inception' is not known; give \"encoder\", \"radiomics\""),
        ("timm:", "is not known"),
        ("nowhere.pt2", "nowhere.pt2 is no file"),
        ("hub:model", "the form is hub:REPOSITORY_OR_FOLDER:MODEL"),
        (7, "a name, a callable or a module, got int"),
    ],
)
def test_what_is_no_extractor_is_refused(name, message):
    with pytest.raises(DataError, match=message):
        features(name, DATA)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_library_that_is_not_there_is_named(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"pip install {library}"):
        features(f"{library}:some", DATA)


def test_a_module_does_not_learn_while_it_looks():
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()).train()
    eyes = features(module, DATA)
    assert torch.equal(eyes.of(DATA), eyes.of(DATA)) and module[0].num_batches_tracked == 0


def test_one_set_of_integers_under_two_windows_teaches_two_encoders(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    for high in (65535, 40000):
        space = replace(DATA.space, channels=(replace(DATA.space.channels[0], high=high),))
        trained_encoder(Cohort.of(DATA.images.raw(), DATA.table, schema=DATA.schema, space=space, provenance=DATA.provenance), steps=1)
    assert len(list((tmp_path / "encoders").iterdir())) == 2


def test_without_a_network_a_name_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match="cannot be opened .*; without a network give a local folder or file"):
        features("transformers:/nowhere/at-all", DATA)


def test_radiomics_are_brought_to_one_spread():
    found = features("radiomics", DATA).of(DATA)
    assert found.mean(0).abs().max() < 1e-9 and (found.std(0) - 1).abs().max() < 1e-9 and 60 < found.shape[1] <= 93
    assert "z-scored by toy" in features("radiomics", DATA).name


def test_pixel_components_go_apart_and_are_read_off_other_images():
    eyes, images = pixel_components(DATA), DATA.images.tensor()
    found = eyes.of(DATA)
    spread = found.T @ found / 19
    assert found.mean(0).abs().max() < 1e-9 and (spread - spread.diag().diag()).abs().max() < 1e-9 and 0.9 < spread.diag().max() <= 1
    exact = torch.linalg.svdvals((images.flatten(1) - images.flatten(1).mean(0)).double()).square() / 19
    shrunk = exact / (exact + 0.02 * exact[0])
    assert torch.allclose(spread.diag()[:15], shrunk[:15], rtol=1e-6), "the variances of a principal component analysis, shrunk"
    assert torch.allclose(eyes.extract(images[3:5]), found[3:5])
    volume = toy_cohort(20, size=(4, 20, 40))
    assert pixel_components(volume).of(volume).shape == (20, 20)


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_learnt(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("SYNTHKIT_CACHE", str(place))
        with pytest.raises(StoreError, match="cannot be used as a cache .*; set SYNTHKIT_CACHE to a folder that can be written"):
            cached_weights("kind", 1, lambda: pytest.fail("learnt in vain"))
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "good"))
    made = cached_weights("kind", 1, lambda: {"weight": torch.arange(3.0)})
    assert made["weight"].tolist() == [0, 1, 2] == cached_weights("kind", 1, lambda: pytest.fail("it was learnt already"))["weight"].tolist()
    with pytest.raises(FileNotFoundError, match="of the data"):
        cached_weights("kind", 2, _without_data)


def _without_data() -> dict[str, torch.Tensor]:
    raise FileNotFoundError("of the data")


def test_a_judge_looks_with_all_eyes(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(trained_encoder, "__kwdefaults__", {"steps": 2})
    other = toy_cohort(20, seed=1, prefix="other")
    parts = [features("radiomics", DATA).of(DATA), pixel_components(DATA).of(DATA)]
    assert torch.equal(judge_eyes(DATA, None).of(DATA), torch.cat(parts, 1)) and judge_eyes(DATA, None).name == "radiomics and pixels"
    assert torch.equal(judge_eyes(DATA, other).of(DATA), torch.cat([*parts, trained_encoder(other).of(DATA)], 1)), "an encoder that others taught"

"""A diffusers pipeline opened for adaptation: its frozen parts, and which of its weights are trained."""
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from synthkit.errors import FitError, MissingExtraError

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DiffusionPipeline

INDEX = "model_index.json"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TIMED = ("time_emb_proj", "conv1", "conv2")  # by which a condition acts that is added to the embedding of time
PARTS = ("unet", "vae", "text_encoder")
LOOKED_AT = 64  # values of each tensor that its digest reads
LORA_SLOPE = 5**0.5  # of the first factor's initialisation, as in the reference implementation


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The parts of a pipeline, frozen.

    Args:
        whole: as diffusers opened it.
        unet: its denoising network, with adapters where they were asked for.
        digest: of the weights of all parts before that.
        trained: names of the tensors of `unet` that are trained.
    """

    whole: "DiffusionPipeline"
    unet: nn.Module
    digest: str
    trained: tuple[str, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pipeline":
        return self  # nothing in it is ever changed

    @property
    def by_text(self) -> bool:
        """Whether a sentence conditions it; otherwise codes of the factors do, in the place of class labels."""
        return "tokenizer" in self.whole.components

    @property
    def vae(self) -> nn.Module | None:
        return self.whole.components.get("vae")

    @property
    def channels(self) -> int:
        """Of its pictures."""
        return int(self.vae.config.in_channels if self.vae is not None else self.unet.config.in_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent pixel and side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1) if self.vae is not None else 1

    def to(self, device: torch.device) -> None:
        """Move all parts; nothing happens where they are there already."""
        for part in map(self.whole.components.get, PARTS):
            if part is not None and next(part.parameters()).device != device:
                part.to(device)

    def ddim(self, steps: int) -> "DDIMScheduler":
        """The deterministic scheduler of this pipeline's own noise."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(self.whole.scheduler.config)
        scheduler.set_timesteps(steps)
        return scheduler

    def first_weights(self) -> dict[str, torch.Tensor]:
        """Fresh values of what is trained: LoRA changes nothing at first, and neither do the factors."""
        held, fresh = dict(self.unet.named_parameters()), {}
        for name in self.trained:
            tensor = held[name].detach().cpu().clone()
            if ".lora_A." in name:
                nn.init.kaiming_uniform_(tensor, a=LORA_SLOPE)
            elif ".lora_B." in name or name.startswith("class_embedding."):
                tensor.zero_()
            fresh[name] = tensor
        return fresh


def opened(path: str, *, adapter: str, rank: int, width: int) -> Pipeline:
    """Open a pipeline from a folder, or from the hub by its name.

    Args:
        adapter: "lora", or "full" for all weights of the denoising network.
        width: of the condition codes, for a pipeline that no text conditions.
    Raises:
        FitError: nothing there, nothing that can be reached, or no diffusion pipeline of a kind that can be adapted.
        MissingExtraError: transformers or peft is not installed.
    """
    index = Path(path) / INDEX
    return _opened(path, index.stat().st_mtime_ns if index.is_file() else 0, adapter, rank, width)


@lru_cache(maxsize=2)
def _opened(path: str, stamp: int, adapter: str, rank: int, width: int) -> Pipeline:
    whole = loaded(path)
    unet = _denoiser(path, whole)
    if whole.scheduler.config.prediction_type == "epsilon" and whole.scheduler.config.get("rescale_betas_zero_snr"):
        raise FitError(f"{path}: it predicts noise on a schedule that ends in nothing but noise, where its sampler would divide by nothing; set v_prediction, "
                       "or rescale_betas_zero_snr=False, in its scheduler_config.json")  # fmt: skip
    unet.requires_grad_(False).eval()
    known, by_text = digest_of(whole), "tokenizer" in whole.components
    if not by_text:
        unet.class_embedding = nn.Linear(width, unet.time_embedding.linear_2.out_features)
        unet.register_to_config(class_embed_type=None)
    trained = tuple(name for name, _ in unet.named_parameters()) if adapter == "full" else _with_lora(path, unet, rank, by_text)
    for part in (whole.components.get("vae"), whole.components.get("text_encoder")):
        if part is not None:
            part.requires_grad_(False).eval()
    return Pipeline(whole, unet.requires_grad_(False), known, trained)


def loaded(path: str) -> "DiffusionPipeline":
    """A pipeline as it is, from a folder or the hub; errors as of `opened`."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    if Path(path).is_dir() and not (Path(path) / INDEX).is_file():
        raise FitError(f"{path} holds no diffusion pipeline ({INDEX} is missing); give a folder that pipeline.save_pretrained(folder) wrote")
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or "\\" in path or path.count("/") > 1):
        raise FitError(f"{path} is no folder; give one that pipeline.save_pretrained(folder) wrote, or a name on the hub such as OWNER/NAME")
    logging.disable_progress_bar()
    try:
        config = DiffusionPipeline.load_config(path)
        _require_text_libraries(config)
        extra = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in config else {}
        return DiffusionPipeline.from_pretrained(path, use_safetensors=True, **extra)
    except (OSError, ValueError, AttributeError, RuntimeError) as error:
        raise FitError(f"{path}: the pipeline cannot be opened ({str(error).splitlines()[0]}); without a network, or behind a proxy, give the path of a local "
                       "folder with safetensors weights") from error  # fmt: skip


def _require_text_libraries(config: dict[str, Any]) -> None:
    if any(isinstance(part, list) and part[0] == "transformers" for part in config.values()):
        try:
            import transformers  # noqa: F401
        except ImportError as error:
            raise MissingExtraError('a pipeline with a text encoder needs transformers: pip install "synthkit[foundation]"') from error


def _denoiser(path: str, whole: "DiffusionPipeline") -> nn.Module:
    from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel

    unet, vae = whole.components.get("unet"), whole.components.get("vae")
    by_text = "tokenizer" in whole.components
    if not isinstance(unet, UNet2DConditionModel if by_text else UNet2DModel):
        has = ", ".join(f"{name} {type(part).__name__}" for name, part in whole.components.items() if part is not None)
        raise FitError(f"{path}: a {type(whole).__name__} ({has}) cannot be adapted; give one with a UNet2DModel, or with a UNet2DConditionModel, text encoder "
                       "and tokenizer, such as Stable Diffusion 1 and 2")  # fmt: skip
    inputs = vae.config.latent_channels if isinstance(vae, AutoencoderKL) else None if vae is not None else unet.config.in_channels
    if inputs != unet.config.in_channels or unet.config.in_channels != unet.config.out_channels or "text_encoder_2" in whole.components:
        raise FitError(f"{path}: this {type(whole).__name__} has further inputs (masks, images or a second text), which cannot be adapted")
    return unet


def _with_lora(path: str, unet: nn.Module, rank: int, by_text: bool) -> tuple[str, ...]:
    """Put LoRA beside the layers that a condition acts by; names of its tensors."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError('adapter="lora" needs peft: pip install "synthkit[foundation]"; adapter="full" does without') from error
    targets = ATTENTION if by_text else (*ATTENTION, *TIMED)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)), unet)
    return tuple(name for name, _ in unet.named_parameters() if ".lora_" in name or name.startswith("class_embedding."))


def digest_of(whole: "DiffusionPipeline") -> str:
    """By which a pipeline is known again: names, shapes and some values of all tensors that denoise, decode or read sentences."""
    found = hashlib.sha256()
    for part in PARTS:
        module = whole.components.get(part)
        for name, tensor in module.state_dict().items() if module is not None else ():
            flat = tensor.detach().float().flatten()
            found.update(f"{part} {name} {tuple(tensor.shape)}".encode() + flat[:: max(1, len(flat) // LOOKED_AT)].cpu().numpy().tobytes())
    return found.hexdigest()

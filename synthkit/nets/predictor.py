"""A network that predicts factors; the label of an image is its schema code, so missing values cost nothing."""
import torch
from torch import nn
from torch.nn import functional as F

from synthkit.core.schema import Category, Factor, Schema
from synthkit.nets.augment import augment
from synthkit.nets.network import Batch, Trainable


class FactorPredictor(Trainable):
    """A backbone whose outputs are logits per category level and one scaled number per quantity.

    Args:
        backbone: (N, C, [D,] H, W) to (N, outputs).
        schema: the factors to predict, in order.
        augmented: whether training images are changed at random.
    """

    def __init__(self, backbone: nn.Module, schema: Schema, *, augmented: bool = True):
        super().__init__()
        self.backbone, self.schema, self.augmented = backbone, schema, augmented

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.backbone(x)

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.loss(self.backbone(augment(batch) if self.augmented else batch.x), batch.c)

    def loss(self, outputs: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """See `factor_loss`."""
        return factor_loss(self.schema, outputs, code)


def factor_loss(schema: Schema, outputs: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """Mean over factors of cross-entropy or squared error, over the rows where the factor is known.

    Args:
        outputs: (N, outputs) logits per category level and one scaled number per quantity.
        code: (N, width) schema code of the truth.
    """
    losses, outputs = [], outputs.float()
    for factor, out, block in zip(schema.factors, output_slices(schema), schema.blocks()):
        label, known = code[:, block][:, : factor.width], code[:, block][:, factor.width]
        one = _one_loss(factor, outputs[:, out], label)
        losses.append((one * known).sum() / known.sum().clamp(min=1))
    return torch.stack(losses).mean()


def _one_loss(factor: Factor, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    if isinstance(factor, Category):
        return -(F.log_softmax(output, 1) * label).sum(1)
    return (output - label).square().sum(1)


def output_slices(schema: Schema) -> list[slice]:
    """Where each factor stands in the outputs."""
    slices, start = [], 0
    for factor in schema.factors:
        slices.append(slice(start, start + factor.width))
        start += factor.width
    return slices

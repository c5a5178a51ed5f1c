"""An edit as a Captum attribution: what an intervention would change in an image, pixel by pixel."""
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.pixels import Pixels
from synthkit.errors import DataError
from synthkit.generators.editing import after, inverted
from synthkit.generators.generator import Generator


class EditAttribution:
    """The signed change of an edit, in the shape in which Captum's attributions are asked.

    Args:
        generator: the editor.
        like: a cohort of the kind of images that it is asked about: its schema and provenance are taken.
        do: the factors to set.

    Example:
        maps = sk.EditAttribution(gen, films, {"effusion": "absent"}).attribute(x, additional_forward_args=films.table)
    """

    def __init__(self, generator: Generator, like: Cohort, do: Mapping[str, Any]):
        require_kind("generator", generator, Generator, "a fitted generator that can edit")
        require_kind("like", like, Cohort, "a cohort of the images that will be asked about")
        after(generator, like[:1], do)
        self.generator, self.like, self.do = generator, like, dict(do)

    def attribute(self, inputs: torch.Tensor, target: object = None, *, additional_forward_args: pd.DataFrame) -> torch.Tensor:
        """Edited minus original, shaped like the inputs and on their device.

        Args:
            inputs: images (N, C, [D,] H, W) in [-1, 1].
            target: taken for Captum's sake; an edit knows no classifier.
            additional_forward_args: the table of the images' factors, row by row, as a cohort has it.
        Raises:
            DataError: no table, or one of another length; images of another shape.
        """
        table, space = additional_forward_args, self.like.space
        require_kind("additional_forward_args", table, pd.DataFrame, "the images' factors, such as films.table")
        require_kind("inputs", inputs, torch.Tensor, "images as a tensor (N, C, [D,] H, W), such as films.images.tensor()")
        if not bool(torch.isfinite(inputs).all()):
            raise DataError("inputs: some pixels are no finite number; give images in [-1, 1]")
        if len(table) != len(inputs) or tuple(inputs.shape[1:]) != space.shape:
            raise DataError(f"{len(table)} rows and images of {tuple(inputs.shape)}: give a row per image and images of {space.shape}")
        # In 16 bits, so that what is edited is what was given.
        fine = space.sixteen_bit()
        films = Cohort(Pixels([fine.to_raw(inputs.detach().cpu())], fine), table.reset_index(drop=True), self.like.schema, self.like.provenance)
        start = inverted(self.generator, films)
        changed = start.under(after(self.generator, films, self.do)).clamp(-1, 1) - start.images
        return changed.to(inputs.device)

    def __repr__(self) -> str:
        return f"EditAttribution({self.generator.card.name!r}, {self.do})"

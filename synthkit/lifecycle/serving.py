"""A generator behind a socket: a table of factors and a seed go in, marked synthetic images with their records come out."""
import base64
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types.schema import ParamSchema, ParamSpec

from synthkit.core.lineage import record_digest, records
from synthkit.core.provenance import pixel_digest
from synthkit.errors import DataError, SchemaError, SynthkitError
from synthkit.export.pictures import to_png
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from synthkit.core.cohort import Cohort

FORMS = ("png", "npy")
SIGNATURE = ModelSignature(params=ParamSchema([ParamSpec("seed", "long", 0), ParamSpec("form", "string", "png")]))


class Served(PythonModel):
    """The model that `mlflow models serve` runs; its weights are the artefact "generator"."""

    def load_context(self, context: Any) -> None:
        self.generator = Generator.load(context.artifacts["generator"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        told = params or {}
        try:
            return answer(self.generator, model_input, seed=int(told.get("seed", 0)), form=str(told.get("form", "png")))
        except SynthkitError as error:
            raise MlflowException.invalid_parameter_value(f"{type(error).__name__}: {error}") from error


def answer(generator: Generator, requests: pd.DataFrame, *, seed: int, form: str = "png") -> pd.DataFrame:
    """One row per requested image: its ids, the mark, the digest of its pixels, its record, and the image itself in base64.

    Args:
        requests: as of `Generator.sample`.
        form: "png", files that say that they are synthetic and hold their record (8 or 16 bits, one per channel), or "npy", the stored integers.
    Raises:
        SchemaError: an impossible request, or a column "seed".
        DataError: an unknown form, or images that do not fit into PNG.
    """
    if form not in FORMS:
        raise DataError(f"form={form!r} is not one of {', '.join(FORMS)}")
    if "seed" in requests:
        raise SchemaError('the seed is one for the whole request: give it as a parameter, {"params": {"seed": 7}}, not as a column')
    fake = generator.sample(requests.astype(object).where(requests.notna(), None), seed=seed)
    told = [*records(fake)]
    columns = {
        "image_id": fake.table["image_id"], "request_id": fake.table["request_id"], "synthetic": True,
        "mark": [f"Synthetic; record sha256:{record_digest(record)}" for record in told],
        "pixels": [pixel_digest(fake.images.raw([number])[0]) for number in range(len(fake))], "record": [record.decode() for record in told],
    }  # fmt: skip
    return pd.DataFrame({**columns, **(_arrays(fake) if form == "npy" else _pictures(fake))})


def _arrays(fake: "Cohort") -> dict[str, list[str]]:
    """(C, [D,] H, W) of every image as an .npy file."""
    return {"npy": [_text(_npy(fake.images.raw([number])[0])) for number in range(len(fake))]}


def _npy(raw: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, raw, allow_pickle=False)
    return out.getvalue()


def _pictures(fake: "Cohort") -> dict[str, list[str]]:
    """The PNG files of every image; of several channels a column each."""
    with tempfile.TemporaryDirectory() as place:
        to_png(fake, Path(place) / "out")
        named = pd.read_csv(Path(place) / "out" / "table.csv", dtype=str)["file"]
        channels = [channel.name for channel in fake.space.channels]
        several = len(channels) > 1 and any(name.endswith(f"-{channels[-1]}.png") for name in named)
        if not several:
            return {"png": [_text((Path(place) / "out" / name).read_bytes()) for name in named]}
        stems = [name.removesuffix(f"-{channels[-1]}.png") for name in named]
        return {f"png {channel}": [_text((Path(place) / "out" / f"{stem}-{channel}.png").read_bytes()) for stem in stems] for channel in channels}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()

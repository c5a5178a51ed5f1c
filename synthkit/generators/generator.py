"""Generator: a fitted recipe. It samples, encodes, decodes, edits, and can be saved."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.environment import environment
from synthkit.core.missing import require_whole
from synthkit.core.provenance import Provenance, canonical, digest, patient_digest
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import AbilityError, DataError, FitError, LeakageError, SchemaError
from synthkit.generators.base import Recipe
from synthkit.generators.card import Card
from synthkit.nets.network import EditableNetwork, Network

# A result may depend on how many images share a batch, in the last bit: the number is fixed per device and size of the images, and recorded.
BATCH = {"cpu": 8, "cuda": 128}
PIXELS = {"cpu": 2**21, "cuda": 2**24}  # in a batch, so that large volumes go through one by one
BOOKKEEPING = ("image_id", "patient_id", "request_id", "source_id", "round_trip", "made_by", "draws")


@dataclass(frozen=True, eq=False)
class Generator:
    """A fitted generator; made by `recipe.fit`, `Generator.load` or `Generator.pretrained`.

    Args:
        recipe: its settings.
        trained: the network, ready for use.
        schema: the factors it is conditioned by.
        space: the images it makes.
        card: what it was trained on and how.
        patients: digests of those it learnt from (`patient_digest`), so that they can be refused where unseen ones are needed.
    """

    recipe: Recipe
    trained: Network
    schema: Schema
    space: Space
    card: Card
    patients: frozenset[str] = frozenset()

    def fine_tune(
        self, train: Cohort, *, budget: Budget = "500 steps", seed: int = 0, run: str | Path | None = None, balance: str | None = None,
        learning_rate: float | None = None,
    ) -> "Generator":  # fmt: skip
        """Another generator that goes on from this one's weights on other images; this one stays as it is.

        Args:
            train: images of the same space and schema.
            learning_rate: peak; a quarter of the recipe's by default, since all weights already stand well.
        Raises:
            FitError: another space or schema; as `Recipe.fit`.
        """
        if self.recipe.teacher:
            family, teacher = type(self.recipe).__name__, self.recipe.teacher
            raise FitError(f"{family} learns from a {teacher} and cannot go on by itself: fine-tune the {teacher} and teach a {family} of it, with start=")
        if learning_rate is not None and (isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float)) or not 0 < learning_rate < 1):
            raise FitError(f"learning_rate={learning_rate!r}: give a number between 0 and 1; that of the recipe is {self.recipe.learning_rate:g}")
        recipe = replace(self.recipe, learning_rate=self.recipe.learning_rate / 4 if learning_rate is None else learning_rate)
        return recipe.fit(train, budget=budget, seed=seed, run=run, balance=balance, start=self)

    def give_weights(self, network: Network, schema: Schema, space: Space) -> None:
        """Copy the weights into an untrained network for such factors and images; FitError if it is of another make."""
        if self.schema != schema:
            ours, theirs = {repr(f) for f in self.schema.factors}, {repr(f) for f in schema.factors}
            apart = ", ".join(sorted(ours ^ theirs)) or "their order"
            raise FitError(f"the generator to start from knows other factors than the cohort has ({apart}); load the cohort with the generator's schema")
        if not self.space.matches(space):
            raise FitError(f"the generator to start from makes other images than the cohort has: {self.space.difference(space)}")
        try:
            network.load_state_dict(self.trained.state_dict())
        except RuntimeError as error:
            raise FitError(f"{self.recipe} does not fit the network to be trained; give it the same backbone= and options=") from error

    def knows(self, cohort: Cohort) -> np.ndarray:
        """(N,) which images are of patients it learnt from."""
        learnt = {name: patient_digest(name) in self.patients for name in cohort.table["patient_id"].unique()}
        return cohort.table["patient_id"].map(learnt).to_numpy(bool)

    def require_unseen(self, cohort: Cohort) -> None:
        """Raise LeakageError if the generator learnt from a patient of the cohort."""
        both = sorted(cohort.table["patient_id"][self.knows(cohort)].unique())
        if both:
            raise LeakageError(f"{self.card.name} learnt from {len(both)} patient(s) of the cohort (first: {both[0]!r}); "
                               "give other patients (of a phantom: another seed), or split by patient before fitting")  # fmt: skip

    def using(self, **settings: Any) -> "Generator":
        """The same weights with other settings of sampling, for instance `gen.using(steps=4)`.

        Raises:
            AbilityError: a setting that needs another training.
        """
        fixed = sorted(set(settings) - set(self.recipe.sampling))
        if fixed:
            free = ", ".join(self.recipe.sampling) or "none"
            raise AbilityError(f"{type(self.recipe).__name__}: {fixed[0]} cannot be changed after the fit; what can: {free}")
        recipe = replace(self.recipe, **settings)
        with torch.random.fork_rng():  # the weights it draws are replaced at once
            network = recipe.network(self.schema, self.space).to(self.device)
        network.load_state_dict(self.trained.state_dict(), assign=True)
        return replace(self, recipe=recipe, trained=network.requires_grad_(False).eval())

    @property
    def evaluations(self) -> int:
        """How often the network runs per sampled image."""
        return self.trained.evaluations

    @property
    def can_edit(self) -> bool:
        """Whether a way leads back from its images, as edits and counterfactuals need."""
        return isinstance(self.trained, EditableNetwork)

    @property
    def device(self) -> torch.device:
        return next(self.trained.parameters()).device

    def to(self, device: str) -> "Generator":
        """The same generator with its network on another device ("cpu", "cuda")."""
        self.trained.to(device)
        return self

    def weights_digest(self) -> str:
        """sha256 over all weights."""
        parts = [(name, digest(t.detach().cpu().contiguous().numpy().tobytes())) for name, t in self.trained.state_dict().items()]
        return digest(canonical(parts))

    def identity(self) -> str:
        """Digest of what decides an image beside its request: weights and settings."""
        return digest(canonical([self.weights_digest(), self.recipe.to_json()]))

    @property
    def batch_size(self) -> int:
        """Images that go through the network at once."""
        kind = self.device.type if self.device.type in BATCH else "cpu"
        return max(1, min(BATCH[kind], PIXELS[kind] // int(np.prod(self.space.size))))

    def batched(self, step: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        """Run a step over full batches of the fixed size, the last one padded; answers on the CPU."""
        size, count, out = self.batch_size, len(inputs[0]), []
        layout = torch.channels_last if self.space.dims == 2 else torch.channels_last_3d
        self.trained.eval()
        with torch.inference_mode():
            for start in range(0, count, size):
                rows = torch.arange(start, start + size).clamp(max=count - 1)
                parts = [i[rows].to(self.device) for i in inputs]
                parts = [p.contiguous(memory_format=layout) if p.ndim == self.space.dims + 2 else p for p in parts]
                out.append(step(*parts)[: count - start].float().cpu())
        return torch.cat(out).contiguous()

    def code(self, table: pd.DataFrame) -> torch.Tensor:
        """(N, width) condition codes of a table of factors."""
        return torch.from_numpy(self.schema.encode(table))

    def decode(self, z: torch.Tensor, table: pd.DataFrame) -> torch.Tensor:
        """Latents (N, *latent) and a table of factors to images (N, C, [D,] H, W), not clipped."""
        return self.batched(self.trained.decode, z, self.code(table))

    def encode(self, cohort: Cohort) -> torch.Tensor:
        """The latents (N, *latent) of a cohort under its own factors."""
        network = self.require_editable("encode")
        self.require_fit(cohort)
        require_whole(cohort, "encode")
        return self.batched(network.encode, cohort.images.tensor(), self.code(cohort.table))

    def require_editable(self, verb: str) -> EditableNetwork:
        """The network, if a way leads back from its images; AbilityError otherwise."""
        if not isinstance(self.trained, EditableNetwork):
            raise AbilityError(f"{type(self.recipe).__name__} cannot {verb}: its network has no encoder. Use VAE or Diffusion.")
        return self.trained

    def require_fit(self, cohort: Cohort) -> None:
        """Raise DataError for an empty cohort or images of another space."""
        if not self.space.matches(cohort.space):
            apart = self.space.difference(cohort.space)
            raise DataError(f"this generator makes other images than the cohort has: {apart}; load the cohort with size={self.space.size[-1]} and its channels")
        if not len(cohort):
            raise DataError("the cohort is empty; there is nothing to encode")

    def sample(self, table: pd.DataFrame, *, seed: int, reject_copies_of: Cohort | None = None) -> Cohort:
        """One image per row of requests.

        Args:
            table: any subset of the factors conditions, blanks are left open; `image_id` (else the row number) keys
                the noise; other columns are ignored.
            seed: with the same seed, row key and factors the same image comes out, whatever the other rows.
            reject_copies_of: usually the training cohort: an image nearer to one of its patients, against the next ones, than one in 1,000 new
                patients would be, is drawn again, up to eight times; a request that gives nothing but copies is left out. What was
                rejected is counted in the provenance and in the column `draws`.
        Raises:
            SchemaError: unknown level, value out of range, no row.
            DataError: reject_copies_of holds other images, or fewer than 20 patients.
            AbilityError: nothing but copies came out.
        """
        from synthkit.generators.drawing import drawn, drawn_apart

        self.require_request(table, seed)
        keys = table["image_id"].astype(str).tolist() if "image_id" in table else [str(i) for i in range(len(table))]
        wanted = self.schema.check(table.reset_index(drop=True))
        if reject_copies_of is None:
            return drawn(self, keys, wanted, seed)
        return drawn_apart(self, keys, wanted, seed, train=reject_copies_of)

    def require_request(self, table: pd.DataFrame, seed: int) -> None:
        """Refuse what would draw something else than was meant."""
        if not isinstance(table, pd.DataFrame) or not len(table):
            raise SchemaError("the requests must be a DataFrame with one row per image; build one with schema.grid(...)")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise SchemaError(f"seed={seed!r} must be a whole number")
        if "image_id" in table and table["image_id"].isna().any():
            raise SchemaError("image_id keys the noise of each request and may not be blank; fill it or drop the column")
        others = [str(name) for name in table.columns if name not in self.schema and name not in BOOKKEEPING]
        for name in others:
            near = [own for own in self.schema.names if own.casefold() == name.casefold()] or get_close_matches(name, self.schema.names, n=1, cutoff=0.8)
            if near and near[0] not in table:
                raise SchemaError(f"unknown factor {name!r}; did you mean {near[0]!r}?")

    def origin(self, kind: str, seed: int | None, more: Mapping[str, Any], *parents: Provenance) -> Provenance:
        """The lineage of images made here: "synthetic", or "edited" from those of `parents`."""
        made_by = {"recipe": self.recipe.to_json(), "generator": self.card.name, "device": self.device.type,
                   "batch": self.batch_size, "threads": torch.get_num_threads(), "environment": environment(), **more}  # fmt: skip
        records = [self.card.trained_on, *self.card.trained_on.get("before", [])]
        taught = []
        for on in records:
            record, rooted = Provenance.from_json(on["provenance"]), {"root": on["root"]} if "root" in on else {}
            taught.append(replace(record, digests={**record.digests, "data": on["digest"], **rooted}))
        licence = "; ".join(dict.fromkeys(p.licence for p in (*parents, *taught)))
        digests = {"weights": self.weights_digest()}
        return Provenance(kind, self.card.name, recipe=made_by, seed=seed, digests=digests, licence=licence, parents=(*parents, *taught))

    def edit(self, cohort: Cohort, do: Mapping[str, Any]) -> Cohort:
        """The same images with factors changed and the others held (a direct effect).

        The change is D(z, c*) - D(z, c) added to the original, with z the latent found by inversion: what the
        network cannot reproduce stays as it was, and doing nothing changes nothing.

        Returns:
            A cohort of edited images; `source_id` names each original and `round_trip` is the mean absolute
            difference between the original and its raw reconstruction, on 0..255.
        Raises:
            AbilityError: the family has no encoder.
            SchemaError: unknown factor or impossible value in `do`.
        """
        from synthkit.generators.editing import after, inverted

        after(self, cohort, do)  # what cannot be set is refused before anything is computed
        return inverted(self, cohort).edit(do)

    def complete(self, cohort: Cohort, *, missing: Sequence[str] | None = None, seed: int) -> Cohort:
        """All channels of given images: those that are known as they are (on the 16-bit scale), the missing ones drawn given these and the record.

        Args:
            cohort: images with some of the generator's channels; factors that are blank are left open.
            missing: channels to draw for every image, also where the cohort has them; left out, those that an image lacks.
            seed: other seeds draw other completions; `sk.completion` compares several.
        Returns:
            A cohort; `source_id` names each original and `drawn_channels` what was drawn.
        Raises:
            AbilityError: a family, or a generator, that learnt no channel beside others.
            DataError: unknown channel, another size or window, nothing missing, or nothing left to complete from.

        Example:
            heads = gen.complete(mr_only, missing=["CT"], seed=0)
        """
        from synthkit.generators.completing import completed

        return completed(self, cohort, missing, seed)

    def save(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write weights (safetensors), recipe, schema, space and card; `half` stores float16."""
        from synthkit.generators.checkpoint import save

        return save(self, Path(folder), half=half)

    @staticmethod
    def load(folder: str | Path) -> "Generator":
        """Read a saved generator back; StoreError if anything in it was damaged."""
        from synthkit.generators.checkpoint import load

        return load(Path(folder))

    @staticmethod
    def pretrained(name: str) -> "Generator":
        """A generator that comes with synthkit, by name, for instance "chest-phantom-64"."""
        from synthkit.generators.checkpoint import pretrained

        return pretrained(name)

    def _repr_html_(self) -> str:
        return self.card._repr_html_() + self.schema._repr_html_()

    def __repr__(self) -> str:
        return f"Generator({self.card.name!r}, {self.space.shape}, factors {', '.join(self.schema.names)})"

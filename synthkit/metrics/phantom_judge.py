"""A judge for images of a phantom: a network taught by fresh subjects of that phantom, of whom there are as many as one likes."""
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.provenance import Provenance, pixel_digest
from synthkit.core.randomness import generator
from synthkit.errors import DataError, SchemaError
from synthkit.metrics.cached import cached_weights
from synthkit.phantoms.factor import solve
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor

SEED = 6_021_407_623  # of the judge's own subjects; a cohort drawn with it would be refused as leakage
IMAGES, STEPS = 4096, 3000
GLANCE = 256  # subjects that tell which factors vary
LOOKED_AT = 4  # subjects whose pixels tell whether the drawing is still the one that was learnt from


def phantom_judge(phantom: Phantom, names: Sequence[str] | None = None, *, images: int = IMAGES, steps: int = STEPS, seed: int = SEED) -> Predictor:
    """A predictor of a phantom's factors that learnt from subjects whom nothing else has seen; made once, then read from the cache.

    Findings and other categories of these subjects are drawn by coin, whatever causes them in the phantom: rare findings are
    seen often enough, and none can be guessed from its cause or from a planted shortcut. The defaults are meant for films;
    volumes are drawn and learnt more slowly: give fewer images and steps, and pass the answer on as `judge=`.

    Args:
        names: factors to predict; left out, all that vary.
        images: subjects to learn from.
        steps: of the training, 32 images each.
        seed: of the subjects; one that no other cohort uses.
    Raises:
        SchemaError: a factor that the phantom does not have.

    Example:
        sk.evaluate(real=test, fake=fake, judge=sk.phantom_judge(chest, ["effusion", "marker"], images=1024, steps=600))
    """
    if not isinstance(phantom, Phantom):
        raise DataError(f"{type(phantom).__name__} is no phantom; give for instance ChestPhantom(size=64)")
    schema = phantom.schema.only(_asked(phantom, names, seed))
    recipe = Classifier(target=schema.names, augment=False)
    first = drawn(phantom, LOOKED_AT, schema.names, seed=seed)
    key = ["phantom judge 1", type(phantom).__name__, vars(phantom), asdict(recipe), images, steps, seed, pixel_digest(first.images.raw())]
    weights = cached_weights("judges", key, lambda: _learnt(recipe, drawn(phantom, images, schema.names, seed=seed), steps))
    with torch.random.fork_rng():
        module = recipe.network(first, schema).backbone
    module.load_state_dict(weights)
    patients = frozenset(f"{phantom.name}-{seed}-{number:06d}" for number in range(images))
    trained = {"recipe": asdict(recipe), "seed": 0, "steps": steps, "source": f"{images} fresh subjects of the {phantom.name} phantom"}
    return Predictor(module.eval().requires_grad_(False).to(accelerator()), schema, phantom.space, patients, trained)


def _asked(phantom: Phantom, names: Sequence[str] | None, seed: int) -> tuple[str, ...]:
    """The asked factors, or all that vary, in the phantom's own order, so that another order is no other judge."""
    wanted = _varying(phantom, seed) if names is None else (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        phantom.schema[name]
    if not wanted:
        raise SchemaError(f"names={names!r}: ask for at least one factor; the {phantom.name} phantom has {', '.join(phantom.schema.names)}")
    return tuple(name for name in phantom.schema.names if name in wanted)


def _varying(phantom: Phantom, seed: int) -> set[str]:
    table = phantom.factors_table(GLANCE, seed=seed)
    return {name for name in phantom.schema.names if table[name].nunique() > 1}


def drawn(phantom: Phantom, count: int, names: Sequence[str], *, seed: int) -> Cohort:
    """Subjects of a phantom whose categories, those asked for and all others that vary, are drawn by coin; the rest follows from them."""
    table, wanted = phantom.factors_table(count, seed=seed), {*names, *_varying(phantom, seed)}
    tossed = {node.name: node.levels for node in phantom.factors if node.levels and not node.when and node.name in wanted}
    for name, levels in tossed.items():
        table[name] = np.array(levels, object)[generator(seed, name, "judge").integers(0, len(levels), count)]
    table = solve(phantom.factors, table, set(phantom.schema.names) - set(tossed))
    origin = Provenance("synthetic", f"{phantom.name} phantom", recipe={"phantom": type(phantom).__name__, **vars(phantom), "drawn for": "judge"}, seed=seed)
    return Cohort.of(phantom.space.to_raw(phantom.render(table) * 2 - 1), table, schema=phantom.schema, space=phantom.space, provenance=origin)


def _learnt(recipe: Classifier, cohort: Cohort, steps: int) -> dict[str, torch.Tensor]:
    return recipe.fit(cohort, budget=Steps(steps), seed=0, early_stopping=False).module.state_dict()

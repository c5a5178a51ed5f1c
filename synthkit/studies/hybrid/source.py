"""The generator of an experiment: fitted on the k-shot patients, or one that comes from elsewhere and has seen none of the others."""
from pathlib import Path

from synthkit.core.budget import Budget, resolve
from synthkit.errors import DataError, FitError, SchemaError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.studies.hybrid.design import Design

SEED = 0


def require_fair(generator: Generator | Recipe, design: Design, fine_tune: Budget | None) -> None:
    """Refuse a generator that does not fit, or that learnt from patients whom nobody may learn from.

    Raises:
        DataError: neither a generator nor a recipe; images of another space; `fine_tune` of a recipe.
        SchemaError: the rare level is not among the generator's factors, or is declared otherwise.
        LeakageError: it learnt from a patient of valid, test, or of the training patients beyond the k.
    """
    if isinstance(generator, Recipe):
        if fine_tune is not None:
            raise DataError("fine_tune= goes on from a fitted generator, and a recipe was given; give generator_budget= for the recipe")
        return
    if not isinstance(generator, Generator):
        raise DataError(f"generator: give a fitted generator or a recipe such as sk.Diffusion(), got {type(generator).__name__}")
    factor, known = design.rare.factor, generator.schema
    if factor not in known:
        raise SchemaError(f"the generator does not know {factor!r}; it knows {', '.join(known.names) or 'no factor'}. Fit one on a cohort with that factor")
    if known[factor] != design.real.schema[factor]:
        raise SchemaError(f"{factor} is {known[factor]} for the generator and {design.real.schema[factor]} in real; load both with one schema=")
    if not generator.space.matches(design.real.space):
        raise DataError(f"the generator and real images do not fit together: {generator.space.difference(design.real.space)}")
    for cohort in (design.valid, design.test, design.left_out):
        generator.require_unseen(cohort)


def require_trainable(generator: Generator | Recipe, budget: Budget | None) -> None:
    """Raise FitError, before anything is timed, for a budget that says nothing and for a family that cannot learn from the patients alone."""
    recipe = generator if isinstance(generator, Recipe) else generator.recipe
    if budget is None:
        return
    resolve(budget, recipe.budgets)
    if recipe.teacher:
        family = type(recipe).__name__
        raise FitError(f"{family} learns from a {recipe.teacher}, not from patients alone: fine-tune the {recipe.teacher}, teach a {family} of it, and "
                       "give that without fine_tune=")  # fmt: skip


def prepared(generator: Generator | Recipe, design: Design, *, budget: Budget, fine_tune: Budget | None, folder: Path) -> Generator:
    """The generator that images are drawn from; what is trained here sees the k-shot patients alone, every level drawn equally often."""
    factor = design.rare.factor
    if isinstance(generator, Recipe):
        return generator.fit(design.real, budget=budget, seed=SEED, run=folder / "generator", balance=factor)
    if fine_tune is None:
        return generator
    return generator.fine_tune(design.real, budget=fine_tune, seed=SEED, run=folder / "generator", balance=factor)


def origin(generator: Generator | Recipe, design: Design, fine_tune: Budget | None) -> str:
    """In words, whom the generator learnt from."""
    if isinstance(generator, Recipe):
        return f"The generator ({type(generator).__name__}) learnt from the same k-shot patients as the classifiers, and from nobody else."
    on = generator.card.trained_on
    told = f"The generator was pretrained elsewhere ({on.get('images', '?')} images of {on.get('source', 'an unnamed source')})"
    then = f" and fine-tuned on the k-shot patients ({fine_tune})" if fine_tune is not None else ""
    unnamed = "" if generator.patients else " It does not name its patients, so that leakage from them could not be excluded."
    return f"{told}{then}: an effect includes what those images taught.{unnamed}"

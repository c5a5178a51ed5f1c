"""What an MLflow run holds of a fit, an evaluation, a saved cohort, or any other result; never an image of a cohort."""
import json
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import canonical_json
from synthkit.core.notice import COHORT, EVALUATION, FIT
from synthkit.core.provenance import code_version
from synthkit.core.result import Section, Tabled
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.lifecycle.tracking import opened

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 5_000  # characters of a tag or parameter that every MLflow server takes
MOST = 1_000  # metrics of one call
LABELS = ("metric", "measure", "part", "row", "step", "factor", "group", "arm", "check")  # columns that name a row
NUMBERS = ("value", "low", "high", "n", "n_real", "n_fake", "n_old", "floor", "p", "p_adjusted")


@dataclass(frozen=True)
class Told:
    """What one run is to hold.

    Args:
        params, tags: text.
        metrics: name to value.
        files: name to bytes.
        curves: name to (step, value) pairs.
        generator: saved beside them.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    generator: Generator | None = None


def record(what: str, thing: Any, facts: Mapping[str, Any]) -> None:
    """Record something that was made; a database out of reach is a warning, since what was made must not be lost with it."""
    try:
        _written(_told(what, thing, facts))
    except Exception as error:  # noqa: BLE001
        warnings.warn(f"this {what} is not recorded ({type(error).__name__}: {str(error)[:300]}); it is made all the same", stacklevel=2)


def log(result: Section | Cohort | Generator, *, name: str | None = None) -> str:
    """Record a result, a cohort's version or a generator as an MLflow run now.

    Args:
        result: any result (its frame, page and numbers with interval and n), a cohort (its version and manifest, no pixels) or a generator.
        name: of the run.
    Returns:
        The id of the run.
    Raises:
        DataError: no tracking address is set, or something that is no result.

    Example:
        sk.track("sqlite:///runs/mlflow.db")
        sk.log(sk.privacy(gen, train=train, holdout=test))
    """
    opened()
    if isinstance(result, Generator):
        made = _of_fit(result, {})
    elif isinstance(result, Cohort):
        made = _of_cohort(result, {})
    elif isinstance(result, Section):
        made = _of_section(result)
    else:
        raise DataError(f"a {type(result).__name__} cannot be recorded; give a result such as sk.evaluate(...), a cohort or a generator")
    return _written(made, name=name)


def _told(what: str, thing: Any, facts: Mapping[str, Any]) -> Told:
    if what == FIT:
        return _of_fit(thing, _version(facts["train"], "cohort"))
    if what == EVALUATION:
        return _of_section(thing, kind=EVALUATION, params={"seed": facts["seed"]})
    return _of_cohort(facts["cohort"], {"folder": str(thing)}, manifest=thing / "cohort.json")


def _of_fit(generator: Generator, tags: Mapping[str, str]) -> Told:
    training, on = generator.card.training, generator.card.trained_on
    recipe = generator.recipe.to_json()
    params = {"recipe": canonical_json(recipe).decode(), **recipe, **{name: training[name] for name in ("budget", "seed", "balance") if name in training}}
    plain = {name: training[name] for name in ("steps", "images seen", "seconds", "validation loss") if name in training}
    tags = {"synthkit": FIT, "generator": generator.card.name, "weights": generator.weights_digest(), "data.digest": on.get("digest", ""),
            "data.root": on.get("root", ""), "data.source": on.get("source", ""), **tags}  # fmt: skip
    return Told(generator.card.name, params, plain, tags, curves={"loss": training.get("losses", ())}, generator=generator)


def _of_section(section: Section, *, kind: str = "result", params: Mapping[str, Any] | None = None) -> Told:
    frame = section.frame()
    page = f"<!doctype html><meta charset='utf-8'><title>{escape(section.title)}</title>{section._repr_mimebundle_()['text/html']}"
    files = {"rows.csv": frame.to_csv(index=False).encode(), "page.html": str(page).encode()}
    tags = {"synthkit": kind, "title": section.title}
    for part, cohort in section.cohorts.items() if isinstance(section, Tabled) else ():
        tags |= _version(cohort, part)
    return Told(section.title, params or {}, numbers(frame), tags, files)


def numbers(frame: "pd.DataFrame") -> dict[str, float]:
    """Every number of a result under the names of its row: "KID all" for the value, "KID all low" and so on for the rest."""
    labels, found = [name for name in LABELS if name in frame], {}
    for row in frame.to_dict("records"):
        start = " ".join(str(row[name]) for name in labels if str(row[name])) or "row"
        if key(start) in found:  # the same score by another eye
            start = f"{start} {row.get('extractor', len(found))}"
        for name in (name for name in NUMBERS if name in row):
            value = row[name]
            if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
                found[key(start if name == "value" else f"{start} {name}")] = float(value)
    return found


def key(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:240]


def _of_cohort(cohort: Cohort, tags: Mapping[str, str], *, manifest: Path | None = None) -> Told:
    source = cohort.provenance
    params = {"kind": source.kind, "source": source.source, "images": len(cohort), "patients": cohort.table["patient_id"].nunique(), "licence": source.licence}
    files = {"schema.json": json.dumps(cohort.schema.to_json(), indent=1).encode(), "counts.csv": cohort.counts().to_csv(index=False).encode()}
    if manifest is not None:
        files["cohort.json"] = manifest.read_bytes()
    return Told(f"{source.kind}: {source.source}", params, {}, {"synthkit": COHORT, **_version(cohort, "cohort"), **tags}, files)


def _version(cohort: Cohort, part: str) -> dict[str, str]:
    return {f"{part}.version": cohort.version, f"{part}.images": str(len(cohort)), f"{part}.source": cohort.provenance.source}


def _written(told: Told, *, name: str | None = None) -> str:
    """One finished run, beneath the run that is open if one is; its id."""
    mlflow = opened()
    with mlflow.start_run(run_name=name or told.name, nested=mlflow.active_run() is not None) as run:
        mlflow.set_tags({key(one): str(value)[:LONGEST] for one, value in {**told.tags, "code": code_version()}.items()})
        mlflow.log_params({key(one): str(value)[:LONGEST] for one, value in told.params.items()})
        mlflow.log_metrics(dict(told.metrics))
        points = [mlflow.entities.Metric(one, value, 0, step) for one, curve in told.curves.items() for step, value in curve]
        for start in range(0, len(points), MOST):
            mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points[start : start + MOST])
        with tempfile.TemporaryDirectory() as place:
            for one, data in told.files.items():
                (Path(place) / one).write_bytes(data)
            if told.generator is not None:
                told.generator.save(Path(place) / "generator")
            mlflow.log_artifacts(place)
    return run.info.run_id

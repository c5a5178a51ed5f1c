"""The registry of generators in service: versions by number, and who is champion, challenger and the champion before."""
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthkit.errors import DataError, StoreError
from synthkit.generators.generator import Generator
from synthkit.lifecycle.recording import key
from synthkit.lifecycle.tracking import imported, opened

NAME = "generator"
CHAMPION, CHALLENGER, BEFORE = "champion", "challenger", "former-champion"
IDENTITY = "identity"  # tag of a version: weights and settings


@dataclass(frozen=True, eq=False)
class Champion:
    """The generator in service.

    Args:
        name, version: in the registry.
        alias: "champion", or another under which it was asked for.
    """

    name: str
    version: str
    alias: str
    generator: Generator

    @property
    def uri(self) -> str:
        """The address by which MLflow knows it."""
        return f"models:/{self.name}@{self.alias}"


def champion(name: str = NAME, *, alias: str = CHAMPION) -> Champion:
    """The registered generator that has this alias.

    Raises:
        StoreError: no generator of this name, or none has the alias.
        DataError: no tracking address is set, or a name that the registry does not take.

    Example:
        gen = sk.champion("chest").generator
    """
    found = current(name, alias=alias)
    if found is None:
        raise StoreError(f"the registry holds no {alias} called {name!r}; promote a generator first: sk.promote(gen, gate=..., real=..., name={name!r})")
    return found


def current(name: str, *, alias: str = CHAMPION) -> Champion | None:
    """As `champion`, or None where there is none."""
    if not isinstance(name, str) or not name or set("/:") & set(name):
        raise DataError(f"name={name!r}: give a name without / and :, such as 'chest'")
    mlflow = opened()
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    with tempfile.TemporaryDirectory() as place:
        folder = mlflow.artifacts.download_artifacts(f"models:/{name}/{version.version}", dst_path=place)
        return Champion(name, str(version.version), alias, Generator.load(Path(folder) / "artifacts" / "generator"))


def register(generator: Generator, *, name: str, tags: Mapping[str, str]) -> str:
    """A new version of `name`; its number. It serves nobody until it has an alias."""
    imported()
    from synthkit.lifecycle import serving

    mlflow = opened()
    with tempfile.TemporaryDirectory() as place, mlflow.start_run(run_name=f"register {name}", nested=mlflow.active_run() is not None):
        folder = generator.save(Path(place) / "generator")
        script = Path(serving.__file__).with_name("served.py")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input example.*")  # factors differ from generator to generator
            made = mlflow.pyfunc.log_model(
                name="generator", python_model=str(script), artifacts={"generator": str(folder)}, signature=serving.SIGNATURE,
                pip_requirements=["synthkit[mlops]"], metadata={"schema": generator.schema.to_json(), "synthetic": True},
            )  # fmt: skip
        mlflow.set_tags({"synthkit": "register", **{key(one): value for one, value in tags.items()}})
    held = {key(one): str(value)[:5_000] for one, value in {IDENTITY: generator.identity(), "weights": generator.weights_digest(), **tags}.items()}
    return str(mlflow.register_model(made.model_uri, name, tags=held).version)


def appoint(name: str, version: str, alias: str) -> None:
    """Give a version an alias; a champion who is replaced stays known as the former one."""
    mlflow = opened()
    client = mlflow.MlflowClient()
    if alias == CHAMPION:
        aliases = client.get_registered_model(name).aliases
        before = aliases.get(CHAMPION)
        if before is not None and str(before) != version:
            client.set_registered_model_alias(name, BEFORE, str(before))
        if str(aliases.get(CHALLENGER)) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
    client.set_registered_model_alias(name, alias, version)

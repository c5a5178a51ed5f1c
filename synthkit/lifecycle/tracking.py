"""Where runs are recorded: a database that MLflow keeps. Off until somebody names it, and nothing but that database hears of a run."""
import os
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from synthkit.errors import DataError, MissingExtraError

VARIABLE, EXPERIMENT = "MLFLOW_TRACKING_URI", "synthkit"
DATABASES, SERVERS = ("sqlite", "postgresql", "mysql", "mssql"), ("http", "https")
# MLflow would tell its makers how it is used, and look for a cloud's client library, as soon as it is imported.
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "_MLFLOW_TELEMETRY_PRE_WARM_DATABRICKS_SDK": "false",
          "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}  # fmt: skip


def track(uri: str | None, *, experiment: str = EXPERIMENT) -> None:
    """Record every fit, evaluation and saved cohort from now on as an MLflow run, in this process and those it starts.

    The environment variable MLFLOW_TRACKING_URI does the same. Recipes, scores with interval and n, generators, manifests and digests are recorded; no
    image of a cohort is.

    Args:
        uri: a database, "sqlite:///runs/mlflow.db", or the address of your MLflow server; None stops recording.
        experiment: under which name.
    Raises:
        DataError: a folder (the file store), a database in memory, or an address that MLflow does not know.
        MissingExtraError: MLflow is not installed.

    Example:
        sk.track("sqlite:///runs/mlflow.db")
    """
    if uri is None:
        os.environ.pop(VARIABLE, None)
        return
    require_database(uri)
    imported()
    os.environ["MLFLOW_EXPERIMENT_NAME"] = experiment
    opened(uri)


def tracked() -> bool:
    """Whether a tracking address is set."""
    return bool(os.environ.get(VARIABLE))


def require_database(uri: str | None) -> str:
    """The address, if it is a database or a server; DataError otherwise."""
    allowed = 'give a database such as "sqlite:///runs/mlflow.db", or the http(s) address of an MLflow server'
    if not uri:
        raise DataError(f"no tracking address is set; {allowed}, by sk.track(...) or {VARIABLE}")
    scheme = urlsplit(str(uri)).scheme.split("+")[0]
    if scheme == "sqlite" and urlsplit(str(uri)).path in ("", "/", "/:memory:"):
        raise DataError(f"tracking address {str(uri)!r} names no file, so that other processes would not find it; {allowed}")
    if scheme in DATABASES or scheme in SERVERS:
        return str(uri)
    what = "is a folder (MLflow's file store, which takes no new records)" if scheme in ("", "file") or len(scheme) == 1 else "is of an unknown kind"
    raise DataError(f"tracking address {str(uri)!r} {what}; {allowed}")


def opened(uri: str | None = None) -> ModuleType:
    """MLflow, pointed at the address (that of the environment when left out), with the experiment set.

    Raises:
        DataError: no address, or one that is no database.
        MissingExtraError: MLflow is not installed.
    """
    address = require_database(uri or os.environ.get(VARIABLE))
    mlflow = imported()
    database = _local_file(address)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        address = f"{address.partition('://')[0]}:///{database}"  # other processes may run elsewhere
    mlflow.set_tracking_uri(address)
    os.environ[VARIABLE] = address
    _set_experiment(mlflow, os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT), database)
    return mlflow


def imported() -> ModuleType:
    """MLflow, silent; MissingExtraError where it is not installed."""
    os.environ.update(SILENT)
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtraError('mlflow is not installed; pip install "synthkit[mlops]"') from error
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return mlflow


def _local_file(address: str) -> Path | None:
    """The file of an sqlite database: three slashes lead to a relative path, four to an absolute one."""
    scheme, _, path = address.partition("://")
    return Path(path.removeprefix("/")).resolve() if scheme.split("+")[0] == "sqlite" else None


def _set_experiment(mlflow: ModuleType, name: str, database: Path | None) -> None:
    """Choose the experiment; a new one in a local database keeps its files beside it, not where the process happens to run."""
    client = mlflow.MlflowClient()
    if client.get_experiment_by_name(name) is None:
        place = None if database is None else (database.parent / "artifacts").as_uri()
        client.create_experiment(name, artifact_location=place)
    mlflow.set_experiment(name)

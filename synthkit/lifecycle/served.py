"""What MLflow runs to load a served generator: code, not a pickled object."""
from mlflow.models import set_model

from synthkit.lifecycle.serving import Served

set_model(Served())

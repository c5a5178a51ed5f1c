"""The state of a federated training between two rounds, so that an interrupted one goes on."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.core.files import read_manifest, write_manifest
from synthkit.scale.federated.site import recalled, remember
from synthkit.training.state import State, load_state, save_state

if TYPE_CHECKING:
    from flwr.app import Context

    from synthkit.scale.federated.rounds import Course

RECORD = "rounds.json"


@dataclass(frozen=True)
class Keeping:
    """A run folder.

    Args:
        identity: what the training is; a folder of another one is refused.
        contexts: what the sites of this machine remember, by node; those of other machines keep it themselves.
    """

    folder: Path
    identity: dict[str, Any]
    contexts: "Mapping[int, Context]"

    def save(self, course: "Course", done: int) -> None:
        """Write all that the next round needs; the record first, so that a stop in between repeats one round."""
        tensors = {f"weights.{name}": t for name, t in course.weights.items()} | {f"average.{name}": t for name, t in course.average.items()}
        for node, context in self.contexts.items():
            if "stage" in context.state:
                stage = context.state["stage"]["number"]
                tensors |= {f"site{node}.{stage}.{name}": tensor for name, tensor in recalled(context.state, stage).items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_manifest(self.folder / RECORD, {"rows": course.rows, "seconds": course.seconds, "sites": len(course.sites)})
        save_state(State(tensors, done, course.seconds), self.folder, self.identity)

    def restore(self, course: "Course") -> int:
        """Put a kept state into the course; how many rounds it has behind it.

        Raises:
            FitError: the folder belongs to another training.
            StoreError: it is damaged.
        """
        state = load_state(self.folder, self.identity)
        if state is None:
            return 0
        course.weights, course.average = state.part("weights"), state.part("average")
        course.rows = read_manifest(self.folder / RECORD)["rows"][: state.step * len(course.sites)]
        course.seconds = state.seconds
        for node, context in self.contexts.items():
            for stage in {name.split(".")[1] for name in state.tensors if name.startswith(f"site{node}.")}:
                remember(context.state, int(stage), {name.removeprefix("optimizer."): t for name, t in state.part(f"site{node}.{stage}").items()})
        return state.step

"""The rounds of a federated training as a section: who took part, what each learnt, and what was refused."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.kinds import require_kind
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("round", "site", "images", "event", "loss", "low", "high", "length", "seconds", "bytes_sent", "bytes_received")


@dataclass(frozen=True, eq=False, repr=False)
class Federation(Tabled):
    """A row per site and round: `event` ("used", "rejected: …", "failed: …", "no answer in time", "judged …"), the mean `loss` of its steps with, where it
    was judged, a 95 % interval over patients, the `length` of its change of the weights, `seconds` at the site, and the bytes to it and from it."""

    @property
    def bytes(self) -> int:
        """That went to all sites and came from them."""
        return int(self.rows[["bytes_sent", "bytes_received"]].sum().sum())

    def lost(self) -> pd.DataFrame:
        """The rounds in which a site's training did not count."""
        return self.rows[~self.rows["event"].str.match("used|measured|judged")]

    def figure(self) -> "Figure":
        from plotly.graph_objects import Figure, Scatter

        figure = Figure(layout={"title": self.title, "xaxis_title": "round", "yaxis_title": "training loss"})
        for site, part in self.rows[self.rows["event"] == "used"].groupby("site"):
            figure.add_trace(Scatter(x=part["round"], y=part["loss"], mode="lines+markers", name=str(site)))
        for row in self.lost().itertuples():
            figure.add_vline(x=row.round, line_dash="dot", annotation_text=f"{row.site}: {row.event[:40]}")
        return figure


def federation(generator: Generator) -> Federation:
    """The rounds that a generator of `sk.federate` was trained in.

    Raises:
        DataError: a generator that was trained at one place.
    """
    require_kind("generator", generator, Generator, "a generator, as sk.federate(...) answers")
    training = generator.card.training
    if "rounds" not in training:
        raise DataError(f"{generator.card.name} was trained at one place and has no rounds; sk.federate(...) trains at several")
    rows = pd.DataFrame(training["rounds"]).reindex(columns=[*COLUMNS])
    notes = [f"{event.site}, round {event.round}: {event.event}." for event in rows[~rows["event"].str.match("used|measured|judged")].itertuples()]
    if (rows["event"] == "judged on its own training patients").any():
        notes.append("Sites were judged on patients whom they had trained on; give valid= for patients apart.")
    notes.append("Losses of sites with other patients or scanners cannot be compared with each other.")
    if training["constant within sites"] != "none":
        notes.append(f"Not learnt by averaging, since it is the same for all images of each site: {training['constant within sites']}.")
    return Federation(f"Rounds of {generator.card.name}", rows, tuple(notes))

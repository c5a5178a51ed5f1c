"""A generator's card: what it was trained on, how, and what it must not be used for; frozen, JSON and HTML."""
from dataclasses import asdict, dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Card:
    """Facts about a fitted generator.

    Args:
        name: for people and for `Generator.pretrained`.
        trained_on: source, images, patients, licence, digest.
        training: budget, steps, images seen, seconds, precision, seed, loss curve.
        measured: scores with n and interval, as rows.
        command: the line that fits it; with a budget in minutes the machine decides how far it comes.
        limits: what it must not be used for, and what is known to fail.
    """

    name: str
    trained_on: dict[str, Any]
    training: dict[str, Any]
    measured: tuple[dict[str, Any], ...] = ()
    command: str = ""
    limits: tuple[str, ...] = ("Not a medical device.", "Final validation of anything built with these images needs real patients.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Card":
        return Card(**{**data, "measured": tuple(data["measured"]), "limits": tuple(data["limits"])})

    def _repr_html_(self) -> str:
        rows = [(k, v) for part in (self.trained_on, self.training) for k, v in part.items() if k not in ("losses", "provenance", "before", "rounds")]
        rows += [("made by", self.command)] if self.command else []
        cells = "".join(f"<tr><th style='text-align:left'>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in rows)
        limits = "".join(f"<li>{escape(line)}</li>" for line in self.limits)
        return f"<h4>{escape(self.name)}</h4><table>{cells}</table><ul>{limits}</ul>{self._measured_html()}"

    def _measured_html(self) -> str:
        if not self.measured:
            return ""
        heads = "".join(f"<th>{escape(name)}</th>" for name in self.measured[0])
        rows = "".join("<tr>" + "".join(f"<td>{'' if v is None else escape(str(v))}</td>" for v in row.values()) + "</tr>" for row in self.measured)
        return f"<details><summary>What was measured</summary><table><tr>{heads}</tr>{rows}</table></details>"

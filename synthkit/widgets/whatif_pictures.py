"""What a what-if question shows: original, twin, difference and attribution, as HTML that needs nothing else."""
from html import escape

import numpy as np
import torch

from synthkit.core.figures import plane, signed_plane
from synthkit.explanation.inquiry import Answer, Inquiry
from synthkit.widgets.panels import address

SHADES = 'background:linear-gradient(90deg,rgb(33,102,172),white,rgb(178,24,43))'


class Scales:
    """Limits of the two signed maps. They grow with what is shown and never shrink, so that one move can be told from the next."""

    def __init__(self) -> None:
        self.delta, self.attribution = 20 / 127.5, 1e-3

    def widen(self, answer: Answer) -> None:
        self.delta = max(self.delta, 0.6 * float(answer.delta.abs().amax()))
        self.attribution = max(self.attribution, float(np.quantile(answer.attribution.abs().numpy(), 0.995)))


def pictures(asked: Inquiry, answer: Answer, scales: Scales, *, place: int | None = None) -> str:
    """Four pictures in a row with their captions.

    Args:
        place: the slice of a volume; None for an image.
    """
    original, twin, delta, found = (_slice(image, place) for image in (asked.image, answer.twin, answer.delta, answer.attribution))
    what, kind = f"P({asked.target} = {asked.level})", asked.patient.provenance.kind
    grown = 127.5 * float(answer.delta.abs().mean())
    panels = [
        (plane(original), f"original ({kind})", f"{what} = {asked.before:.3f}", f"raw round trip {asked.round_trip:.2f} of 255"),
        (plane(twin), "twin (synthetic)", f"{what} = {answer.chance:.3f}", f"change {answer.chance - asked.before:+.3f}"),
        (signed_plane(delta, scales.delta), "difference", f"mean change {grown:.2f} of 255", _bar(f"{127.5 * scales.delta:.0f}", "darker", "brighter")),
        (signed_plane(found, scales.attribution), "attribution", "IntegratedGradients from the twin", _bar(f"{scales.attribution:.2g}", "against", "for")),
    ]  # fmt: skip
    return '<div style="display:grid;grid-template-columns:repeat(4,1fr);gap:8px">' + "".join(_panel(*panel) for panel in panels) + "</div>"


def spoken(asked: Inquiry, answer: Answer) -> str:
    """One line that says what was asked and what was held."""
    if not answer.do:
        return "Nothing is set: the twin is the original. Move a control."
    said = "Set: " + ", ".join(f"{name} {_short(asked.value(name))} → {_short(value)}" for name, value in answer.do.items()) + ". "
    if answer.moved:
        return said + f"Moved with it in the causal model: {', '.join(answer.moved)}."
    return said + "All other factors held: an edit under that assumption, not what would happen to a patient."


def _short(value: object) -> str:
    return "not known" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _slice(image: torch.Tensor, place: int | None) -> torch.Tensor:
    return image if place is None else image[:, place]


def _panel(picture: np.ndarray, name: str, line: str, last: str) -> str:
    image = f'<img alt="{escape(name)}; {escape(line)}" src="{address(picture)}" style="width:100%;image-rendering:auto">'
    words = f"<b>{escape(name)}</b><br>{escape(line)}<br>{last}"
    return f'<figure style="margin:0">{image}<figcaption style="font-size:12px;line-height:1.4">{words}</figcaption></figure>'


def _bar(limit: str, low: str, high: str) -> str:
    """A colour bar of equal ranges on both sides."""
    strip = f'<span style="display:inline-block;width:5em;height:.7em;vertical-align:middle;{SHADES}"></span>'
    return f"{low} −{limit} {strip} +{limit} {high}"

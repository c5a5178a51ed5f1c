"""The picture of a causal graph."""
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from synthkit.causal.graph import CausalGraph
from synthkit.causal.layout import Layout, layered

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMN, ROW, HEIGHT, HEAD = 56, 58, 38, 8
PAGE = 840  # pixels that a notebook cell shows
SET, MOVED, STILL = "#b2182b", "#fddbc7", "#f7f9fb"
FADED, PLAIN, ACTIVE = "#d9d9d9", "#8a99a8", "#d6604d"
Point = tuple[float, float]


def draw(graph: CausalGraph, *, set_to: Collection[str], moved: Collection[str], notes: Mapping[str, str]) -> "Figure":
    """See `CausalGraph.figure`; lengths are pixels."""
    import plotly.graph_objects as go

    layout = layered({name: graph.before(name) for name in graph.order})
    width = 24 + 6.8 * max(len(text) for name in graph.order for text in (name, notes.get(name, "")))
    at = {name: _pixels(place, width) for name, place in layout.place.items()}
    shapes = []
    for (cause, effect), route in layout.route.items():
        live = effect in moved and (cause in moved or cause in set_to)
        colour = FADED if effect in set_to else ACTIVE if live else PLAIN
        entry = _entry(layout, cause, effect)
        shapes += _arrow([_pixels(stop, width) for stop in route], width, entry, colour, cause not in graph.parents(effect))
    shapes += [_box(at[name], width, *_colours(name, set_to, moved)) for name in graph.order]
    figure = go.Figure(go.Scatter(
        x=[at[name][0] for name in graph.order], y=[at[name][1] for name in graph.order], mode="markers", marker=dict(size=30, opacity=0),
        hovertext=[f"{name}: {', '.join(graph.before(name)) or 'no causes'}" for name in graph.order], hoverinfo="text",
    ))  # fmt: skip
    right, bottom = max(x for x, _ in at.values()) + width / 2 + 10, max(y for _, y in at.values()) + HEIGHT / 2 + 10
    natural = right + width / 2 + 50
    # Letters shrink with the boxes where many layers would not fit a page.
    shrunk = min(1.0, PAGE / natural)
    for name in graph.order:
        note = f"<br><span style='font-size:{10 * shrunk:.1f}px'>{notes[name]}</span>" if name in notes else ""
        font = dict(size=12 * shrunk, color="white" if name in set_to else "#222")
        figure.add_annotation(x=at[name][0], y=at[name][1], text=name + note, showarrow=False, font=font)
    figure.update_xaxes(visible=False, range=[-width / 2 - 10, right], fixedrange=True)
    figure.update_yaxes(visible=False, range=[bottom, -HEIGHT / 2 - 10], fixedrange=True)
    legend = " · ".join((["red: set", "pink: moved with it"] if set_to else []) + (["dashed: decides whether the factor applies"] if _gates(graph) else []))
    return figure.update_layout(
        shapes=shapes, title=dict(text="Causal graph", subtitle_text=legend), plot_bgcolor="white", showlegend=False,
        width=int(natural * shrunk), height=int(bottom + HEIGHT / 2 + 110), margin=dict(l=20, r=20, t=80, b=20),
    )  # fmt: skip


def _pixels(place: Point, width: float) -> Point:
    return place[0] * (width + COLUMN), place[1] * ROW


def _gates(graph: CausalGraph) -> bool:
    return any(graph.before(name) != graph.parents(name) for name in graph.order)


def _colours(name: str, set_to: Collection[str], moved: Collection[str]) -> tuple[str, str]:
    """Fill and border of a node."""
    return (SET, SET) if name in set_to else (MOVED, ACTIVE) if name in moved else (STILL, PLAIN)


def _entry(layout: Layout, cause: str, effect: str) -> float:
    """How far from its middle an arrow enters a node: arrows arrive side by side, in the order of the places they come from."""
    arriving = sorted((route[-2][1], edge) for edge, route in layout.route.items() if edge[1] == effect)
    step = min(9.0, (HEIGHT - 12) / max(1, len(arriving) - 1))
    return ([edge for _, edge in arriving].index((cause, effect)) - (len(arriving) - 1) / 2) * step


def _box(centre: Point, width: float, fill: str, border: str) -> dict[str, object]:
    x, y, half, tall, r = *centre, width / 2, HEIGHT / 2, 8
    path = (
        f"M{x - half + r},{y - tall} H{x + half - r} Q{x + half},{y - tall} {x + half},{y - tall + r} V{y + tall - r} "
        f"Q{x + half},{y + tall} {x + half - r},{y + tall} H{x - half + r} Q{x - half},{y + tall} {x - half},{y + tall - r} V{y - tall + r} "
        f"Q{x - half},{y - tall} {x - half + r},{y - tall} Z"
    )
    return dict(type="path", path=path, fillcolor=fill, line=dict(color=border, width=1.5))


def _arrow(route: list[Point], width: float, entry: float, colour: str, dashed: bool) -> list[dict[str, object]]:
    """A smooth line from the right side of the first node to the left side of the last, and its head."""
    tip = (route[-1][0] - width / 2, route[-1][1] + entry)
    stops = [(route[0][0] + width / 2, route[0][1])]
    for x, y in route[1:-1]:
        # Level beside the nodes of the layer that it passes.
        stops += [(x - width / 2, y), (x + width / 2, y)]
    stops.append((tip[0] - HEAD, tip[1]))
    path = f"M{stops[0][0]},{stops[0][1]}"
    for (x, y), (to_x, to_y) in zip(stops, stops[1:]):
        bend = (to_x - x) / 2
        path += f" C{x + bend},{y} {to_x - bend},{to_y} {to_x},{to_y}"
    head = f"M{tip[0]},{tip[1]} L{tip[0] - HEAD - 2},{tip[1] - HEAD / 2} L{tip[0] - HEAD - 2},{tip[1] + HEAD / 2} Z"
    return [
        dict(type="path", path=path, line=dict(color=colour, width=1.5, dash="dash" if dashed else "solid")),
        dict(type="path", path=head, fillcolor=colour, line=dict(color=colour, width=0)),
    ]

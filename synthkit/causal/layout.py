"""Where the nodes of a causal graph stand: layers from left to right, few crossings, short arrows (Sugiyama et al. 1981)."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Edge = tuple[str, str]
SWEEPS = 12
# Room for a node, and for an arrow that passes between nodes, in units of a row.
NODE, BEND = 1.0, 0.5


@dataclass(frozen=True)
class Layout:
    """Places in units of columns (left to right) and rows (top to bottom).

    Attributes:
        place: {node: (column, row)}.
        route: {(cause, effect): the places that the arrow passes, both ends included}.
    """

    place: Mapping[str, tuple[float, float]]
    route: Mapping[Edge, list[tuple[float, float]]]


def layered(before: Mapping[str, tuple[str, ...]]) -> Layout:
    """Lay out {node: its causes}, given causes before effects; nodes without any arrow stand in rows below."""
    joined = {cause for causes in before.values() for cause in causes} | {node for node, causes in before.items() if causes}
    layer: dict[str, int] = {}
    for node, causes in before.items():
        layer[node] = max((layer[cause] + 1 for cause in causes), default=0)
    stops = {(cause, node): _stops(cause, node, layer) for node, causes in before.items() for cause in causes}
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for node in (node for node in before if node in joined):
        columns[layer[node]].append(node)
    for route in stops.values():
        for column, stop in enumerate(route[1:-1], start=layer[route[0]] + 1):
            columns[column].append(stop)
    links = [link for route in stops.values() for link in zip(route, route[1:])]
    rows = _rows(columns, links, set(before))
    place = {stop: (float(column), rows[stop]) for column, stops_there in enumerate(columns) for stop in stops_there}
    route = {edge: [place[stop] for stop in stops_there] for edge, stops_there in stops.items()}
    bottom = max(rows.values(), default=-1.0) + 1.3
    for number, node in enumerate(node for node in before if node not in joined):
        place[node] = (float(number % len(columns)), bottom + number // len(columns))
    return Layout({node: place[node] for node in before}, route)


def _stops(cause: str, node: str, layer: Mapping[str, int]) -> list[str]:
    """The nodes of an arrow: its ends and a bend in every layer between."""
    return [cause, *(f"{cause}\x1f{node}\x1f{column}" for column in range(layer[cause] + 1, layer[node])), node]


def _rows(columns: list[list[str]], links: list[Edge], nodes: set[str]) -> dict[str, float]:
    """Order each column by its neighbours' mean row, then draw each stop as near to its neighbours as the room allows."""
    rows = {stop: float(number) for column in columns for number, stop in enumerate(column)}
    left = {stop: [a for a, b in links if b == stop] for stop in rows}
    right = {stop: [b for a, b in links if a == stop] for stop in rows}
    for sweep in range(SWEEPS):
        ordering = sweep < SWEEPS - 4
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            sides = (left,) if forward else (right,)
            wish = {stop: _mean([rows[n] for side in (sides if ordering else (left, right)) for n in side[stop]], rows[stop]) for stop in column}
            if ordering:
                column.sort(key=wish.get)
            rows |= _spaced(column, wish, nodes)
    top = min(rows.values(), default=0.0)
    return {stop: row - top for stop, row in rows.items()}


def _mean(values: list[float], otherwise: float) -> float:
    return float(np.mean(values)) if values else otherwise


def _spaced(column: list[str], wish: Mapping[str, float], nodes: set[str]) -> dict[str, float]:
    """The rows nearest to the wished ones in least squares that keep the order and the distances."""
    from scipy.optimize import isotonic_regression

    if not column:
        return {}
    room = np.array([NODE if stop in nodes else BEND for stop in column])
    offset = np.concatenate([[0.0], np.cumsum((room[1:] + room[:-1]) / 2)])
    return dict(zip(column, isotonic_regression([wish[stop] for stop in column] - offset).x + offset))

"""Which factor causes which: a directed acyclic graph over a schema."""
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.infer import Inference
from synthkit.core.schema import Schema
from synthkit.errors import SchemaError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.causal.scm import SCM


@dataclass(frozen=True, init=False, repr=False)
class CausalGraph:
    """The causes of every factor. Factors that are not named have none.

    A factor with `when` also depends on the category that decides whether it applies; that need not be named.

    Args:
        schema: the factors, or what `Schema.infer` made of a table.
        parents: {child: [parents...]}; or as keywords.
    Raises:
        SchemaError: no schema, no mapping, an unknown name, or a cycle.

    Example:
        graph = CausalGraph(train.schema, bmi=["age", "sex"], heart_ratio=["age", "bmi"])
        scm = graph.fit(train.table)
    """

    schema: Schema
    edges: Mapping[str, tuple[str, ...]]

    def __init__(self, schema: Schema | Inference, parents: Mapping[str, Sequence[str]] | None = None, /, **more: Sequence[str]) -> None:
        schema = _schema(schema)
        if parents is not None and not isinstance(parents, Mapping):
            raise SchemaError(f"the parents are a {type(parents).__name__}; give a mapping {{child: [parents...]}}")
        twice = sorted(set(parents or {}) & set(more))
        if twice:
            raise SchemaError(f"{twice[0]}: its parents are given twice; give them once")
        named = {child: _causes(schema, child, causes) for child, causes in {**(parents or {}), **more}.items()}
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "edges", {name: named.get(name, ()) for name in schema.names})
        self._refuse_cycles()

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All factors, causes before effects, otherwise as the schema has them."""
        sorter, order = TopologicalSorter({name: self.before(name) for name in self.schema.names}), []
        sorter.prepare()
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=self.schema.names.index)
            order += ready
            sorter.done(*ready)
        return tuple(order)

    def parents(self, name: str) -> tuple[str, ...]:
        """The causes of one factor, in the order given."""
        return self.edges[self.schema[name].name]

    def before(self, name: str) -> tuple[str, ...]:
        """The causes of one factor and the categories that decide whether it applies."""
        return tuple(dict.fromkeys([*self.parents(name), *self.schema[name].when]))

    def descendants(self, names: Iterable[str]) -> tuple[str, ...]:
        """Every factor that may move when the named ones are set, themselves left out; causes before effects."""
        start = {self.schema[name].name for name in names}
        reached = set(start)
        for name in self.order:
            if reached & set(self.before(name)):
                reached.add(name)
        return tuple(name for name in self.order if name in reached - start)

    def cut(self, names: Collection[str]) -> "CausalGraph":
        """The graph without the arrows into the named factors, as an intervention leaves it."""
        return CausalGraph(self.schema, {child: () if child in names else causes for child, causes in self.edges.items()})

    def fit(self, table: pd.DataFrame | Cohort) -> "SCM":
        """A structural causal model whose mechanisms are learnt from a table, or from that of a cohort.

        A factor is fitted on the rows in which it applies and in which it and its parents are known.
        Raises:
            SchemaError: a column is lacking, or an impossible value.
            DataError: no table, or an empty one.
            FitError: too few rows for a factor.
        """
        from synthkit.causal.fit import fit

        return fit(self, table)

    def figure(self, *, set_to: Collection[str] = (), moved: Collection[str] = (), notes: Mapping[str, str] | None = None) -> "Figure":
        """The graph from left to right; dashed arrows lead to factors that apply at some levels only.

        Args:
            set_to: factors to show as set by an intervention. moved: factors to show as having followed.
            notes: {factor: text} below its name.
        """
        from synthkit.causal.figure import draw

        return draw(self, set_to=set_to, moved=moved, notes=notes or {})

    def _refuse_cycles(self) -> None:
        try:
            TopologicalSorter({name: self.before(name) for name in self.schema.names}).prepare()
        except CycleError as error:
            # The list closes with its first node; it is turned so that the schema's first one leads.
            ring = error.args[1][:-1]
            start = min(range(len(ring)), key=lambda place: self.schema.names.index(ring[place]))
            ring = [*ring[start:], *ring[:start]]
            raise SchemaError(f"the graph has a cycle: {' -> '.join([*ring, ring[0]])}") from None

    def __repr__(self) -> str:
        arrows = [f"{child} <- {', '.join(causes)}" for child, causes in self.edges.items() if causes]
        return f"CausalGraph of {len(self.edges)} factors: {'; '.join(arrows) or 'no arrows'}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {**self.figure()._repr_mimebundle_(include, exclude), "text/plain": repr(self)}


def _schema(given: Schema | Inference) -> Schema:
    schema = given.schema if isinstance(given, Inference) else given
    if not isinstance(schema, Schema):
        raise SchemaError(f"the schema is a {type(schema).__name__}; give a Schema, such as cohort.schema or Schema.infer(table)")
    return schema


def _causes(schema: Schema, child: str, causes: Sequence[str]) -> tuple[str, ...]:
    """The checked parents of one child."""
    child = schema[child].name
    if isinstance(causes, str):
        raise SchemaError(f"{child}: give its parents as a list, [{causes!r}]")
    if not isinstance(causes, Sequence):
        raise SchemaError(f"{child}: its parents are a {type(causes).__name__}; give a list of names, [] for none")
    names = tuple(schema[cause].name for cause in causes)
    if len(set(names)) < len(names):
        raise SchemaError(f"{child}: a parent is named twice among {', '.join(names)}")
    return names

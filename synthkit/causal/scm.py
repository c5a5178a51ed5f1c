"""Structural causal models of the factors: sample, intervene, ask what if (Pearl 2009)."""
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.causal.codes import checked_do, coded, named, set_column, within
from synthkit.causal.graph import CausalGraph
from synthkit.causal.mechanisms import Constant, Mechanism
from synthkit.causal.noise import Array
from synthkit.core import randomness
from synthkit.core.cohort import Cohort
from synthkit.errors import SchemaError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.causal.counterfactual import TableCounterfactual


@dataclass(frozen=True, eq=False, repr=False)
class SCM:
    """A causal graph with one mechanism per factor.

    Args:
        graph: who causes whom.
        mechanisms: {factor: Mechanism}, taking the parents in the graph's order. `CausalGraph.fit` learns them from a table;
            `Equation` holds a known one.
    """

    graph: CausalGraph
    mechanisms: Mapping[str, Mechanism]

    def __post_init__(self) -> None:
        names = self.graph.schema.names
        lacking, strange = [n for n in names if n not in self.mechanisms], [n for n in self.mechanisms if n not in names]
        if lacking or strange:
            raise SchemaError(f"mechanisms: {(lacking or strange)[0]!r} {'has none' if lacking else 'is unknown'}; give one for each of {', '.join(names)}")
        object.__setattr__(self, "mechanisms", {name: self.mechanisms[name] for name in names})

    def sample(self, count: int, *, seed: int) -> pd.DataFrame:
        """`count` rows of all factors; a row depends on `seed` and its own number alone. Blank where a factor does not apply."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise SchemaError(f"count: {count!r} is not a whole number of rows, 1 or more")
        table = pd.DataFrame(index=range(count))
        for name in self.graph.order:
            law = self.mechanisms[name].law
            noise = law.draw(randomness.generator(seed, "table", f"factor.{name}"), count)
            factor = self.graph.schema[name]
            values = within(factor, self.mechanisms[name].value(noise, *self.causes(name, table)))
            table[name] = named(factor, np.where(self.graph.schema.applies(factor, table), values, np.nan), table.index)
        return table[[*self.graph.schema.names]]

    def do(self, change: Mapping[str, Any]) -> "SCM":
        """The model in which the named factors are set, whatever their causes: its samples follow the interventional law."""
        schema, change = self.graph.schema, checked_do(change)
        lists = [name for name, value in change.items() if not pd.api.types.is_scalar(value)]
        if lists:
            raise SchemaError(f"do: {lists[0]} is set to {change[lists[0]]!r}; give one value (counterfactual takes one per row)")
        constants = {name: Constant(float(coded(schema[name], set_column(schema[name], value, range(1)))[0])) for name, value in change.items()}
        return SCM(self.graph.cut(constants), {**self.mechanisms, **constants})

    def counterfactual(self, table: pd.DataFrame | Cohort, do: Mapping[str, Any], *, effect: str = "total", seed: int = 0) -> "TableCounterfactual":
        """The same rows as they would have been with factors set: abduction, action, prediction (Pearl 2009, theorem 7.1.7).

        Args:
            table: a column for every factor, blank where unknown; other columns are kept. Of a cohort its table is taken.
            do: {factor: value}, a value for all rows or one per row.
            effect: "total" lets the descendants follow with their own noise unchanged; "direct" holds them.
            seed: keys, with the row's `image_id` (else its number), the values that come to apply and have no factual noise.
        Raises:
            SchemaError: an unknown factor, value or effect, or a column is lacking.
            DataError: no table, or an empty one.
        """
        from synthkit.causal.counterfactual import counterfactual

        return counterfactual(self, table, do, effect=effect, seed=seed)

    def figure(self, *, set_to: Collection[str] = (), moved: Collection[str] = (), notes: Mapping[str, str] | None = None) -> "Figure":
        """The causal graph; see `CausalGraph.figure`."""
        return self.graph.figure(set_to=set_to, moved=moved, notes=notes)

    def frame(self) -> pd.DataFrame:
        """One row per factor: its parents and the kind of its mechanism."""
        rows = [(name, ", ".join(self.graph.parents(name)), type(m).__name__) for name, m in self.mechanisms.items()]
        return pd.DataFrame(rows, columns=["factor", "parents", "mechanism"])

    def causes(self, name: str, table: pd.DataFrame) -> list[Array]:
        """Per parent of one factor its (N,) codes, as a mechanism reads them."""
        return [coded(self.graph.schema[parent], table[parent]) for parent in self.graph.parents(name)]

    def __repr__(self) -> str:
        return f"SCM of {self.graph!r}"

    def _repr_html_(self) -> str:
        return self.frame().to_html(index=False, border=0)

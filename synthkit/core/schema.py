"""Factors of a clinical table, and the code that a network reads them by."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.errors import SchemaError

if TYPE_CHECKING:
    from synthkit.core.infer import Inference


def _text(value: Any) -> str:
    # A whole-number level read from a column with blanks arrives as 1.0.
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


@dataclass(frozen=True)
class Category:
    """A factor with named levels.

    Args:
        name: column name.
        levels: two or more level names, as text.
        when: {factor: level} outside which the value is not applicable.
    """

    name: str
    levels: tuple[str, ...]
    when: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(str(level) for level in self.levels))
        if len(set(self.levels)) != len(self.levels) or not self.levels:
            raise SchemaError(f"{self.name}: levels must be distinct and at least one; got {list(self.levels)}")

    @property
    def width(self) -> int:
        return len(self.levels)

    def check(self, values: pd.Series) -> pd.Series:
        """The values as text (missing stays missing); SchemaError names the first unknown level."""
        # Plain objects, since pandas' own text type would turn None into NaN.
        text = pd.Series([None if pd.isna(v) else _text(v) for v in values], index=values.index, dtype=object)
        unknown = sorted(set(text.dropna()) - set(self.levels))
        if unknown:
            raise SchemaError(f"{self.name}: {unknown[0]!r} is not one of {', '.join(self.levels)}")
        return text

    def code(self, values: pd.Series) -> np.ndarray:
        """(N, levels) one-hot float32; a missing value is all zero."""
        return (values.to_numpy(object)[:, None] == np.array(self.levels, object)[None]).astype(np.float32)


@dataclass(frozen=True)
class Quantity:
    """A factor measured on a scale.

    Args:
        name: column name.
        low, high: inclusive range in `unit`.
        unit: for the reader ("years", "mm"); empty for a ratio.
        cuts: where reports cut it into groups (age: 40, 65).
        when: {factor: level} outside which the value is not applicable.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    cuts: tuple[float, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cuts", tuple(float(cut) for cut in self.cuts))
        # Numbers out of a table are numpy's, which JSON refuses.
        for name, end in (("low", self.low), ("high", self.high)):
            object.__setattr__(self, name, end.item() if isinstance(end, np.generic) else end)
        if not self.low < self.high:
            raise SchemaError(f"{self.name}: low must be under high; got {self.low}..{self.high}")

    width = 1

    def check(self, values: pd.Series) -> pd.Series:
        """The values as float64 (missing is NaN); SchemaError names the first outside the range."""
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        words = values[values.notna() & numbers.isna()]
        if len(words):
            raise SchemaError(f"{self.name}: {words.iloc[0]!r} is not a number; give {self.low:g}..{self.high:g} {self.unit}".rstrip())
        outside = numbers[(numbers < self.low) | (numbers > self.high)]
        if len(outside):
            raise SchemaError(f"{self.name}: {outside.iloc[0]:g} {self.unit} is outside {self.low:g}..{self.high:g} {self.unit}".replace("  ", " ").rstrip())
        return numbers

    def code(self, values: pd.Series) -> np.ndarray:
        """(N, 1) float32 in [-1, 1]; a missing value is zero."""
        scaled = 2 * (values.to_numpy("float64") - self.low) / (self.high - self.low) - 1
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)[:, None]

    @property
    def _edges(self) -> tuple[float, ...]:
        return self.cuts or ((self.low + self.high) / 2,)

    @property
    def group_names(self) -> list[str]:
        """Names of the groups that `groups` cuts into, in order."""
        edges = self._edges
        return [f"<{edges[0]:g}", *(f"{a:g}-{b:g}" for a, b in zip(edges, edges[1:])), f">={edges[-1]:g}"]

    def groups(self, values: pd.Series) -> pd.Series:
        """Values cut into labelled groups; without cuts, at the middle of the range."""
        return pd.cut(values, [-np.inf, *self._edges, np.inf], right=False, labels=self.group_names).astype(object)


Factor = Category | Quantity


@dataclass(frozen=True)
class Schema:
    """The factors of a cohort, in order; `sensitive` names columns that audits look at first."""

    factors: tuple[Factor, ...] = ()
    sensitive: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        object.__setattr__(self, "sensitive", tuple(self.sensitive))
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SchemaError(f"factor {twice[0]!r} is declared twice")
        for factor in self.factors:
            for parent, level in factor.when.items():
                if not (parent in names and isinstance(self[parent], Category) and level in self[parent].levels):
                    raise SchemaError(f"{factor.name}: when={{{parent!r}: {level!r}}} names no category and level of this schema")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(factor.name for factor in self.factors)

    @property
    def width(self) -> int:
        """Length of the condition code: per factor its own width, a bit `known`, a bit `not applicable`."""
        return sum(factor.width + 2 for factor in self.factors)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Factor:
        for factor in self.factors:
            if factor.name == name:
                return factor
        near = get_close_matches(str(name), self.names, n=1, cutoff=0.7)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise SchemaError(f"unknown factor {name!r}{hint} this schema has {', '.join(self.names) or 'none'}")

    def only(self, names: tuple[str, ...]) -> "Schema":
        """The schema of some of the factors; a `when` whose parent is left out is dropped."""
        kept = [self[name] for name in names]
        clean = [type(f)(**{**f.__dict__, "when": {k: v for k, v in f.when.items() if k in names}}) for f in kept]
        return Schema(tuple(clean), tuple(s for s in self.sensitive if s in names))

    def applies(self, factor: Factor, table: pd.DataFrame) -> np.ndarray:
        """(N,) bool: False where another factor's known value makes this one not applicable."""
        answer = np.ones(len(table), bool)
        for parent, level in factor.when.items():
            if parent in table:
                values = table[parent]
                answer &= (values.isna() | (values == level)).to_numpy(bool)
                answer &= self.applies(self[parent], table)
        return answer

    def check(self, table: pd.DataFrame) -> pd.DataFrame:
        """A copy with the factor columns checked and typed; other columns are left alone.

        Raises:
            SchemaError: unknown level, value outside its range, or a value where the factor is not applicable.
        """
        table = table.copy()
        for factor in self.factors:
            if factor.name in table:
                table[factor.name] = factor.check(table[factor.name])
        for factor in self.factors:
            if factor.name in table:
                excess = table[factor.name].notna().to_numpy() & ~self.applies(factor, table)
                if excess.any():
                    need = " and ".join(f"{k} = {v}" for k, v in factor.when.items())
                    raise SchemaError(f"{factor.name}: a value is given where it does not apply (it needs {need}); leave it blank there")
        return table

    def clear(self, table: pd.DataFrame) -> pd.DataFrame:
        """A copy in which values that do not apply are blank."""
        table = table.copy()
        for factor in self.factors:
            if factor.name in table:
                blank = ~self.applies(factor, table)
                if blank.any():
                    table[factor.name] = table[factor.name].where(~blank, None if isinstance(factor, Category) else np.nan)
        return table

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """(N, width) float32 condition code; a factor without a column counts as missing."""
        table = self.check(table)
        parts = []
        for factor in self.factors:
            blank = pd.Series([None] * len(table), dtype=object)
            values = table[factor.name].reset_index(drop=True) if factor.name in table else factor.check(blank)
            known = values.notna().to_numpy()
            unfit = ~self.applies(factor, table)
            parts += [factor.code(values), known[:, None], unfit[:, None]]
        return np.concatenate(parts, 1).astype(np.float32) if parts else np.zeros((len(table), 0), np.float32)

    def blocks(self) -> list[slice]:
        """Where each factor stands in the code, in order."""
        ends = np.cumsum([0, *(factor.width + 2 for factor in self.factors)])
        return [slice(int(a), int(b)) for a, b in zip(ends, ends[1:])]

    def do(self, table: pd.DataFrame, change: Mapping[str, Any]) -> pd.DataFrame:
        """The table with factors set; what no longer applies is blanked, what newly applies stays missing.

        Args:
            change: {factor: value}, a value for all rows or one per row.
        """
        table = table.copy()
        for name, value in change.items():
            table[name] = value
            # Typed before anything is cleared: only then is 1 the level "1".
            table[name] = self[name].check(table[name])
        return self.check(self.clear(table))

    def grid(self, each: int = 1, **values: Any) -> pd.DataFrame:
        """Every combination of the given values, `each` times: a table of requests.

        Example:
            schema.grid(effusion=["absent", "present"], age=[30, 70], each=16)
        """
        lists = [[v] if pd.api.types.is_scalar(v) else list(v) for v in values.values()]
        factors = [self[name] for name in values]
        if each < 1:
            raise SchemaError(f"each={each}: ask for one image or more per combination")
        rows = [combination for combination in product(*lists) for _ in range(each)]
        table = pd.DataFrame(rows, columns=list(values))
        return self.check(self.clear(table.assign(**{factor.name: factor.check(table[factor.name]) for factor in factors})))

    def groups(self, table: pd.DataFrame, name: str) -> pd.Series:
        """The group of each row by one factor: its level, or where its value lies between the cuts."""
        factor = self[name]
        values = table[name]
        return factor.groups(values) if isinstance(factor, Quantity) else values

    def to_json(self) -> dict[str, Any]:
        rows = [{"type": type(f).__name__, **f.__dict__, "when": dict(f.when)} for f in self.factors]
        return {"factors": rows, "sensitive": list(self.sensitive)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Schema":
        kinds = {"Category": Category, "Quantity": Quantity}
        factors = [kinds[row["type"]](**{k: v for k, v in row.items() if k != "type"}) for row in data["factors"]]
        return Schema(tuple(factors), tuple(data["sensitive"]))

    @staticmethod
    def infer(table: pd.DataFrame, **options: Any) -> "Inference":
        """Guess the factors of a raw table; see `synthkit.core.infer.infer`."""
        from synthkit.core.infer import infer

        return infer(table, **options)

    def frame(self) -> pd.DataFrame:
        """One row per factor: name, kind, values, unit, when."""
        rows = [
            {
                "factor": f.name,
                "kind": type(f).__name__.lower(),
                "values": ", ".join(f.levels) if isinstance(f, Category) else f"{f.low:g}..{f.high:g}",
                "unit": f.unit if isinstance(f, Quantity) else "",
                "when": ", ".join(f"{k}={v}" for k, v in f.when.items()),
            }
            for f in self.factors
        ]
        return pd.DataFrame(rows, columns=["factor", "kind", "values", "unit", "when"])

    def _repr_html_(self) -> str:
        return self.frame().to_html(index=False, border=0)

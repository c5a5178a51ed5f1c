"""Gates: what a generator must reach before it may serve, by the worse end of each interval and from enough images."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, runtime_checkable

from synthkit.core.kinds import require_number
from synthkit.core.space import Space
from synthkit.errors import DataError
from synthkit.metrics.defaults import default_metrics
from synthkit.metrics.metric import Metric

PASS, NOT_MET, NOT_ASSESSED = "PASS", "NOT MET", "NOT ASSESSED"
ADHERENCE = ("Adherence AUC", "Adherence R2")
SIGNS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "≤": "<=", "≥": ">="}
ALL, FEWEST = "all", 100


@runtime_checkable
class Rule(Protocol):
    """What judges one row of scores; `sk.PassRule` is one."""

    measure: str

    @property
    def words(self) -> str:
        """The rule as a line."""

    def matches(self, measure: str, group: str) -> bool:
        """Whether it speaks of this row."""

    def judge(self, row: Mapping[str, Any], *, frozen: bool) -> tuple[str, str]:
        """PASS, NOT MET or NOT ASSESSED, and why."""


@dataclass(frozen=True)
class Bound:
    """One number that the worse end of an interval must keep.

    Args:
        measure, group: the row of the scores; adherence has the factor for its group.
        sign: "<", "<=", ">" or ">=".
        fewest: n below which nothing is said.
    """

    measure: str
    group: str
    sign: str
    bound: float
    fewest: int = FEWEST

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise DataError(f"gate for {self.measure}: {self.sign!r} is no sign; give one of <, <=, >, >=")
        require_number(f"gate for {self.measure}", self.bound, "a number that the interval's worse end must keep")
        require_number("fewest", self.fewest, "the smallest n, a whole number of 1 or more", whole=True)
        if self.fewest < 1:
            raise DataError(f"fewest={self.fewest}: give the smallest n, a whole number of 1 or more")
        object.__setattr__(self, "sign", SIGNS[self.sign])

    @property
    def words(self) -> str:
        return f"{'upper' if self.sign[0] == '<' else 'lower'} end of the 95 % interval {self.sign} {self.bound:g}, n >= {self.fewest}"

    def matches(self, measure: str, group: str) -> bool:
        return (measure, group) == (self.measure, self.group)

    def judge(self, row: Mapping[str, Any], *, frozen: bool) -> tuple[str, str]:
        end = row["high" if self.sign[0] == "<" else "low"]
        if not isfinite(row["n"]) or row["n"] < self.fewest:
            return NOT_ASSESSED, f"n = {row['n']:g} is under {self.fewest}"
        if not isfinite(end):
            return NOT_ASSESSED, "the score has no interval"
        kept = {"<": end < self.bound, "<=": end <= self.bound, ">": end > self.bound, ">=": end >= self.bound}[self.sign]
        return PASS if kept else NOT_MET, f"{end:.4g} is {'' if kept else 'not '}{self.sign} {self.bound:g}"


Gate = Mapping[Any, tuple[str, float]] | Iterable[Rule]


def rules_of(gate: Gate, space: Space, *, fewest: int = FEWEST) -> tuple[tuple[Rule, ...], tuple[Metric, ...], bool]:
    """The rules of a gate, the metrics that must be measured for them, and whether a judge is needed.

    Args:
        gate: {"KID": ("<", .05), ("Adherence AUC", "effusion"): (">", .8)}, where a key names a metric, is one, or is adherence with its factor; or rules
            such as `sk.PassRule`.
    Raises:
        DataError: an empty gate, a metric that is not known for images of this size, or a group that is not measured.
    """
    if isinstance(gate, str) or not isinstance(gate, Iterable):
        raise DataError(f'gate: got {gate!r}; give {{"KID": ("<", .05)}}, or a list of rules such as sk.PassRule')
    rules, own = [], {}
    for one in gate.items() if isinstance(gate, Mapping) else gate:
        if isinstance(one, Rule):
            rules.append(one)
            continue
        if not (isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], tuple) and len(one[1]) == 2):
            raise DataError(f'gate: {one!r} is no rule; give {{"KID": ("<", .05)}}, or rules such as sk.PassRule')
        what, (sign, bound) = one
        measure, group = what if isinstance(what, tuple) else (what, ALL)
        if isinstance(measure, Metric):
            own[measure.name] = measure
            measure = measure.name
        rules.append(Bound(str(measure), str(group), sign, bound, fewest))
    if not rules:
        raise DataError('gate: no rule is given, and without one nothing may be promoted; give for instance {"KID": ("<", .05)}')
    known = {metric.name: metric for metric in default_metrics(space)} | own
    for rule in rules:
        if rule.measure not in known and rule.measure not in ADHERENCE:
            raise DataError(f"gate: {rule.measure!r} is no known metric; there are {', '.join((*known, *ADHERENCE))} (adherence by factor: "
                            f'("Adherence AUC", "effusion")), or give a metric such as sk.Precision(k=3) as the key')  # fmt: skip
        if isinstance(rule, Bound):
            _require_measured(rule)
    names = dict.fromkeys(rule.measure for rule in rules)
    return tuple(rules), tuple(known[name] for name in names if name in known), any(name in ADHERENCE for name in names)


def _require_measured(rule: Bound) -> None:
    """Refuse a group that the scores have no row for."""
    if rule.measure in ADHERENCE and rule.group == ALL:
        raise DataError(f'gate: {rule.measure} is read factor by factor; give the factor, ("{rule.measure}", "effusion")')
    if rule.measure not in ADHERENCE and rule.group != ALL:
        raise DataError(f"gate: {rule.measure} is measured for all images, not for {rule.group!r}; leave the group out")


def read_gate(texts: Iterable[str], *, fewest: int = FEWEST) -> list[Bound]:
    """Rules given as text: "KID<0.05", "Adherence AUC:effusion>0.8"."""
    rules = []
    for text in texts:
        match = re.fullmatch(r"\s*([^<>=:]+?)\s*(?::\s*([^<>]+?)\s*)?(<=|>=|<|>)\s*([-+.\deE]+)\s*", text)
        try:
            number = float(match[4]) if match else None
        except ValueError:
            number = None
        if match is None or number is None:
            raise DataError(f'gate {text!r} is no rule; give for instance "KID<0.05" or "Adherence AUC:effusion>0.8"')
        rules.append(Bound(match[1], match[2] or ALL, match[3], number, fewest))
    return rules

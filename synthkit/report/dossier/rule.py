"""A pass rule: what a measured value must reach, fixed before it is measured."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import DataError
from synthkit.report.dossier.chapters import BY_KEY, RULED, chapter_key

EACH, ALL = "each", "all"
PASS, MEETS, NOT_MET, NOT_ASSESSED, OPEN = "PASS", "meets the rule (not frozen)", "NOT MET", "NOT ASSESSED", "OPEN"
INTERVAL, VALUE = "interval", "value"
BOUNDS = {"at_least": "≥", "at_most": "≤"}


@dataclass(frozen=True, kw_only=True)
class PassRule:
    """What one measure of one section must reach.

    Args:
        section: "coverage", "bias" and so on.
        measure: as the result names it, such as "Recall" or "TPR gap".
        group: the group that it is held for; "all" for all images; "each" for every factor, attribute or edit there is, without subgroups such as "sex=F".
        at_least, at_most: the bound; one of the two.
        of_floor: the bound is so many times the real-against-real floor of the same row (the end of its interval on the same side).
        judged_by: "interval": the end of the 95 % interval on the worse side must keep the bound; "value": the value alone.
        fewest: n below which nothing is said.
        claim: in words; left out, it is made of the others.

    Example:
        sk.PassRule(section="coverage", measure="Recall", at_least=0.7, fewest=200)
    """

    section: str
    measure: str
    group: str = ALL
    at_least: float | None = None
    at_most: float | None = None
    of_floor: bool = False
    judged_by: str = INTERVAL
    fewest: int = 100
    claim: str = ""

    def __post_init__(self) -> None:
        key = self.section if self.section == "independence" else chapter_key(self.section)
        if key not in RULED:
            raise DataError(f"section={self.section!r}: {BY_KEY[key].title} is not judged by rules; there are {', '.join(RULED)}")
        object.__setattr__(self, "section", key)
        for name in ("measure", "group"):
            if not isinstance(vars(self)[name], str) or not vars(self)[name]:
                raise DataError(f"{name}={vars(self)[name]!r}: give a name, as the frame of the result has it")
        if (self.at_least is None) == (self.at_most is None):
            raise DataError(f"the rule for {self.measure}: give one of at_least= and at_most=")
        require_number("at_least" if self.at_most is None else "at_most", self.bound, "a number that the measure is held against")
        require_number("fewest", self.fewest, "the smallest n, a whole number of 1 or more", whole=True)
        require_kind("of_floor", self.of_floor, bool, "True or False")
        require_kind("claim", self.claim, str, "the claim in words")
        if self.fewest < 1 or self.judged_by not in (INTERVAL, VALUE):
            raise DataError(f"fewest={self.fewest}, judged_by={self.judged_by!r}: give 1 or more, and one of {INTERVAL!r}, {VALUE!r}")

    @property
    def bound(self) -> float:
        return self.at_least if self.at_most is None else self.at_most  # type: ignore[return-value]

    @property
    def words(self) -> str:
        """The rule as a line."""
        sign = BOUNDS["at_least" if self.at_most is None else "at_most"]
        what = "value" if self.judged_by == VALUE else f"{'lower' if self.at_most is None else 'upper'} end of the 95 % interval"
        floor = " × real-against-real floor" if self.of_floor else ""
        return f"{what} {sign} {self.bound:g}{floor}, n ≥ {self.fewest}"

    def says(self, group: str) -> str:
        """The claim for one group, in words."""
        return (self.claim or f"{self.measure} is {'high' if self.at_most is None else 'low'} enough") + ("" if group == ALL else f": {group}")

    def matches(self, measure: str, group: str) -> bool:
        return measure == self.measure and (group == self.group or (self.group == EACH and group != ALL and "=" not in group))

    def judge(self, row: Mapping[str, Any], *, frozen: bool) -> tuple[str, str]:
        """Result and reason for one measured row: value, low, high, n and, for rules of the floor, floor_low and floor_high."""
        n, least = row["n"], self.at_most is None
        number = row["value"] if self.judged_by == VALUE else row["low" if least else "high"]
        if not isfinite(row["value"]):
            return NOT_ASSESSED, "the result holds no value"
        if not isfinite(n) or n < self.fewest:
            return NOT_ASSESSED, f"n = {n:g} is under {self.fewest}" if isfinite(n) else "the result does not say n"
        if not isfinite(number):
            return NOT_ASSESSED, "the result has no interval"
        bound, told = self.bound, ""
        if self.of_floor:
            floor = row["floor_low" if least else "floor_high"]
            if not isfinite(floor) or floor <= 0:
                return NOT_ASSESSED, "there is no floor to hold it against"
            bound, told = bound * floor, f" ({self.bound:g} × floor {floor:.4g})"
        met = number >= bound if least else number <= bound
        sign = ("≥" if met else "<") if least else ("≤" if met else ">")
        return PASS if met and frozen else MEETS if met else NOT_MET, f"{number:.4g} {sign} {bound:.4g}{told}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

"""The plan of a dossier: rules fixed, hashed and signed before the run."""
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import canonical_json, plain
from synthkit.core.provenance import code_version, digest
from synthkit.core.result import now
from synthkit.core.signing import Signature, fingerprint, sign, trusted
from synthkit.errors import DataError, StoreError
from synthkit.report.dossier.defaults import DEFAULT_RULES
from synthkit.report.dossier.registered import Registered
from synthkit.report.dossier.rule import PassRule
from synthkit.report.fragment import table_html

FORMAT = "synthkit dossier plan 1"
RULES = "rules such as sk.PassRule(section='coverage', measure='Recall', at_least=0.7)"
FILE = "a file, such as 'dossier.plan.json'"


@dataclass(frozen=True)
class Frozen:
    """When and where a plan was frozen.

    Args:
        at: ISO 8601, UTC.
        sha256: of the canonical JSON of the plan with this time.
    """

    file: Path
    at: str
    code: str
    sha256: str
    signature: Signature | None


@dataclass(frozen=True)
class DossierPlan:
    """What will be shown, and what it must reach, written down before anything is measured.

    Args:
        intended_use: what the synthetic images are for.
        rules: left out, those of `synthkit.report.dossier.defaults`, which need a justification of your own.
        test: the cohort that everything will be judged on: results on other patients then pass nothing, and final validation
            can be closed by a study of utility on all of them.
        out_of_scope: what they are not for.
        frozen: set by `freeze` and `load`.

    Example:
        plan = sk.DossierPlan(intended_use="Pretraining of an effusion classifier", test=test).freeze("dossier.plan.json")
    """

    intended_use: str
    rules: Sequence[PassRule] = DEFAULT_RULES
    test: Registered | Cohort | None = None
    out_of_scope: str = ""
    frozen: Frozen | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.intended_use, str) or not self.intended_use.strip():
            raise DataError("intended_use: say in a sentence what the synthetic images are for")
        require_kind("out_of_scope", self.out_of_scope, str, "in a sentence what the synthetic images are not for")
        require_kind("rules", self.rules, (list, tuple, PassRule), RULES)
        rules = (self.rules,) if isinstance(self.rules, PassRule) else tuple(self.rules)
        for rule in rules:
            require_kind("rules", rule, PassRule, RULES)
        if not rules:
            raise DataError("rules=[]: give one rule or more, or leave it out for the default ones")
        require_kind("test", self.test, (Registered, Cohort, type(None)), "the cohort that results will be measured on")
        if isinstance(self.test, Cohort) and not len(self.test):
            raise DataError("test: a cohort of no images; give the one that results will be measured on, or leave it out")
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "test", Registered.of(self.test) if isinstance(self.test, Cohort) else self.test)

    def freeze(self, path: str | Path) -> "DossierPlan":
        """Write the plan as canonical JSON with its sha256 and, where this machine has a key, a signature; the frozen plan is returned.

        Freezing the same plan again leaves the file as it is, with its first time.

        Raises:
            StoreError: another plan stands there, or nothing can be written there.
        """
        require_kind("path", path, (str, Path), FILE)
        path = Path(path)
        if path.exists():
            kept = DossierPlan.load(path)
            if kept._rules_json() == self._rules_json():
                return kept
            raise StoreError(f"{path} holds another plan, frozen at {kept.frozen.at}; a changed plan needs a file of its own, and a new run")  # type: ignore[union-attr]
        body = self._body(now(), code_version())
        data = canonical_json(body)
        signature = sign(data)
        signed = None if signature is None else {"key": signature.key, "value": signature.value}
        try:
            write_atomically(path, canonical_json({**body, "sha256": digest(data), "signature": signed}))
        except OSError as error:
            raise StoreError(f"{str(path)!r} cannot be written ({error.strerror or error}); make room or give another file") from error
        return replace(self, frozen=Frozen(path, body["frozen"], body["code"], digest(data), signature))

    @staticmethod
    def load(path: str | Path) -> "DossierPlan":
        """A frozen plan as it was written.

        Raises:
            StoreError: no plan, one that was changed after it was frozen, or a signature that does not hold.
        """
        require_kind("path", path, (str, Path), FILE)
        path = Path(path)
        try:
            written = path.read_bytes()
            told = json.loads(written)
            sha256, signed = told.pop("sha256"), told.pop("signature")
            data = canonical_json(told)
            if told["format"] != FORMAT:
                raise ValueError(f"it says format {told['format']!r}")
            if digest(data) != sha256 or canonical_json({**told, "sha256": sha256, "signature": signed}) != written:
                raise StoreError(f"{path} was changed after it was frozen: its rules are not those that were fixed; restore it, or "
                                 "freeze a new plan and run again")
            signature = None if signed is None else Signature(**signed)
            if signature is not None and not signature.holds(data):
                raise StoreError(f"{path}: it is not what key {fingerprint(signature.key)} signed; restore it")
            rules = [PassRule(**rule) for rule in told["rules"]]
            test = None if told["test"] is None else Registered.from_json(told["test"])
        except StoreError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} is no frozen plan ({error}); give a file that DossierPlan.freeze wrote") from None
        frozen = Frozen(path, told["frozen"], told["code"], sha256, signature)
        return DossierPlan(told["intended_use"], rules, test, told["out_of_scope"], frozen=frozen)

    def doubt(self) -> str:
        """Why these rules do not count as fixed before the run; empty where they do."""
        if self.frozen is None:
            return "the plan was never frozen"
        if digest(canonical_json(self._body(self.frozen.at, self.frozen.code))) != self.frozen.sha256:
            return "the plan was changed after it was frozen"
        try:
            kept = DossierPlan.load(self.frozen.file)
        except StoreError as error:
            return str(error)
        return "" if kept.frozen.sha256 == self.frozen.sha256 else f"{self.frozen.file.name} now holds another plan"  # type: ignore[union-attr]

    def signed_by(self) -> str:
        """Who signed it, in words."""
        if self.frozen is None or self.frozen.signature is None:
            return "not signed: whoever could write the file could have made another"
        key = self.frozen.signature.key
        return f"ed25519, key {fingerprint(key)}" + ("" if key in trusted() else ", which is not known on this machine")

    def facts(self) -> pd.DataFrame:
        """When the rules were fixed, by whom, and on which patients results are judged."""
        frozen, test = self.frozen, self.test
        fixed = self.doubt() or f"{frozen.at}, with {frozen.code}"  # type: ignore[union-attr]
        judged = f"{test.kind}: {test.source}, {test.images} images of {len(test.patients)} patients, root {test.root}" if test else "no cohort is named"  # type: ignore[union-attr]
        rows = [("rules fixed", fixed), ("sha256 of the plan", frozen.sha256 if frozen else "none"), ("signature", self.signed_by()), ("judged on", judged)]
        return pd.DataFrame(rows, columns=["plan", "what it says"])

    def frame(self) -> pd.DataFrame:
        """The rules: section, claim, measure (group), rule."""
        rows = [(rule.section, rule.claim or rule.says(rule.group), f"{rule.measure} ({rule.group})", rule.words) for rule in self.rules]
        return pd.DataFrame(rows, columns=["section", "claim", "measure (group)", "rule"])

    def __repr__(self) -> str:
        on = "" if self.test is None else f", judged on {len(self.test.patients)} patients of {self.test.source!r}"  # type: ignore[union-attr]
        return f"DossierPlan({self.intended_use!r}, {len(self.rules)} rules{on}, {'not frozen' if self.frozen is None else f'frozen at {self.frozen.at}'})"

    def _repr_html_(self) -> str:
        return f"<h3>Plan: {escape(self.intended_use)}</h3>{table_html(self.facts())}{table_html(self.frame())}"

    def _rules_json(self) -> bytes:
        return canonical_json(self._body("", ""))

    def _body(self, at: str, code: str) -> dict[str, Any]:
        test = None if self.test is None else self.test.to_json()  # type: ignore[union-attr]
        rules = [rule.to_json() for rule in self.rules]
        return plain({"format": FORMAT, "intended_use": self.intended_use, "out_of_scope": self.out_of_scope, "rules": rules, "test": test,
                      "frozen": at, "code": code})  # fmt: skip

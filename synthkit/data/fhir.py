"""A clinical record in FHIR R4 as factors: age and sex, conditions and measurements at the time of each imaging study."""
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.schema import Category, Factor, Quantity, Schema
from synthkit.data.fhir_bundle import Resource, Resources
from synthkit.data.fhir_codes import Codes, fhir_codes
from synthkit.data.fhir_rows import Gaps, age, conditions, faults_of, moment, observations, sex
from synthkit.data.load import load
from synthkit.errors import DataError

UID = "urn:dicom:uid"
VOID = ("cancelled", "entered-in-error")


@dataclass(frozen=True, eq=False)
class Record:
    """What a clinical record says, one row per imaging study, or per patient where there is no study.

    Args:
        table: `patient_id` (in the clear, as the bundle has it; `images` codes it), `study_uid`, and the factors.
        schema: the factors that occur.
        codes: what was understood, as `sk.fhir_codes()`; change it and load again.
        unknown: codes that no row of `codes` fits, with how often each occurs.
        skipped: entries that could not be used, with the reason.
        notes: what a reader must know.
    """

    table: pd.DataFrame
    schema: Schema
    codes: pd.DataFrame
    unknown: pd.DataFrame
    skipped: pd.DataFrame
    notes: tuple[str, ...]

    def images(self, source: str | Path, **options: Any) -> Cohort:
        """The DICOM files of these studies as a cohort with the record's factors, joined by Study Instance UID.

        Args:
            options: of `sk.load`, such as size= and window=.
        Raises:
            DataError: no study has a UID, or no file belongs to one.
        """
        there = self.table.dropna(subset=["study_uid"])
        if not len(there):
            raise DataError("the record names no imaging study with a DICOM UID, so that no image can be joined to it")
        made = load(source, table=there, join="study_uid", patient="patient_id", factors=self.schema, **options)
        return Cohort(made.images, made.table, made.schema, made.provenance, (*made.notes, *self.notes), made.skipped)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{note}</li>" for note in self.notes)
        return f"<h3>{self!r}</h3>{self.table.to_html(index=False, border=0, max_rows=20)}<ul>{notes}</ul>"

    def __repr__(self) -> str:
        names = ", ".join(self.schema.names)
        left = f"{len(self.unknown)} unknown codes, {len(self.skipped)} entries skipped"
        return f"Record({len(self.table)} rows of {self.table['patient_id'].nunique()} patients, factors {names}; {left})"


def load_fhir(source: str | Path, *, codes: pd.DataFrame | None = None) -> Record:
    """Read FHIR R4 (4.0.1): Patient, Condition, Observation and ImagingStudy of a bundle, or of all bundles of a folder.

    Age is that at the study. A condition counts from a month before its onset until its abatement; one that is nowhere recorded counts as absent, one
    that is unconfirmed as missing. A measurement is the nearest within a year of the study.

    Args:
        source: a .json or .ndjson file, or a folder of them.
        codes: what codes mean; `sk.fhir_codes()` when left out.
    Raises:
        DataError: nothing readable, no patient, or another version of FHIR; a table of codes that cannot be used.

    Example:
        record = sk.load_fhir("bundles")
        cohort = record.images("dicoms", size=64)
    """
    require_kind("source", source, (str, Path), "a file or folder of FHIR R4 bundles")
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{str(source)!r} is no file or folder; give FHIR R4 bundles as .json or .ndjson")
    known, gaps = Codes(fhir_codes() if codes is None else codes), Gaps()
    resources = Resources(path)
    entries = {kind: _by_patient(resources, kind, gaps) for kind in ("Condition", "Observation", "ImagingStudy")}
    _count_unknown(entries, known, gaps)
    rows = []
    for patient in resources.kinds["Patient"]:
        for reason in faults_of(patient):
            gaps.skip(patient, reason)
        mine = {kind: found[id(patient)] for kind, found in entries.items()}
        studies = [study for study in mine["ImagingStudy"] if study.get("status") not in VOID]
        for study in studies or ([{}] if not any(entries["ImagingStudy"].values()) else []):
            rows.append(_row(patient, study, mine, known, gaps))
    schema = _schema(rows, known)
    table = pd.DataFrame(rows)
    for factor in schema.factors:
        recorded = factor.name in _condition_names(known) and isinstance(factor, Category)
        table[factor.name] = [row.get(factor.name, "absent" if recorded else None) for row in rows]
    table = schema.check(table[["patient_id", "study_uid", *schema.names]])
    unknown = pd.DataFrame([(*key, count) for key, count in gaps.unknown.items()], columns=["resource", "system", "code", "display", "n"])
    skipped = pd.DataFrame(gaps.skipped, columns=["resource", "id", "reason"]).drop_duplicates(ignore_index=True)
    unknown = unknown.sort_values("n", ascending=False, ignore_index=True)
    return Record(table, schema, known.rows, unknown, skipped, _said(resources, table, unknown, skipped))


def _by_patient(resources: Resources, kind: str, gaps: Gaps) -> dict[int, list[Resource]]:
    """{id of the patient's resource: entries}; an entry whose patient is not there goes among the gaps."""
    found: dict[int, list[Resource]] = defaultdict(list)
    for entry in resources.kinds[kind]:
        patient = resources.patient_of(entry)
        if patient is None:
            gaps.skip(entry, f"its subject {(entry.get('subject') or {}).get('reference', '')!r} is no Patient of these files")
        else:
            found[id(patient)].append(entry)
    return found


def _count_unknown(entries: dict[str, dict[int, list[Resource]]], codes: Codes, gaps: Gaps) -> None:
    for kind in ("Condition", "Observation"):
        for entry in (one for mine in entries[kind].values() for one in mine):
            if all(codes.find(kind, part.get("code")) is None for part in (entry, *entry.get("component", ()))):
                gaps.count(entry, entry.get("code"))


def _row(patient: Resource, study: Resource, mine: dict[str, list[Resource]], codes: Codes, gaps: Gaps) -> dict[str, Any]:
    at = moment(study.get("started"))
    uids = [str(one.get("value", "")).removeprefix("urn:oid:") for one in study.get("identifier", ()) if one.get("system") == UID]
    dates = (moment(one.get("effectiveDateTime") or one.get("recordedDate")) for found in mine.values() for one in found)
    latest = at or max(filter(None, dates), default=None)
    return {
        "patient_id": str(patient.get("id", "")), "study_uid": uids[0] if uids else None, "age": age(patient, latest), "sex": sex(patient),
        **conditions(mine["Condition"], patient, at, codes), **observations(mine["Observation"], at, codes, gaps),
    }  # fmt: skip


def _condition_names(codes: Codes) -> list[str]:
    return codes.rows.loc[codes.rows["resource"] == "Condition", "factor"].drop_duplicates().tolist()


def _schema(rows: list[dict[str, Any]], codes: Codes) -> Schema:
    """Age, sex, and what of the codes occurs at least once."""
    occurring = {name for row in rows for name in row}
    factors: list[Factor] = [Quantity("age", 0, 120, "years", cuts=(40, 65)), Category("sex", ("F", "M"))]
    factors += [Category(name, ("absent", "present")) for name in _condition_names(codes) if name in occurring]
    for _, row in codes.rows[codes.rows["resource"] == "Observation"].drop_duplicates("factor").iterrows():
        if row["factor"] in occurring:
            levels = codes.levels(row["factor"])
            factors.append(Category(row["factor"], levels) if levels else Quantity(row["factor"], row["low"], row["high"], row["unit"]))
    return Schema(tuple(factors), sensitive=("sex", "age"))


def _said(resources: Resources, table: pd.DataFrame, unknown: pd.DataFrame, skipped: pd.DataFrame) -> tuple[str, ...]:
    without = len(resources.kinds["Patient"]) - table["patient_id"].nunique()
    said = ["A condition that the record does not name counts as absent: records are not complete."]
    if without:
        said.append(f"{without} of {len(resources.kinds['Patient'])} patients have no imaging study and no row.")
    if len(unknown):
        said.append(f"{int(unknown['n'].sum())} entries carry {len(unknown)} codes that were not understood: see .unknown, and add rows to codes=.")
    if len(skipped):
        said.append(f"{len(skipped)} entries could not be used: see .skipped.")
    return tuple(said)

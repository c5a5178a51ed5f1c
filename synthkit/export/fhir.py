"""Synthetic patients out as FHIR R4 bundles: record, imaging study, report, and what made the images, each marked as test data and synthetic."""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.lineage import read_record, record_digest, records
from synthkit.data.fhir_codes import Codes, fhir_codes
from synthkit.export.begin import destination, require_synthetic, unwritten
from synthkit.export.fhir_findings import findings
from synthkit.export.fhir_lineage import device, provenance
from synthkit.export.fhir_resource import DAY, META, Resource, identity, reference, resource
from synthkit.export.fhir_study import imaging_study, report
from synthkit.export.series import Series, series_of

SEXES = {"F": "female", "M": "male"}


def to_fhir(cohort: Cohort, folder: str | Path, *, codes: pd.DataFrame | None = None, modality: str | None = None) -> list[Path]:
    """Write the patients of a synthetic cohort as FHIR R4 (4.0.1), one bundle each; `sk.load_fhir` reads the folder back.

    Findings that are present become Conditions, other factors Observations; factors without a code keep their name as text. Each image has an ImagingStudy
    with the study, series and instance UIDs of the files that `sk.to_dicom` writes of it, a DiagnosticReport, and a Provenance: made by which Device, with
    the digests of its record, of the model and of what that learnt from. Every resource carries the security label HTEST and the tag "synthetic".

    Args:
        cohort: synthetic or edited images.
        folder: made if absent; files of the same patients are replaced. A bundle is whole or absent.
        codes: what codes mean; `sk.fhir_codes()` when left out. The first row of a factor is written.
        modality: as `sk.to_dicom` was given it.
    Raises:
        AbilityError: a cohort with real images, which no label could make test data.
        DataError: no rows, a modality that cannot hold the channels, or a folder that cannot be written.

    Example:
        sk.to_fhir(gen.sample(patients), "fhir")
    """
    require_synthetic(cohort, "to_fhir")
    place, series = destination(folder), series_of(cohort, modality)
    applies = {factor.name: cohort.schema.applies(factor, cohort.table) for factor in cohort.schema.factors}
    writing, written = _Writing(cohort, series, Codes(fhir_codes() if codes is None else codes), [*records(cohort)], applies), []
    for name, rows in cohort.table.groupby("patient_id", sort=False):
        entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in writing.patient(str(name), rows)]
        bundle = {"resourceType": "Bundle", "id": str(identity("Bundle", str(name))), "meta": META, "type": "collection", "entry": entries}
        written.append(place / f"{identity('Patient', str(name))}.json")
        try:
            write_atomically(written[-1], json.dumps(bundle, indent=1, ensure_ascii=False).encode())
        except OSError as error:
            raise unwritten(place, "to_fhir", error) from error
    return written


@dataclass(frozen=True, eq=False)
class _Writing:
    """A cohort on its way into bundles.

    Args:
        told: the record of every image.
        applies: {factor: (N,) bool}.
    """

    cohort: Cohort
    series: Sequence[Series]
    codes: Codes
    told: Sequence[bytes]
    applies: dict[str, np.ndarray]

    def patient(self, name: str, rows: pd.DataFrame) -> list[Resource]:
        """The patient, then image by image study, findings, report and provenance, and what made them."""
        patient, makers, made_by = _patient(name, rows.iloc[0]), dict[str, Resource](), self.made_by
        out = [patient]
        for number, row in rows.iterrows():
            record, key = read_record(self.told[number]), made_by[number]
            if key not in makers:
                makers[key] = device(key, record)
            out += self.image(number, row, record, patient, makers[key])
        return [*out, *makers.values()]

    @cached_property
    def made_by(self) -> list[str]:
        """The key of what made each image."""
        return self.cohort.made_by()

    def image(self, number: int, row: pd.Series, record: dict[str, Any], patient: Resource, maker: Resource) -> list[Resource]:
        """Study, findings, report and provenance of one image."""
        name, mark, subject, schema = str(row["image_id"]), record_digest(self.told[number]), reference(patient), self.cohort.schema
        study = imaging_study(name, mark, self.series, subject)
        found = [*findings(name, row, schema, self.codes, subject)]
        said = report(name, row, [one for one in schema.factors if self.applies[one.name][number]], record, study, found)
        return [study, *found, said, provenance(name, mark, record, (study, said), maker)]


def _patient(name: str, row: pd.Series) -> Resource:
    age = row.get("age")
    born = None if age is None or pd.isna(age) else f"{pd.Timestamp(DAY) - pd.Timedelta(days=np.ceil(365.2425 * float(age))):%Y-%m-%d}"
    return resource("Patient", name, gender=SEXES.get(row.get("sex")), birthDate=born)

"""What codes of a clinical record mean as factors: a table that users see, change and pass on."""
import pandas as pd

from synthkit.core.kinds import require_kind
from synthkit.errors import DataError

SYSTEMS = {
    "SNOMED CT": "http://snomed.info/sct", "ICD-10": "http://hl7.org/fhir/sid/icd-10", "ICD-10-CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "LOINC": "http://loinc.org",
}  # fmt: skip
COLUMNS = ("resource", "system", "code", "factor", "level", "unit", "low", "high")
RESOURCES = ("Condition", "Observation", "Value")
CONDITIONS = {
    "effusion": ("60046008", "J90"), "cardiomegaly": ("8186001", "I51.7"), "pneumonia": ("233604007", "J18*"), "pneumothorax": ("36118008", "J93*"),
    "atelectasis": ("46621007", "J98.1*"), "emphysema": ("87433001", "J43*"), "copd": ("13645005", "J44*"), "heart_failure": ("84114007", "I50*"),
    "hypertension": ("59621000", "I10"), "diabetes": ("44054006", "E11*"), "lung_cancer": ("363358000", "C34*"),
}  # fmt: skip
MEASURES = (
    ("bmi", "39156-5", "kg/m2", 8, 90), ("height", "8302-2", "cm", 30, 250), ("weight", "29463-7", "kg", 1, 350),
    ("systolic_pressure", "8480-6", "mm[Hg]", 40, 300), ("diastolic_pressure", "8462-4", "mm[Hg]", 20, 200),
    ("heart_rate", "8867-4", "/min", 20, 300), ("oxygen_saturation", "2708-6", "%", 30, 100), ("hba1c", "4548-4", "%", 2, 20),
)  # fmt: skip
SMOKING = {"266919005": "never", "8517006": "former", "449868002": "current", "77176002": "current"}


def fhir_codes() -> pd.DataFrame:
    """The codes that `sk.load_fhir` understands, a row each; change the table and give it as `codes=`.

    Columns: `resource` ("Condition"; "Observation", whose value is read; "Value", an answer to a coded observation), `system` (a name of
    SYSTEMS or an address), `code` (one that ends with * stands for all that begin so), `factor`, `level` (of a Value), `unit` (UCUM), `low` and
    `high` (of a number).

    Example:
        codes = sk.fhir_codes()
        codes.loc[len(codes)] = ["Condition", "ICD-10", "J84*", "fibrosis", "present", "", None, None]
    """
    rows: list[tuple[object, ...]] = []
    for factor, (concept, disease) in CONDITIONS.items():
        rows.append(("Condition", "SNOMED CT", concept, factor, "present", "", None, None))
        rows += [("Condition", system, disease, factor, "present", "", None, None) for system in ("ICD-10", "ICD-10-CM")]
    rows += [("Observation", "LOINC", code, factor, "", unit, low, high) for factor, code, unit, low, high in MEASURES]
    rows.append(("Observation", "LOINC", "72166-2", "smoking", "", "", None, None))
    rows += [("Value", "SNOMED CT", code, "smoking", level, "", None, None) for code, level in SMOKING.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class Codes:
    """A checked table of codes, asked code by code."""

    def __init__(self, table: pd.DataFrame):
        require_kind("codes", table, pd.DataFrame, "a table of codes, such as sk.fhir_codes() with your own rows")
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise DataError(f"codes: no column {missing[0]!r}; there are {', '.join(map(str, table.columns))}, wanted are {', '.join(COLUMNS)}")
        self.rows = table.reset_index(drop=True)
        for number, row in self.rows.iterrows():
            if row["resource"] not in RESOURCES or not row["factor"] or not str(row["code"]):
                raise DataError(f"codes, row {number}: resource {row['resource']!r}, code {row['code']!r}, factor {row['factor']!r}; "
                                f"a resource is one of {', '.join(RESOURCES)}, and code and factor must be named")  # fmt: skip
        self._exact, self._starts = dict[tuple[str, str, str], pd.Series](), list[tuple[str, str, str, pd.Series]]()
        self._first = dict[tuple[str, str, str | None], pd.Series]()
        for _, row in self.rows.iterrows():
            for level in (None, row["level"]):
                self._first.setdefault((row["resource"], row["factor"], level), row)
            system, code = SYSTEMS.get(row["system"], str(row["system"])), str(row["code"])
            if code.endswith("*"):
                self._starts.append((row["resource"], system, code[:-1], row))
            else:
                self._exact[row["resource"], system, code] = row

    def find(self, resource: str, concept: object) -> pd.Series | None:
        """The row for a CodeableConcept, by the first of its codings that is known."""
        for coding in codings(concept):
            key = (resource, coding.get("system", ""), str(coding.get("code", "")))
            if key in self._exact:
                return self._exact[key]
            for kind, system, start, row in self._starts:
                if (kind, system) == key[:2] and key[2].startswith(start):
                    return row
        return None

    def first(self, resource: str, factor: str, level: str | None = None) -> pd.Series | None:
        """The row that a factor, or one of its levels, is written by."""
        return self._first.get((resource, factor, level))

    def levels(self, factor: str) -> tuple[str, ...]:
        """The levels of a coded observation, in the order of the table."""
        answers = self.rows[(self.rows["resource"] == "Value") & (self.rows["factor"] == factor)]
        return tuple(dict.fromkeys(answers["level"].astype(str)))


def codings(concept: object) -> list[dict[str, object]]:
    """The codings of a CodeableConcept; none where it is text only."""
    found = concept.get("coding", []) if isinstance(concept, dict) else []
    return [coding for coding in found if isinstance(coding, dict)]

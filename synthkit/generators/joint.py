"""Record and image drawn together: a causal model draws the record, a generator the image that goes with it."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.schema import Schema
from synthkit.errors import SchemaError
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from synthkit.causal.scm import SCM


@dataclass(frozen=True, eq=False)
class Joint:
    """A generator of patients: p(record) by a causal model, p(image | record) by a generator.

    Args:
        scm: of the record, known or learnt (`sk.CausalGraph(...).fit(table)`); factors that only the generator knows are left open.
        generator: of the image.

    Example:
        patients = sk.Joint(brain.scm, gen).sample(100, seed=0, do={"dementia": "present"})
    """

    scm: "SCM"
    generator: Generator

    def __post_init__(self) -> None:
        from synthkit.causal.scm import SCM

        require_kind("scm", self.scm, SCM, "a causal model of the record, such as sk.CausalGraph(...).fit(table)")
        require_kind("generator", self.generator, Generator, "a fitted generator")
        ours, theirs = self.scm.graph.schema, self.generator.schema
        shared = [name for name in ours.names if name in theirs]
        if not shared:
            raise SchemaError(f"the record has {', '.join(ours.names)} and the generator knows {', '.join(theirs.names)}: no factor is in both")
        apart = [name for name in shared if repr(ours[name]) != repr(theirs[name])]
        if apart:
            raise SchemaError(f"{apart[0]} differs: {ours[apart[0]]!r} in the record, {theirs[apart[0]]!r} in the generator; load both with one schema")

    @property
    def schema(self) -> Schema:
        """All factors: those of the record, then those that the generator alone knows."""
        record, images = self.scm.graph.schema, self.generator.schema
        others = tuple(factor for factor in images.factors if factor.name not in record)
        return Schema((*record.factors, *others), sensitive=tuple(dict.fromkeys((*record.sensitive, *images.sensitive))))

    def sample(self, count: int, *, seed: int, do: Mapping[str, Any] | None = None) -> Cohort:
        """So many patients with record and image; a patient depends on `seed` and its own number alone.

        Args:
            do: factors to set in the record, whatever their causes; what they cause follows.
        Raises:
            SchemaError: unknown factor or value, a count that is no whole number above 0.
        """
        record = (self.scm.do(do) if do else self.scm).sample(count, seed=seed)
        drawn = self.generator.sample(record.assign(image_id=[f"patient-{number}" for number in range(count)]), seed=seed)
        only = {name: record[name].to_numpy() for name in record if name not in self.generator.schema}
        set_to = {name: str(value) for name, value in (do or {}).items()}
        origin = drawn.provenance.step(record=f"{self.scm!r}", count=count, do=set_to)
        return Cohort(drawn.images, drawn.table.assign(**only), self.schema, origin, drawn.notes)

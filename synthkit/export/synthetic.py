"""What may leave as synthetic."""
from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.errors import AbilityError, DataError


def require_synthetic(cohort: Cohort, verb: str) -> None:
    """Raise AbilityError for a cohort with real images, which no mark could make synthetic; DataError for an empty one."""
    require_kind("cohort", cohort, Cohort, "a synthetic cohort, as gen.sample(...) answers")
    kinds = {maker.kind for maker in cohort.makers().values()} if len(cohort) else {cohort.provenance.kind}
    if not kinds <= {"synthetic", "edited"}:
        raise AbilityError(f"{verb}: the cohort is {cohort.provenance.kind}; only synthetic and edited images are written as such")
    if not len(cohort):
        raise DataError(f"{verb}: the cohort is empty; give one image or more")

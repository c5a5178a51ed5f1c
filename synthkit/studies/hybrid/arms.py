"""The arms of an experiment: what each is trained on, and how."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synthkit.errors import DataError


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: in tables.
        added: "nothing", or what is added to the real images: "real" (the same ones again), "sampled", "filtered" or "edited" ones.
        augment: whether training images are shifted, zoomed, turned and re-exposed.
        balance: whether every level of the target is drawn equally often.
        pretrain: trained on the added images first, then on the real ones, instead of on both together.
    """

    name: str
    added: str = "nothing"
    augment: bool = True
    balance: bool = True
    pretrain: bool = False

    @property
    def synthetic(self) -> bool:
        """Whether generated or edited images are added."""
        return self.added in ("sampled", "filtered", "edited")


REAL_ONLY = Arm("real only", augment=False, balance=False)
AUGMENTED = Arm("standard augmentation", balance=False)
BALANCED = Arm("class-balanced augmentation")
DUPLICATED = Arm("duplicated real", added="real")
NAIVE = Arm("naive mix", added="sampled")
PRETRAINED = Arm("synthetic pretraining", added="sampled", pretrain=True)
COUNTERFACTUAL = Arm("counterfactual augmentation", added="edited")
FILTERED = Arm("filtered synthetic", added="filtered")
ARMS = (REAL_ONLY, AUGMENTED, BALANCED, DUPLICATED, NAIVE, PRETRAINED, COUNTERFACTUAL, FILTERED)
NEEDED = (REAL_ONLY, BALANCED, DUPLICATED)


@dataclass(frozen=True)
class Candidate:
    """An arm at a share: added images per real training image; 0 where nothing is added."""

    arm: Arm
    share: float = 0.0

    @property
    def name(self) -> str:
        """For tables and file names."""
        return f"{self.arm.name} x {self.share:g}" if self.share else self.arm.name


def candidates(arms: Sequence[Arm], shares: Iterable[float]) -> tuple[Candidate, ...]:
    """Every arm, at every share where it adds images.

    Raises:
        DataError: baselines missing, no arm with synthetic images, an arm or share given twice, a share that is not positive.
    """
    arms, shares = tuple(arms), tuple(float(share) for share in shares)
    wrong = [arm for arm in arms if not isinstance(arm, Arm)]
    if wrong:
        raise DataError(f"arms: {wrong[0]!r} is no arm; take them from synthkit.studies.hybrid.arms: {', '.join(arm.name for arm in ARMS)}")
    missing = [arm.name for arm in NEEDED if arm not in arms]
    if missing or not any(arm.synthetic for arm in arms):
        lack = f"{missing[0]!r} is missing" if missing else "no arm adds synthetic images"
        raise DataError(f"arms: {lack}; an effect is read against {', '.join(arm.name for arm in NEEDED)}, so these stay in")
    if len({arm.name for arm in arms}) < len(arms) or len(set(shares)) < len(shares) or not shares or min(shares) <= 0:
        raise DataError(f"shares={shares}, arms={[arm.name for arm in arms]}: give distinct shares above 0 and distinct arms")
    return tuple(Candidate(arm, share) for arm in arms for share in (shares if arm.added != "nothing" else (0.0,)))

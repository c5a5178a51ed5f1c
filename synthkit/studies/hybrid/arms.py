"""The arms of an experiment: what each is trained on, and how."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import DataError

NOTHING, SYNTHETIC = "nothing", ("sampled", "filtered", "edited")
ADDED = (NOTHING, "real", *SYNTHETIC)
UNIFORM, BY_CLASS, BY_ORIGIN = "none", "class", "class and origin"
BALANCES = (UNIFORM, BY_CLASS, BY_ORIGIN)


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: in tables.
        added: "nothing", or what is added to the real images: "real" (the same ones again), "sampled", "filtered" or "edited" ones.
        augment: whether training images are shifted, zoomed, turned and re-exposed.
        balance: "none" draws every image equally often; "class" every level of the target; "class and origin" every level, and
            within it the real and the added images.
        pretrain: trained on the added images first, then on the real ones, instead of on both together.
        labels: whether pretraining is told the labels; without them it learns from all images, added and real ones, which changed copies belong together.
    Raises:
        DataError: no such `added` or `balance`, or a balance or pretraining that needs added images where none are added.
    """

    name: str
    added: str = NOTHING
    augment: bool = True
    balance: str = UNIFORM
    pretrain: bool = False
    labels: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise DataError(f"name={self.name!r}: give the arm a name for the tables")
        for what, given, allowed in (("added", self.added, ADDED), ("balance", self.balance, BALANCES)):
            if given not in allowed:
                raise DataError(f"arm {self.name!r}: {what}={given!r} must be one of {', '.join(map(repr, allowed))}")
        if self.added == NOTHING and (self.pretrain or self.balance == BY_ORIGIN):
            asked = "pretrain=True" if self.pretrain else f"balance={self.balance!r}"
            raise DataError(f"arm {self.name!r}: {asked} needs added images; give added={', '.join(map(repr, ADDED[1:]))}")
        if not self.labels and not self.pretrain:
            raise DataError(f"arm {self.name!r}: labels=False is a way to pretrain; give pretrain=True")
        if self.pretrain and self.balance == BY_ORIGIN:
            raise DataError(f"arm {self.name!r}: pretraining keeps real and added images apart already; give balance={UNIFORM!r} or {BY_CLASS!r}")

    @property
    def synthetic(self) -> bool:
        """Whether generated or edited images are added."""
        return self.added in SYNTHETIC


REAL_ONLY = Arm("real only", augment=False)
AUGMENTED = Arm("standard augmentation")
BALANCED = Arm("class-balanced augmentation", balance=BY_CLASS)
DUPLICATED = Arm("duplicated real", added="real")
NAIVE = Arm("naive mix", added="sampled")
BALANCED_MIX = Arm("balanced mix", added="sampled", balance=BY_ORIGIN)
PRETRAINED = Arm("synthetic pretraining", added="sampled", balance=BY_CLASS, pretrain=True)
SELF_SUPERVISED = Arm("self-supervised pretraining", added="sampled", balance=BY_CLASS, pretrain=True, labels=False)
COUNTERFACTUAL = Arm("counterfactual augmentation", added="edited", balance=BY_ORIGIN)
FILTERED = Arm("filtered synthetic", added="filtered", balance=BY_ORIGIN)
ARMS = (REAL_ONLY, AUGMENTED, BALANCED, DUPLICATED, NAIVE, BALANCED_MIX, PRETRAINED, COUNTERFACTUAL, FILTERED)
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
    arms = (arms,) if isinstance(arms, (str, Arm)) else tuple(arms)
    wrong = [arm for arm in arms if not isinstance(arm, Arm)]
    if wrong:
        raise DataError(f"arms: {wrong[0]!r} is no arm; take them from synthkit.studies.hybrid.arms: {', '.join(arm.name for arm in ARMS)}")
    require_kind("shares", shares, Iterable, "a list of numbers above 0, such as (0.5, 1, 2)")
    for share in (shares := tuple(shares)):
        require_number("shares", share, "numbers above 0, such as (0.5, 1, 2)")
    missing = [arm.name for arm in NEEDED if arm not in arms]
    if missing or not any(arm.synthetic for arm in arms):
        lack = f"{missing[0]!r} is missing" if missing else "no arm adds synthetic images"
        raise DataError(f"arms: {lack}; an effect is read against {', '.join(arm.name for arm in NEEDED)}, so these stay in")
    if len({arm.name for arm in arms}) < len(arms) or len(set(shares)) < len(shares) or not shares or min(shares) <= 0:
        raise DataError(f"shares={shares}, arms={[arm.name for arm in arms]}: give distinct shares above 0 and distinct arms")
    return tuple(Candidate(arm, share) for arm in arms for share in (shares if arm.added != NOTHING else (0.0,)))

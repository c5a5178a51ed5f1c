"""Training with differential privacy: what is promised, the noise that it takes, and which patients stand in which step."""
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthkit.core.budget import Minutes, Steps
from synthkit.core.kinds import require_number
from synthkit.errors import FitError, MissingExtraError
from synthkit.nets.network import Trainable

if TYPE_CHECKING:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer


@dataclass(frozen=True)
class DP:
    """A bound on what a trained generator can give away of any one patient: (epsilon, delta)-differential privacy (Abadi et al. 2016).

    With or without one patient, nothing that is made of the weights becomes more than e^epsilon times as likely, but for a chance of delta. The price
    is noise: it takes thousands of patients to learn much under a small epsilon.

    Args:
        epsilon: the bound; 1 is strong, 8 is common, beyond 10 it says little.
        delta: chance that the bound does not hold; below 1 / patients.
        clip: longest gradient of one patient.

    Example:
        gen = sk.Diffusion(privacy=sk.DP(epsilon=8), batch_size=128).fit(train, budget="2000 steps")
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "clip"):
            require_number(name, getattr(self, name), "a number above 0")
        if self.epsilon <= 0 or not 0 < self.delta < 1 or self.clip <= 0:
            raise FitError(f"DP(epsilon={self.epsilon}, delta={self.delta}, clip={self.clip}): all lie above 0, and delta under 1")

    def __repr__(self) -> str:
        return f"sk.DP(epsilon={self.epsilon:g}, delta={self.delta:g}, clip={self.clip:g})"


@dataclass(frozen=True)
class Private:
    """A training under a bound, counted by patients.

    Args:
        bound: what was promised.
        noise: standard deviation of the noise on the sum of clipped gradients, in clips.
        rate: chance of a patient to stand in a step.
        expected: patients per step on average.
        steps: of the whole training.
    """

    bound: DP
    noise: float
    rate: float
    expected: int
    steps: int

    @staticmethod
    def of(bound: DP, *, patients: int, batch_size: int, budget: Steps | Minutes) -> "Private":
        """The noise that a budget takes, by the Rényi accountant of Opacus.

        Raises:
            FitError: a budget in minutes, a delta that one of so many patients could be, or more patients per step than there are.
            MissingExtraError: Opacus is not installed.
        """
        if isinstance(budget, Minutes):
            raise FitError("privacy is counted in steps; give the budget in steps, for instance '2000 steps'")
        if bound.delta >= 1 / patients:
            raise FitError(f"delta={bound.delta:g} promises nothing to one of {patients} patients; give less than {1 / patients:.2g}")
        if batch_size > patients:
            raise FitError(f"batch_size={batch_size}, but there are {patients} patients and each stands in a step at most once; give {patients} or less")
        # A step without anybody is drawn again, which the accountant does not know: it must be rarer than the chance that is promised anyhow.
        if budget.count * (1 - batch_size / patients) ** patients > bound.delta / 10:
            raise FitError(f"batch_size={batch_size} leaves some steps without any patient, which privacy cannot be counted for; give 20 or more")
        accountant = _opacus().accountants.utils.get_noise_multiplier
        rate = batch_size / patients
        noise = accountant(target_epsilon=bound.epsilon, target_delta=bound.delta, sample_rate=rate, steps=budget.count, accountant="rdp")
        return Private(bound, float(noise), rate, batch_size, budget.count)

    def epsilon(self, steps: int) -> float:
        """What has been spent after some steps."""
        accountant = _opacus().accountants.RDPAccountant()
        accountant.history = [(self.noise, self.rate, steps)]
        return float(accountant.get_epsilon(self.bound.delta))

    def to_json(self, steps: int) -> dict[str, object]:
        """For the card: the bound, what was spent, and how it was counted."""
        return {"epsilon": round(self.epsilon(steps), 4), "delta": self.bound.delta, "unit": "patient", "noise multiplier": round(self.noise, 4),
                "clip": self.bound.clip, "chance of a patient per step": self.rate, "steps": steps,
                "accountant": f"Rényi, Opacus {_opacus().__version__}", "random numbers": "of the operating system's choice, not of the seed"}  # fmt: skip

    def optimizer(self, inner: torch.optim.Optimizer, device: torch.device) -> "DPOptimizer":
        """An optimiser that clips every patient's gradient and adds the noise; the noise is nobody's to draw again."""
        from opacus.optimizers import DPOptimizer

        draws = torch.Generator(device).manual_seed(secrets.randbits(63))
        return DPOptimizer(inner, noise_multiplier=self.noise, max_grad_norm=self.bound.clip, expected_batch_size=self.expected, generator=draws)


class PoissonPatients:
    """Rows of a step: every patient by chance and on its own, with one of its images (Poisson sampling); never the same twice, whatever the seed.

    Args:
        units: (N,) the patient of each image.
        rate: chance of a patient.
    """

    def __init__(self, units: np.ndarray, rate: float):
        codes = np.unique(units, return_inverse=True)[1]
        self.images, self.rate = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)], rate
        self.rng = np.random.Generator(np.random.PCG64(secrets.randbits(128)))

    def __call__(self) -> np.ndarray:
        """Shuffled rows; a step without anybody, rarer than delta (`Private.of`), is drawn again."""
        while True:
            chosen = np.flatnonzero(self.rng.random(len(self.images)) < self.rate)
            if len(chosen):
                return self.rng.permutation([int(self.rng.choice(self.images[patient])) for patient in chosen])


def each_gradient(network: Trainable) -> "GradSampleModule":
    """Lets a network keep the gradient of every image by itself, until `.cleanup()`."""
    return _opacus().GradSampleModule(network, loss_reduction="mean")


def _opacus():
    try:
        import opacus
        import opacus.accountants.utils
    except ImportError as error:
        raise MissingExtraError('training with differential privacy needs Opacus: pip install "synthkit[privacy]"') from error
    return opacus

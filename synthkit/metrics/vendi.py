"""Vendi score: how many different images a set is worth."""
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import FeatureMetric, two_sets


def vendi(kernel: torch.Tensor, *, q: float = 1) -> float:
    """Effective number of different items (Friedman & Dieng 2023; orders other than 1: Pasarkar & Dieng 2024).

    Args:
        kernel: (n, n) similarities, symmetric positive semidefinite with ones on the diagonal.
        q: order of the entropy, above 0 up to infinity; small orders count rare items more.
    Returns:
        1 (all alike) .. n (all different), in items.
    Raises:
        DataError: a kernel or an order of another kind.
    """
    _require_order(q)
    kernel = torch.as_tensor(kernel).double()
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not torch.allclose(kernel, kernel.T) or (kernel.diagonal() - 1).abs().max() > 1e-6:
        raise DataError(f"a symmetric (n, n) kernel with ones on its diagonal is needed, got {tuple(kernel.shape)}; divide by the self-similarities")
    return _effective(torch.linalg.eigvalsh(kernel / len(kernel)), q)


def _require_order(q: float) -> None:
    if not q > 0:
        raise DataError(f"order q = {q} is not above 0; 1 is the usual one")


def _effective(shares: torch.Tensor, q: float) -> float:
    """Exponential of the Rényi entropy of order q of shares that sum to 1."""
    shares = shares[shares > 1e-14]  # below is rounding, which an order near 0 would count as items
    if q == 1:
        return float((-shares * shares.log()).sum().exp())
    if q == float("inf"):
        return float(1 / shares.max())
    return float(shares.pow(q).sum().pow(1 / (1 - q)))


@dataclass(frozen=True)
class Vendi(FeatureMetric):
    """Vendi score of the fake images, with the cosine of their features as similarity (Friedman & Dieng 2023).

    It counts how many different images the set is worth and grows with its size: read it beside the real images' own at the
    same n. Cosines depend on where zero lies: features with a large common mean all look alike.

    Args:
        q: order of the entropy, above 0 up to infinity; small orders count rare images more.
    """

    q: float = 1
    better = "higher"
    alone = True
    limits = (1.0, float("inf"))

    def __post_init__(self) -> None:
        _require_order(self.q)

    def least(self, width: int) -> int:
        return 1

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        rows = two_sets(real, fake, least=1, single=True)[1].numpy().astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        rows /= np.where(lengths > 0, lengths, 1)[:, None]
        # K / n and the smaller of XᵀX / n and X Xᵀ / n have the same eigenvalues but for zeros.
        gram = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
        shares = torch.linalg.eigvalsh(torch.from_numpy(gram / len(lengths)))
        # Rows of zeros have no direction: they are like each other and like nothing else.
        blank = torch.tensor([(lengths == 0).mean()], dtype=torch.float64)
        return _effective(torch.cat([shares, blank]), self.q)

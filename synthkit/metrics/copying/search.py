"""The nearest patients of every image, exactly, in memory that does not grow with the cohorts.

Rows are cut into a few coordinates that hold most of every row and the length of the rest. For rows of length 1 the product of the cut rows is off by
at most the product of the two rests (Cauchy & Schwarz), so that most pairs are never looked at whole.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.metrics.copying.eye import Eye

REFERENCES, QUERIES = 8192, 64  # rows at once
COORDINATES, LEARNT_FROM = 96, 2048
HELD = 2**28  # bytes of rows that are held rather than made again
ROUNDING = 1e-4  # of a product of float32 rows of length 1


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each query its nearest reference patients, nearest first.

    Args:
        similarity: (N, k) float64, of the nearest image of each of these patients over all views; -1 where there are fewer patients.
        row: (N, k) row of that image in the reference cohort, -1 where there is none.
        view: (N, k) view of the query that is nearest to it.
        patient: (N, k) number of the patient among the sorted ids of the reference cohort, -1 where there is none.
    """

    similarity: np.ndarray
    row: np.ndarray
    view: np.ndarray
    patient: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """(N, k) Euclidean distance of the rows of length 1, 0 (the same) to 2; infinite where there is no patient."""
        far = np.sqrt(np.maximum(2 - 2 * self.similarity, 0))
        return np.where(self.row < 0, np.inf, far)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Reference images as an eye sees them, ready to be searched.

    Args:
        rows: (N, d) of all of them, or None where they are too many to be held.
        basis: (d, q) directions that hold most of them, orthonormal.
        patients: (N,) number of each image's patient among the sorted ids.
    """

    eye: Eye
    cohort: Cohort
    rows: torch.Tensor | None
    basis: torch.Tensor
    patients: np.ndarray

    @staticmethod
    def of(eye: Eye, cohort: Cohort) -> "Gallery":
        basis = _basis(eye, cohort)
        held = 4 * len(basis) * len(cohort) < HELD
        rows = _rows(eye, cohort, range(len(cohort))) if held else None
        return Gallery(eye, cohort, rows, basis, np.unique(cohort.table["patient_id"].to_numpy(str), return_inverse=True)[1])

    def blocks(self) -> Iterator[tuple[int, "_Cut"]]:
        """The first row of each block, and its rows."""
        for start in range(0, len(self.cohort), REFERENCES):
            rows = range(start, min(start + REFERENCES, len(self.cohort)))
            yield start, _Cut.of(_rows(self.eye, self.cohort, rows) if self.rows is None else self.rows[rows.start : rows.stop], self.basis)

    def nearest(self, queries: Cohort, *, count: int, others_only: bool = False) -> Nearest:
        """The `count` nearest patients of each query.

        Args:
            others_only: a query's own patient does not count, for cohorts held against themselves.
        """
        place = {name: number for name, number in zip(self.cohort.table["patient_id"].to_numpy(str), self.patients)}
        own = np.array([place.get(name, -1) if others_only else -1 for name in queries.table["patient_id"]])
        board, seen = _Board(len(queries), count, own), {}
        held = 4 * self.eye.views * len(self.basis) * len(queries) < HELD
        for start, block in self.blocks():
            for first in range(0, len(queries), QUERIES):
                chosen = np.arange(first, min(first + QUERIES, len(queries)))
                views = seen[first] if first in seen else self.eye.seen(queries.images.tensor(chosen))
                if held:
                    seen[first] = views
                _search(board, chosen, views, block, start, self.patients[start : start + REFERENCES], self.basis)
        return Nearest(board.similarity, board.row, board.view, board.patient)


@dataclass(frozen=True, eq=False)
class _Cut:
    """Rows (n, d), their coordinates in a basis (n, q), and the length of the rest (n,)."""

    whole: torch.Tensor
    short: torch.Tensor
    rest: torch.Tensor

    @staticmethod
    def of(whole: torch.Tensor, basis: torch.Tensor) -> "_Cut":
        short = whole @ basis
        rest = (whole.square().sum(-1) - short.square().sum(-1)).clamp(min=0).sqrt()
        return _Cut(whole, short, rest)


class _Board:
    """The nearest patients found so far."""

    def __init__(self, queries: int, count: int, own: np.ndarray):
        self.similarity = np.full((queries, count), -1.0)
        self.row, self.view, self.patient = (np.full((queries, count), -1) for _ in range(3))
        self.own = own

    def enter(self, query: int, similarity: np.ndarray, row: np.ndarray, view: np.ndarray, patient: np.ndarray) -> None:
        """Put some images among the nearest; of a patient the nearest image counts, of equals the first row."""
        similarity, row = np.concatenate([self.similarity[query], similarity]), np.concatenate([self.row[query], row])
        view, patient = np.concatenate([self.view[query], view]), np.concatenate([self.patient[query], patient])
        order = np.lexsort((row, -similarity))
        order = order[(patient[order] != self.own[query]) & (row[order] >= 0)]
        order = order[np.sort(np.unique(patient[order], return_index=True)[1])][: self.similarity.shape[1]]
        kept = len(order)
        for table, values in ((self.similarity, similarity), (self.row, row), (self.view, view), (self.patient, patient)):
            table[query, :kept] = values[order]


def _search(board: _Board, chosen: np.ndarray, seen: torch.Tensor, block: _Cut, start: int, codes: np.ndarray, basis: torch.Tensor) -> None:
    """Hold some queries (n, views, d) against one block of references."""
    cut = _Cut.of(seen, basis)
    most = _most(cut, block)
    leaders = most.topk(min(2 * board.similarity.shape[1], most.shape[1]), dim=1).indices.numpy()
    for number, query in enumerate(chosen):
        _enter(board, query, seen[number], block, leaders[number], start, codes)
    floor = torch.from_numpy(board.similarity[chosen, -1] - ROUNDING).float()
    hopeful = (most > floor[:, None]).numpy()
    np.put_along_axis(hopeful, leaders, False, axis=1)
    for number in np.flatnonzero(hopeful.any(1)):
        _enter(board, chosen[number], seen[number], block, np.flatnonzero(hopeful[number]), start, codes)


def _most(cut: _Cut, block: _Cut) -> torch.Tensor:
    """(n, references) what the similarity can be at most, in any view."""
    best = None
    for view in range(cut.short.shape[1]):
        bound = torch.addmm(cut.rest[:, view, None] * block.rest[None], cut.short[:, view], block.short.T)
        best = bound if best is None else torch.maximum(best, bound, out=best)
    return best


def _enter(board: _Board, query: int, seen: torch.Tensor, block: _Cut, rows: np.ndarray, start: int, codes: np.ndarray) -> None:
    best, view = (block.whole[torch.from_numpy(rows)] @ seen.T).double().max(1)
    board.enter(query, best.clamp(-1, 1).numpy(), start + rows, view.numpy(), codes[rows])


def _rows(eye: Eye, cohort: Cohort, rows: Sequence[int]) -> torch.Tensor:
    return torch.cat([eye.rows(cohort.images.tensor(rows[i : i + 512])) for i in range(0, len(rows), 512)])


def _basis(eye: Eye, cohort: Cohort) -> torch.Tensor:
    some = _rows(eye, cohort, np.sort(permutation(len(cohort), seed=0, identity="rows", stream="directions")[:LEARNT_FROM]))
    # The smaller of both products: of volumes a row is longer than there are rows to learn from.
    if len(some) < some.shape[1]:
        outer = torch.linalg.eigh((some @ some.T).double())[1][:, -COORDINATES:].flip(1)
        return torch.linalg.qr(some.T.double() @ outer)[0].float()
    return torch.linalg.eigh((some.T @ some).double())[1][:, -COORDINATES:].flip(1).float()

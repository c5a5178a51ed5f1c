"""What a training set is to be brought to: as many images in each cell, a number, or a share."""
from collections.abc import Mapping

import numpy as np

from synthkit.errors import DataError, SchemaError
from synthkit.studies.rebalancing.cells import Cell, Cells

Target = str | Mapping[str | Cell, int | float]


def asked_of(target: Target, cells: Cells) -> dict[Cell, int | float]:
    """The target as {cell: number}; empty for "balanced".

    Raises:
        SchemaError: a key that is no cell, or two keys of one cell.
        DataError: numbers that are neither images nor shares that add up to 1.
    """
    if isinstance(target, str) or not isinstance(target, Mapping) or not target:
        if isinstance(target, str) and target == "balanced":
            return {}
        raise DataError(f'target={target!r} is neither "balanced" nor {{cell: images}} nor {{cell: share}}')
    asked = {_cell(key, cells): value for key, value in target.items()}
    if len(asked) < len(target):
        raise SchemaError(f"target: {list(target)} name a cell twice; give each once")
    for cell, value in asked.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not value >= 0:
            raise DataError(f"target: {cell} = {value!r}; give a number of images, or a share in 0..1")
    shares = [isinstance(value, (float, np.floating)) for value in asked.values()]
    if any(shares) and (not all(shares) or abs(sum(asked.values()) - 1) > 1e-6):
        raise DataError(f"target: {list(asked.values())} are neither all whole numbers of images nor shares that add up to 1")
    return asked


def _cell(key: object, cells: Cells) -> Cell:
    """A key of the target as the groups it names; SchemaError where it names none."""
    cell = key if isinstance(key, tuple) else (key,)
    if len(cell) != len(cells.by) or any(not isinstance(group, str) or group not in cells.groups(name) for name, group in zip(cells.by, cell)):
        allowed = "; ".join(f"{name}: {', '.join(cells.groups(name))}" for name in cells.by)
        raise SchemaError(f"target: {cell} is no cell of {', '.join(cells.by)}; each takes one of {allowed}, as text")
    return cell


def wanted_of(real: Mapping[Cell, int], asked: Mapping[Cell, int | float]) -> dict[Cell, int]:
    """Images per cell; DataError where fewer are asked for than there are."""
    if not asked:
        return dict.fromkeys(real, max(real.values()))
    if any(isinstance(value, (float, np.floating)) for value in asked.values()):
        none = [cell for cell, count in real.items() if count and not asked.get(cell)]
        if none:
            raise DataError(f"target: no share is given to {none[0]}, of which there are {real[none[0]]} images; nothing real is taken away")
        # The smallest total in which no cell has too many.
        total = max((real[cell] / share for cell, share in asked.items() if share), default=0)
        return {cell: max(count, round(total * asked.get(cell, 0))) for cell, count in real.items()}
    for cell, count in asked.items():
        if count < real.get(cell, 0):
            raise DataError(f"target: {cell} = {count}, but there are {real[cell]} real images and none is taken away; ask for as many or more")
    return {cell: int(asked.get(cell, count)) for cell, count in real.items()}

"""How many images each cell has, is to have, and so needs."""
from itertools import product

import pandas as pd

from synthkit.errors import DataError
from synthkit.studies.rebalancing.cells import Cells
from synthkit.studies.rebalancing.target import Target, asked_of, wanted_of

FEW = 10  # patients: under them a cell's own people are too few to draw requests from
OWN, NEAREST, NEAREST_ALONE = "its own", "its own and the nearest cells'", "the nearest cells'"


def planned(cells: Cells, target: Target, *, limit: int) -> pd.DataFrame:
    """One row per cell: levels, real, patients, wanted, synthetic, whose factors are asked for.

    Raises:
        SchemaError: a target that names an unknown cell.
        DataError: fewer images asked for than there are, nothing to add, or more than `limit`.
    """
    asked = asked_of(target, cells)
    there = [[group for group in cells.groups(name) if (cells.labels[name] == group).any() or any(key[place] == group for key in asked)]
             for place, name in enumerate(cells.by)]  # fmt: skip
    rows = []
    for level in cells.levels():
        here = {cell: cells.rows(cell, level) for cell in product(*there)}
        wanted = wanted_of({cell: len(own) for cell, own in here.items()}, asked)
        for cell, own in here.items():
            patients = cells.train.table["patient_id"].iloc[own].nunique()
            row = dict(zip(cells.by, cell)) | ({cells.within: level} if cells.within is not None else {})
            rows.append({**row, "real": len(own), "patients": patients, "wanted": wanted[cell], "synthetic": wanted[cell] - len(own),
                         "asked like": OWN if patients >= FEW else NEAREST if patients else NEAREST_ALONE})  # fmt: skip
    plan = pd.DataFrame(rows)
    total = int(plan["synthetic"].sum())
    if total == 0:
        raise DataError("every cell already holds what is asked for; train on the cohort as it is, or ask for more")
    if total > limit:
        raise DataError(f"the plan needs {total} synthetic images, more than limit={limit}; ask for less, or raise limit=\n{plan.to_string(index=False)}")
    return plan

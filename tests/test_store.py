"""Saved cohorts: exact, checked on reading, and whole whatever happens while they are written."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core import store
from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest, write_atomically, write_manifest
from synthkit.core.provenance import Provenance
from synthkit.core.store import MANIFEST, load
from synthkit.errors import StoreError

ROOT = Path(__file__).parents[1]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(a: Cohort, b: Cohort) -> bool:
    pixels = np.array_equal(a.images.raw(), b.images.raw()) and a.images.raw().dtype == b.images.raw().dtype
    tables = a.table.equals(b.table) and a.skipped.astype(str).equals(b.skipped.astype(str))
    return pixels and tables and (a.schema, a.space, a.provenance, a.notes) == (b.schema, b.space, b.provenance, b.notes)


@pytest.mark.parametrize("size", [(16, 16), (4, 6, 8)])
@pytest.mark.parametrize("high", [255, 65535])
def test_what_is_saved_is_read_back(tmp_path, size, high):
    cohort = toy_cohort(7, size=size, high=high)
    cohort = Cohort(cohort.images, cohort.table.assign(sex=["F", None] + ["M"] * 5, remark="ä"), SCHEMA, cohort.provenance.step(seed=3), ("A note.",),
                    pd.DataFrame({"file": ["x.dcm"], "reason": ["no pixels"]}))  # fmt: skip
    back = load(cohort.save(tmp_path / "a"))
    assert same(back, cohort)
    assert same(load(back.save(tmp_path / "b")), cohort) and files(tmp_path / "a") == files(tmp_path / "b")


def test_many_shards_and_no_image_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 3 * 2 * 256)
    cohort = toy_cohort(10)
    assert same(load(cohort.save(tmp_path)), cohort) and len(list(tmp_path.glob("pixels-*.npy"))) == 4
    assert len(load(cohort[:0].save(tmp_path / "none"))) == 0


def test_saving_over_a_cohort_leaves_only_the_new_one(tmp_path):
    old, new = toy_cohort(5), toy_cohort(6, seed=9)
    old.save(tmp_path)
    (tmp_path / ".cohort.json.77.part").write_text("left by a killed save")
    assert same(load(new.save(tmp_path)), new) and len(files(tmp_path)) == 6
    part = load(tmp_path)[2:4]
    assert same(load(part.save(tmp_path)), part), "a part of the cohort may replace the cohort it was read from"


def saved(folder: Path) -> list[Path]:
    toy_cohort(5).save(folder)
    return [folder / name for name in files(folder)]


@pytest.mark.parametrize("kind", ["pixels", "table", "skipped"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_flipped_bit_in_any_file_is_seen(tmp_path, kind, where):
    (path,) = [p for p in saved(tmp_path) if p.name.startswith(kind)]
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{kind}-.*changed or damaged"):
        load(tmp_path)


def test_every_single_byte_of_the_manifest_counts(tmp_path):
    cohort = toy_cohort(3)
    path = cohort.save(tmp_path) / MANIFEST
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(StoreError):
            load(tmp_path)


@pytest.mark.parametrize("kind", ["pixels", "table", "skipped"])
def test_a_missing_or_cut_file_is_named(tmp_path, kind):
    (path,) = [p for p in saved(tmp_path) if p.name.startswith(kind)]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(StoreError, match=f"{kind}-.* is missing"):
        load(tmp_path)


def test_folders_that_hold_something_else_are_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no saved cohort"):
        load(tmp_path)
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(StoreError, match="holds other files"):
        toy_cohort(3).save(tmp_path)
    with pytest.raises(StoreError, match="is a file"):
        toy_cohort(3).save(tmp_path / "thesis.docx")
    assert files(tmp_path) == ["thesis.docx"]
    folder = toy_cohort(3).save(tmp_path / "new")
    write_manifest(folder / MANIFEST, {**read_manifest(folder / MANIFEST), "format": 99})
    with pytest.raises(StoreError, match="format 99; this synthkit reads format 2"):
        load(folder)


def test_a_column_of_mixed_types_is_named_and_the_old_cohort_stays(tmp_path):
    good = toy_cohort(3)
    good.save(tmp_path)
    mixed = Cohort(good.images, toy_table(3).assign(ward=["A", 2, None]), SCHEMA, Provenance("real", "x"))
    with pytest.raises(StoreError, match="ward"):
        mixed.save(tmp_path)
    assert same(load(tmp_path), good)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and files(tmp_path) == ["a.json"]


ALTERNATE = """
import sys
from pathlib import Path
from toys import toy_cohort
cohorts = [toy_cohort(40, size=(32, 32)), toy_cohort(30, size=(32, 32), seed=5)]
print("ready", flush=True)
while True:
    for cohort in cohorts:
        cohort.save(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_save_killed_at_any_moment_leaves_one_whole_cohort(tmp_path):
    first, second = toy_cohort(40, size=(32, 32)), toy_cohort(30, size=(32, 32), seed=5)
    chance, folder, found = random.Random(0), tmp_path / "cohort", []
    for _ in range(50):
        program = subprocess.Popen(
            [sys.executable, "-c", ALTERNATE, str(folder)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        )
        program.stdout.readline()
        time.sleep(chance.uniform(0, 0.25))
        program.send_signal(signal.SIGKILL)
        program.wait()
        program.stdout.close()
        try:
            got = load(folder)
        except StoreError as error:
            assert not found and "holds no saved cohort" in str(error)
            continue
        found.append(0 if same(got, first) else 1)
        assert found[-1] == 0 or same(got, second)
    assert set(found) == {0, 1}, "both cohorts must have been caught, else this tested nothing"
    assert same(load(second.save(folder)), second) and len(files(folder)) == 6

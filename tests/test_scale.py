"""Many images: the same ones however they are cut and whoever draws them, once each, whatever stops the work on its way."""
import errno
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_copying import parrot, people
from test_store import files
from toys import SCHEMA, SMALL_NET, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.environment import environment
from synthkit.core.merkle import Tree, leaf, root
from synthkit.core.store import manifest_of
from synthkit.report.dossier.from_cohorts import rejected
from synthkit.scale.generation import crew, lease, processes, tables
from synthkit.scale.generation import generate as generation
from synthkit.scale.generation.here import Here
from synthkit.scale.generation.requests import Requests

ROOT = Path(__file__).parents[1]
SEED = 4


@pytest.fixture(scope="module")
def gen() -> sk.Generator:
    return sk.Diffusion(options=SMALL_NET, batch_size=16, steps=1).fit(toy_cohort(24), budget="2 steps", seed=0)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SYNTHKIT_CACHE", str(folder))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files of a cohort, hidden ones included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stopping(monkeypatch, after: int) -> None:
    """Let the worker of this process break off after so many shards."""
    draw = Here.draw

    def some(self, work, stage, numbers):
        for count, one in enumerate(draw(self, work, stage, numbers)):
            if count == after:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Here, "draw", some)


def test_the_same_images_however_they_are_cut_and_as_one_sample_gives_them(gen, tmp_path):
    table = toy_table(30)
    plain = gen.sample(table, seed=SEED)
    expected = manifest_of(plain.save(tmp_path / "plain"))["root"]
    for number, size in enumerate((None, 7, 30, 1)):
        made = sk.generate(gen, table, out=tmp_path / f"cut{number}", seed=SEED, shard_size=size)
        assert made.root == expected and made.images == 30 and (made.cohort.images.raw() == plain.images.raw()).all()
        assert made.cohort.table.equals(plain.table)
    assert sk.verify(tmp_path / "cut1").passed and sk.replay(tmp_path / "cut1", n=9, generators=[gen]).verdict == "EXACT"
    assert not [name for name in files(tmp_path / "cut1") if name.startswith(".") and name != ".lock"]
    assert "30 images" in made.title and made.figure() and "Synthetic" in made.caveats()[0] and not made.frame().empty


def test_pieces_of_a_shard_leave_no_trace(gen, tmp_path, monkeypatch):
    whole = sk.generate(gen, toy_table(30), out=tmp_path / "whole", seed=SEED)
    monkeypatch.setattr("synthkit.scale.generation.worker.PIECE", 11)
    pieces = sk.generate(gen, toy_table(30), out=tmp_path / "pieces", seed=SEED)
    assert content(Path(pieces.folder)) == content(Path(whole.folder))


def test_a_cohort_of_more_shards_than_are_held_open_reads_as_any(gen, tmp_path, monkeypatch):
    few = sk.generate(gen, toy_table(5), out=tmp_path / "few", seed=SEED, n=12).cohort
    monkeypatch.setattr("synthkit.core.store.OPEN", 3)
    many = sk.generate(gen, toy_table(5), out=tmp_path / "many", seed=SEED, n=12, shard_size=2).cohort
    assert len(many.images.parts) == 6 and not any(isinstance(part, np.ndarray) for part in many.images.parts)
    assert (many.images.raw() == few.images.raw()).all() and many.table.equals(few.table) and many.version == few.version
    assert (many.images[7] == few.images[7]).all() and (many[[3, 11, 0]].images.tensor() == few[[3, 11, 0]].images.tensor()).all()


def test_requests_are_asked_again_each_time_for_another_image(gen, tmp_path):
    named = toy_table(4)
    made = sk.generate(gen, named, out=tmp_path / "named", seed=SEED, n=10, shard_size=3).cohort
    first = [f"p-image-{i}" for i in range(4)]
    assert made.table["request_id"].tolist() == [*first, *(f"{name}#2" for name in first), "p-image-0#3", "p-image-1#3"]
    assert (made.images.raw(range(4)) == gen.sample(named, seed=SEED).images.raw()).all()
    assert len({made.images.raw([i]).tobytes() for i in range(10)}) == 10 and made.table["image_id"].is_unique
    assert made.table["sex"].tolist() == [*named["sex"], *named["sex"], *named["sex"][:2]]
    numbered = named.drop(columns="image_id")
    again = sk.generate(gen, numbered, out=tmp_path / "numbered", seed=SEED, n=9).cohort
    by_hand = gen.sample(pd.concat([numbered] * 3, ignore_index=True)[:9], seed=SEED)
    assert again.table["request_id"].tolist() == [*map(str, range(9))] and (again.images.raw() == by_hand.images.raw()).all()
    fewer = sk.generate(gen, named, out=tmp_path / "fewer", seed=SEED, n=2).cohort
    assert fewer.table["request_id"].tolist() == first[:2]


@settings(max_examples=25)
@given(count=st.integers(1, 30), start=st.integers(0, 90), length=st.integers(1, 40), block=st.integers(1, 7))
def test_requests_are_found_wherever_they_lie(tmp_path_factory, gen, count, start, length, block):
    table = toy_table(count).drop(columns="image_id")
    folder = tmp_path_factory.mktemp("requests")
    before, tables.BLOCK = tables.BLOCK, block
    try:
        found, told = Requests.read(table, gen, seed=0, n=None, folder=folder)
    finally:
        tables.BLOCK = before
    keys, rows = found.take(start, start + length)
    number = np.arange(start, start + length)
    assert keys == [*map(str, number)]
    pd.testing.assert_frame_equal(rows, SCHEMA.check(table)[list(SCHEMA.names)].iloc[number % count].reset_index(drop=True))
    assert told == Requests.read(table, gen, seed=0, n=None, folder=folder)[1], "how the file is cut does not count"


def test_a_table_gives_the_same_images_from_any_file(gen, tmp_path):
    table = toy_table(9).assign(image_id=[f"{i:03d}" for i in range(9)], ward="A")
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    roots = {sk.generate(gen, source, out=tmp_path / f"out{i}", seed=SEED).root
             for i, source in enumerate((table, tmp_path / "a.csv", str(tmp_path / "a.tsv"), tmp_path / "a.parquet"))}  # fmt: skip
    assert len(roots) == 1 and sk.load(tmp_path / "out1").table["request_id"][1] == "001"
    numbers = sk.Schema((sk.Category("stage", ("0", "1")),))
    pd.DataFrame({"stage": [1.0, None, 0.0]}).to_csv(tmp_path / "levels.csv", index=False)
    read, _ = Requests.read(tmp_path / "levels.csv", replace(gen, schema=numbers), seed=0, n=None, folder=tmp_path)
    assert read.take(0, 3)[1]["stage"].tolist() == ["1", None, "0"], "a column with blanks is written as 1.0"


def bad(**columns) -> pd.DataFrame:
    return toy_table(30).astype({name: object for name in columns}).assign(**{name: values for name, values in columns.items()})


def at(row: int, value: object, others: object) -> list[object]:
    return [value if number == row - 1 else others for number in range(30)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (bad(age=at(17, 140, 50)), "row 17: age: 140 years is outside 0..100 years"),
        (bad(sex=at(30, "X", "F")), "row 30: sex: 'X' is not one of F, M"),
        (bad(age=at(3, "old", 50)), "row 3: age: 'old' is not a number; give 0..100 years"),
        (bad(lesion=at(9, "absent", "present"), diameter=at(9, 5, 5)), "row 9: diameter: a value is given where it does not apply"),
        (bad(image_id=at(12, None, "a")), "row 12: image_id is blank"),
        (bad(image_id=[*map(str, range(29)), "4"]), "rows 5 and 30: image_id '4' stands on both"),
        (bad(image_id=[f"a#{i}" for i in range(30)]), "row 1: image_id 'a#0' ends as that of a request that is asked again"),
        (toy_table(30).rename(columns={"lesion": "Lesion"}), "unknown factor 'Lesion'; did you mean 'lesion'"),
        (toy_table(0), "holds no request"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [None, ".csv", ".parquet"])
def test_a_bad_row_is_named_before_anything_is_drawn(gen, tmp_path, monkeypatch, table, message, suffix):
    monkeypatch.setattr(tables, "BLOCK", 8)
    source = table
    if suffix == ".csv":
        table.to_csv(source := tmp_path / "want.csv", index=False)
    elif suffix:
        (table.astype({"age": str}) if table["age"].dtype == object else table).to_parquet(source := tmp_path / "want.parquet")
    with pytest.raises(sk.SchemaError, match=message):
        sk.generate(gen, source, out=tmp_path / "never", seed=SEED, n=60)
    assert not (tmp_path / "never").exists()


def test_a_file_is_read_by_the_separator_of_its_heading(gen, tmp_path):
    plain, *others = (Requests.read(written(tmp_path, name, text), gen, seed=0, n=None, folder=tmp_path)[1] for name, text in (
        ("a.csv", "sex,ward,lesion\nF,A,present\nM,B,absent\n"), ("b.csv", "sex;ward;lesion\nF;A;present\nM;B;absent\n"),
        ("c.CSV", "sex;ward;lesion\nF;A,B;present\nM;B,C;absent\n"), ("d.TSV", "sex\tward\tlesion\nF\tA\tpresent\nM\tB\tabsent\n"),
        ("e.csv", "\ufeffsex,lesion\nF,present\nM,absent\n"), ("f.csv", '"sex","ward; bed; room","lesion"\nF,A,present\nM,B,absent\n')))  # fmt: skip
    assert {plain} == {*others}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sex,lesion\nF,present,1\n", "want.csv: a row has more values than the heading has names"),
        ("sex,lesion\nF,present\nM,absent,1\n", "Expected 2 fields in line 3, saw 3"),
        ("sex,lesion,sex\nF,present,M\n", "want.csv: column 'sex' stands twice in the heading"),
        ("patient,ward\n1,A\n", "want.csv: no column is a factor; it has patient, ward, and the factors are lesion, diameter"),
    ],
)  # fmt: skip
def test_a_file_that_would_be_misread_is_refused(gen, tmp_path, text, message):
    with pytest.raises(sk.SynthkitError, match=message):
        sk.generate(gen, written(tmp_path, "want.csv", text), out=tmp_path / "never", seed=SEED)
    assert not (tmp_path / "never").exists()


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_what_cannot_be_asked_for_is_refused(gen, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "latin.csv").write_bytes("sex,ward\nF,Höhe\n".encode("cp1252"))
    for source, message in ((tmp_path / "latin.csv", "latin.csv is no text in UTF-8; save it as CSV in UTF-8"),
                            (tmp_path / "none.csv", "cannot be read as a table"), (tmp_path / "empty.csv", "cannot be read"), (7, "table: got 7")):
        with pytest.raises(sk.DataError, match=message):
            sk.generate(gen, source, out=tmp_path / "never", seed=SEED)
    wrong = ({"n": 0}, {"n": 2.5}, {"shard_size": -1}, {"workers": 0}, {"threads": 0}, {"engine": "spark"}, {"reject_copies_of": toy_cohort(30, size=(8, 8))})
    for options in wrong:
        with pytest.raises(sk.DataError, match=next(iter(options))):
            sk.generate(gen, toy_table(3), out=tmp_path / "never", seed=SEED, **options)
    with pytest.raises(sk.AbilityError, match="torch finds no GPU|is not here"):
        sk.generate(gen, toy_table(3), out=tmp_path / "never", seed=SEED, device="cuda:97")
    with pytest.raises(sk.DataError, match="generator: got 3; give a fitted generator"):
        sk.generate(3, toy_table(3), out=tmp_path / "never", seed=SEED)
    with pytest.raises(sk.StoreError, match="holds no saved generator"):
        sk.generate(tmp_path / "none", toy_table(3), out=tmp_path / "never", seed=SEED)
    assert not (tmp_path / "never").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.docx").write_text("mine")
    with pytest.raises(sk.StoreError, match="holds other files"):
        sk.generate(gen, toy_table(3), out=tmp_path / "thesis", seed=SEED)
    assert files(tmp_path / "thesis") == ["thesis.docx"]


def test_it_goes_on_where_it_stopped_and_ends_with_the_same_files(gen, tmp_path, monkeypatch, cache):
    whole = sk.generate(gen, toy_table(30), out=tmp_path / "whole", seed=SEED, shard_size=4)
    with monkeypatch.context() as patch:
        stopping(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            sk.generate(gen, toy_table(30), out=tmp_path / "cut", seed=SEED, shard_size=4)
    for read in (sk.load, manifest_of, sk.replay):
        with pytest.raises(sk.StoreError, match="not finished; run the same command again"):
            read(tmp_path / "cut")
    assert "not finished; run the same command again" in sk.verify(tmp_path / "cut").frame().to_csv()
    pages = sorted((tmp_path / "cut" / ".generation").glob("shard-*.json"))
    assert len(pages) == 5
    pages[1].write_bytes(pages[1].read_bytes()[:-40])
    lost = sorted((tmp_path / "cut").glob("pixels-*"))[0]
    lost.write_bytes(lost.read_bytes()[:-1])
    (tmp_path / "cut" / ".pixels-0.npy.1.part").write_bytes(b"torn")
    again = sk.generate(gen, toy_table(30), out=tmp_path / "cut", seed=SEED)
    assert again.root == whole.root and 30 - 5 * 4 < again.drawn <= 30 - 3 * 4
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert not [*(cache / "generation").iterdir()], "what the workers needed is gone"
    kept = content(tmp_path / "cut")
    done = sk.generate(gen, toy_table(30), out=tmp_path / "cut", seed=SEED, shard_size=9)
    assert done.drawn == 0 and done.root == whole.root and content(tmp_path / "cut") == kept


def test_another_generation_is_refused_before_and_after_the_end(gen, tmp_path, monkeypatch):
    other = sk.Diffusion(options=SMALL_NET, batch_size=16, steps=1).fit(toy_cohort(24), budget="2 steps", seed=1)
    calls = {"seed": (gen, toy_table(12), {"seed": 5}), "generator": (other, toy_table(12), {}), "settings": (gen.using(steps=2), toy_table(12), {}),
             "requests": (gen, toy_table(12, seed=1), {}), "number of images": (gen, toy_table(12), {"n": 11}),
             "threads": (gen, toy_table(12), {"threads": 2}), "shard_size": (gen, toy_table(12), {"shard_size": 6})}  # fmt: skip
    with monkeypatch.context() as patch:
        stopping(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            sk.generate(gen, toy_table(12), out=tmp_path, seed=SEED, shard_size=5)
    kept = content(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(generation, "environment", lambda: environment() | {"torch": "9.9"})
        with pytest.raises(sk.StoreError, match="torch: .* there, 9.9 now.*with the same command and versions"):
            sk.generate(gen, toy_table(12), out=tmp_path, seed=SEED, shard_size=5)
    for word, (generator, table, options) in calls.items():
        with pytest.raises(sk.StoreError, match=f"another generation that was begun .*{word}"):
            sk.generate(generator, table, out=tmp_path, **{"seed": SEED, **options})
    assert {name for name, data in content(tmp_path).items() if kept.get(name) != data} == set()
    sk.generate(gen, toy_table(12), out=tmp_path, seed=SEED)
    kept = content(tmp_path)
    for word, (generator, table, options) in calls.items():
        if word != "shard_size":
            with pytest.raises(sk.StoreError, match="holds a cohort that another generator"):
                sk.generate(generator, table, out=tmp_path, **{"seed": SEED, **options})
    toy_cohort(3).save(tmp_path / "real")
    with pytest.raises(sk.StoreError, match="was not made by generate"):
        sk.generate(gen, toy_table(12), out=tmp_path / "real", seed=SEED)
    assert content(tmp_path).items() >= kept.items()


def test_a_full_disk_harms_nothing_and_the_work_goes_on_after_room_is_made(gen, tmp_path, monkeypatch):
    whole = sk.generate(gen, toy_table(20), out=tmp_path / "whole", seed=SEED, shard_size=4)
    for room in (0, 3, 9, 14):
        left = iter(range(room))

        def full(number, left=left):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(sk.StoreError, match="No space left on device.*is kept and whole: make room"):
                sk.generate(gen, toy_table(20), out=tmp_path / "full", seed=SEED, shard_size=4)
    again = sk.generate(gen, toy_table(20), out=tmp_path / "full", seed=SEED, shard_size=4)
    assert again.drawn < 20 and again.root == whole.root and content(tmp_path / "full") == content(tmp_path / "whole")


WAIT = """
import sys
from pathlib import Path
from synthkit.core.store import writing
with writing(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_two_writers_of_one_folder_are_kept_apart(gen, tmp_path):
    other = subprocess.Popen([sys.executable, "-c", WAIT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    other.stdout.readline()
    with pytest.raises(sk.StoreError, match="being written by another process"):
        sk.generate(gen, toy_table(3), out=tmp_path, seed=SEED)
    other.kill()
    other.wait()
    assert sk.generate(gen, toy_table(3), out=tmp_path, seed=SEED).images == 3


def test_near_copies_are_rejected_whatever_the_shards(tmp_path, monkeypatch):
    train = people(200, seed=7)
    mimic = parrot(train, 0.3)
    monkeypatch.setattr(sk.Generator, "save", lambda self, folder: folder)
    monkeypatch.setattr(sk.Generator, "load", staticmethod(lambda folder: mimic))
    train.save(tmp_path / "train")
    want = train.schema.grid(sex=["F", "M"], each=30)
    by_sample = mimic.sample(want, seed=3, reject_copies_of=train)
    made = [sk.generate(mimic, want, out=tmp_path / f"{i}", seed=3, shard_size=size, reject_copies_of=refused)
            for i, (size, refused) in enumerate(((60, train), (7, tmp_path / "train")))]  # fmt: skip
    assert made[0].root == made[1].root and (made[1].cohort.images.raw() == by_sample.images.raw()).all()
    assert made[1].rejected == by_sample.provenance.recipe["reject_copies_of"]["rejected"] == int((made[1].cohort.table["draws"] - 1).sum()) > 5
    record = made[1].cohort.provenance
    assert record.recipe["steps"][-1]["rejected"] == made[1].rejected and record.recipe["reject_copies_of"]["from"] == "people"
    assert f"{made[1].rejected} draws were near copies of people" in " ".join(made[1].cohort.caveats()) and sk.verify(tmp_path / "1").passed
    assert sk.replay(tmp_path / "1", n=30, generators=[mimic]).verdict == "EXACT"
    assert rejected(record) == f"{made[1].rejected} near copies of people" == rejected(by_sample.provenance)
    with pytest.raises(sk.StoreError, match="holds a cohort that another"):
        sk.generate(mimic, want, out=tmp_path / "1", seed=3)


def test_copies_alone_are_an_error_and_some_are_left_out(tmp_path, monkeypatch):
    train = people(200, seed=7)
    monkeypatch.setattr(sk.Generator, "save", lambda self, folder: folder)
    for share, name in ((1.0, "all"), (0.9, "most")):
        mimic = parrot(train, share)
        monkeypatch.setattr(sk.Generator, "load", staticmethod(lambda folder, mimic=mimic: mimic))
        want = train.schema.grid(sex=["F"], each=20)
        if share == 1:
            with pytest.raises(sk.AbilityError, match="all 20 requests came out as near copies"):
                sk.generate(mimic, want, out=tmp_path / name, seed=0, shard_size=8, reject_copies_of=train)
            assert files(tmp_path / name) == [".lock"]
            continue
        made = sk.generate(mimic, want, out=tmp_path / name, seed=0, shard_size=2, reject_copies_of=train)
        assert len(manifest_of(tmp_path / name)["shards"]) < 10, "of some shard nothing is left"
        assert made.left_out > 0 and made.images == 20 - made.left_out == len(made.cohort) and sk.verify(tmp_path / name).passed
        assert made.root == sk.generate(mimic, want, out=tmp_path / "whole", seed=0, reject_copies_of=train).root


@pytest.fixture
def memory():
    import fsspec

    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def test_a_cohort_behind_an_address_is_made_resumed_and_read_back(gen, tmp_path, monkeypatch, memory, cache):
    here = sk.generate(gen, toy_table(20), out=tmp_path / "here", seed=SEED, shard_size=6)
    with monkeypatch.context() as patch:
        stopping(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            sk.generate(gen, toy_table(20), out="memory://films/new", seed=SEED, shard_size=6)
    with pytest.raises(sk.StoreError, match="holds no saved cohort .*but a generation that was begun"):
        sk.load("memory://films/new")
    memory.pipe_file("/films/new/.generation/shard-0000000.json", b"{torn")
    made = sk.generate(gen, toy_table(20), out="memory://films/new", seed=SEED)
    assert made.root == here.root and made.drawn == 20 - 6 and made.figure()
    assert (sk.load("memory://films/new").images.raw() == here.cohort.images.raw()).all()
    left = {path.rsplit("/", 1)[-1]: memory.cat_file(path) for path in memory.find("/films/new")}
    assert left == {name: data for name, data in content(tmp_path / "here").items() if name != ".lock"}
    assert sk.generate(gen, toy_table(20), out="memory://films/new", seed=SEED).drawn == 0
    with pytest.raises(sk.StoreError, match="holds a cohort that another"):
        sk.generate(gen, toy_table(20), out="memory://films/new", seed=SEED + 1)
    pixels = next(name for name in left if name.startswith("pixels"))
    memory.pipe_file(f"/films/new/{pixels}", b"other")
    assert len(sk.load("memory://films/new")) == 20, "the copy at hand is whole"
    next((cache / "remote").glob(f"*/{pixels}")).unlink()
    with pytest.raises(sk.StoreError, match="its sha256 differs"):
        sk.load("memory://films/new")


def test_an_address_may_be_one_where_folders_are_real(gen, tmp_path):
    made = sk.generate(gen, toy_table(9), out=f"file://{tmp_path}/there", seed=SEED, shard_size=4)
    here = sk.generate(gen, toy_table(9), out=tmp_path / "here", seed=SEED, shard_size=4)
    assert made.root == here.root and len(made.cohort) == 9 and sk.verify(tmp_path / "there").passed
    assert content(tmp_path / "there") | {".lock": b""} == content(tmp_path / "here")


def test_places_that_cannot_be_reached_or_written_say_so(gen, memory):
    memory.pipe_file("/thesis/thesis.docx", b"mine")
    for place, kind, message in (("nowhere://x", sk.StoreError, "nowhere"), ("memory://thesis", sk.StoreError, "holds other files"),
                                 ("memory://none", sk.StoreError, "holds no saved cohort")):  # fmt: skip
        with pytest.raises(kind, match=message):
            sk.load(place) if place.endswith("none") else sk.generate(gen, toy_table(3), out=place, seed=SEED)
    assert [*memory.find("/thesis")] == ["/thesis/thesis.docx"]


def test_a_lease_is_held_by_one_and_given_up_by_the_dead(memory, monkeypatch):
    def told(**more):
        held = {"token": "x", "host": platform.node(), "process": os.getpid(), "at": time.time()} | more
        memory.pipe_file("/films/.lock", json.dumps(held).encode())

    with lease.lease(memory, "/films", "memory://films"):
        with pytest.raises(sk.StoreError, match=f"being written by process {os.getpid()}"):
            with lease.lease(memory, "/films", "memory://films"):
                pass
    assert not memory.exists("/films/.lock")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    another = {"at": psutil.Process().create_time() - 60}  # this number belonged to a process that ended before this one began, as in a container run again
    for more, free in (({"process": gone.pid}, True), (another, True), ({"host": "elsewhere"}, False), ({"host": "elsewhere", "at": time.time() - 200}, True)):
        told(**more)
        if free:
            with lease.lease(memory, "/films", "memory://films"):
                assert memory.exists("/films/.lock")
        else:
            with pytest.raises(sk.StoreError, match="last heard of 0 s ago"), lease.lease(memory, "/films", "memory://films"):
                pass
    memory.pipe_file("/films/.lock", b"")  # torn: its writer is not known, and what is known is since when
    with pytest.raises(sk.StoreError, match=r"last heard of \d s ago"), lease.lease(memory, "/films", "memory://films"):
        pass
    with monkeypatch.context() as later:
        later.setattr(lease, "GIVEN_UP", 0.0)
        with lease.lease(memory, "/films", "memory://films"):
            assert memory.cat_file("/films/.lock")
    monkeypatch.setattr(lease, "RENEWED", 0.01)
    with lease.lease(memory, "/films", "memory://films"):
        first = memory.cat_file("/films/.lock")
        time.sleep(0.2)
        assert memory.cat_file("/films/.lock") != first


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(gen, tmp_path):
    """Two workers in processes of their own, one of which is killed on the way; and the same files as from one."""
    whole = sk.generate(gen, toy_table(40), out=tmp_path / "whole", seed=SEED, n=240, shard_size=40)
    killed = []

    def kill():
        own = psutil.Process()
        for _ in range(3000):
            seats = [one for one in own.children() if "synthkit.scale.generation.process" in one.cmdline()]
            if len(seats) == 2 and any((tmp_path / "cut" / ".generation").glob("shard-*.json")):
                os.kill(seats[1].pid, signal.SIGKILL)
                return killed.append(seats[1].pid)
            time.sleep(0.01)

    killer = Thread(target=kill)
    killer.start()
    made = sk.generate(gen, toy_table(40), out=tmp_path / "cut", seed=SEED, n=240, shard_size=40, workers=2)
    killer.join()
    assert killed and made.root == whole.root and content(tmp_path / "cut") == content(tmp_path / "whole")


def test_workers_that_die_again_and_again_are_one_clear_error(gen, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "MODULE", "synthkit.no_such_module")
    with pytest.raises(sk.AbilityError, match="died 3 times over shard .*No module named.*no_such_module"):
        sk.generate(gen, toy_table(8), out=tmp_path, seed=SEED, shard_size=4, workers=2)
    monkeypatch.undo()
    assert sk.generate(gen, toy_table(8), out=tmp_path, seed=SEED, shard_size=4).images == 8


def test_devices_are_taken_in_turn_and_not_mixed(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    every = ["cuda:0", "cuda:1", "cuda:2"]
    assert crew.devices_of("auto") == crew.devices_of("cuda") == every and crew.devices_of("cuda:2, cuda:0") == ["cuda:2", "cuda:0"]
    assert crew.crew_for("local", workers=None, device="auto", threads=1).devices == every
    assert crew.crew_for("local", workers=4, device="auto", threads=1).devices == [*every, "cuda:0"]
    assert crew.crew_for("local", workers=1, device="auto", threads=1).device == "cuda:0"
    for device, message in (("cuda:0,cpu", "mixes kinds"), ("cuda:7", "'cuda:7' is not here; there are cuda:0")):
        with pytest.raises(sk.AbilityError, match=message):
            crew.devices_of(device)


@given(counts=st.lists(st.integers(0, 9), max_size=6))
def test_a_tree_grown_in_parts_is_that_of_the_definition(counts):
    def defined(leaves):
        # RFC 6962, section 2.1: split at the largest power of two below the number.
        if len(leaves) < 2:
            return leaves[0].hex() if leaves else root([])
        cut = 1 << (len(leaves) - 1).bit_length() - 1
        return node(defined(leaves[:cut]), defined(leaves[cut:]))

    def node(left, right):
        import hashlib

        return hashlib.sha256(b"\x01" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()

    leaves, tree = [leaf(bytes([number])) for number in range(sum(counts))], Tree()
    for start, count in zip(np.cumsum([0, *counts]), counts):
        tree.extend(leaves[start : start + count])
    assert tree.root() == root(iter(leaves)) == defined(leaves) and tree.count == len(leaves)


PROGRAM = """
import sys
import torch
import synthkit as sk
torch.set_num_threads(1)
sk.generate(sys.argv[1], sys.argv[2], out=sys.argv[3], seed=4, n=1000, shard_size=40, workers=int(sys.argv[4]))
"""


def ended(family: list[psutil.Process]) -> bool:
    """Whether processes are gone within half a minute; one that nobody waited for counts as gone."""
    for _ in range(600):
        try:
            if not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family):
                return True
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(gen, tmp_path, workers):
    gen.save(tmp_path / "gen")
    toy_table(50).to_csv(tmp_path / "want.csv", index=False)
    whole = sk.generate(gen, tmp_path / "want.csv", out=tmp_path / "whole", seed=4, n=1000, shard_size=40)
    chance, kills = random.Random(workers), 0
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "gen"), str(tmp_path / "want.csv"), str(tmp_path / "cut"), str(workers)]
    while True:
        program = subprocess.Popen(words, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            assert program.wait(timeout=chance.uniform(2, 9) if kills < 4 else 300) == 0
            break
        except subprocess.TimeoutExpired:
            family = psutil.Process(program.pid).children()
            program.send_signal(signal.SIGKILL)
            program.wait()
            assert ended(family), "a worker outlived the process that started it"
            kills += 1
    assert kills and content(tmp_path / "cut") == content(tmp_path / "whole")
    ids = sk.load(tmp_path / "cut").table["request_id"]
    assert ids.is_unique and len(ids) == 1000 == whole.images


@pytest.mark.parametrize(("failures", "tried"), [([], 1), ([Exception("timed out during startup")], 2), ([Exception("slow"), Exception("slow")], 2),
                                                  ([ConnectionError("no such cluster")], 1)])  # fmt: skip
def test_ray_is_given_a_second_try_where_its_node_was_slow(failures, tried):
    from synthkit.scale.generation.cluster import _start

    class Ray:
        begun = ended = 0

        def init(self, **settings: object) -> None:
            self.begun += 1
            if len(failures) >= self.begun:
                raise failures[self.begun - 1]

        def shutdown(self) -> None:
            self.ended += 1

    ray = Ray()
    if len(failures) == tried:
        with pytest.raises(sk.AbilityError, match="cannot be started"):
            _start(ray, cpus=1, gpus=0)
    else:
        _start(ray, cpus=1, gpus=0)
    assert (ray.begun, ray.ended) == (tried, len(failures))


@pytest.mark.slow
def test_ray_draws_the_same_and_replaces_who_dies(gen, tmp_path, memory):
    pytest.importorskip("ray")
    whole = sk.generate(gen, toy_table(40), out=tmp_path / "whole", seed=SEED, n=400, shard_size=40)
    killed = []

    def kill():
        for _ in range(12000):
            seats = [one for one in psutil.process_iter(["cmdline"]) if "ray::Seat" in " ".join(one.info["cmdline"] or [])]
            if seats and any((tmp_path / "ray" / ".generation").glob("shard-*.json")):
                os.kill(seats[0].pid, signal.SIGKILL)
                return killed.append(seats[0].pid)
            time.sleep(0.01)

    killer = Thread(target=kill)
    killer.start()
    made = sk.generate(gen, toy_table(40), out=tmp_path / "ray", seed=SEED, n=400, shard_size=40, workers=2, engine="ray")
    killer.join()
    assert killed and made.root == whole.root and content(tmp_path / "ray") == content(tmp_path / "whole")
    with pytest.raises(sk.AbilityError, match="room for"):
        sk.generate(gen, toy_table(4), out=tmp_path / "never", seed=SEED, engine="ray", device="cuda", workers=2)
    with pytest.raises(sk.AbilityError, match="Ray chooses the devices itself"):
        sk.generate(gen, toy_table(4), out=tmp_path / "never", seed=SEED, engine="ray", device="cuda:1")
    assert not (tmp_path / "never").exists()

"""Lineage: records that hold, trees and signatures by their standards, damage that is always found, images made again."""
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import damage
import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core import store
from synthkit.core.files import read_manifest, write_manifest
from synthkit.core.lineage import canonical_json, manifest_root, read_record, records
from synthkit.core.merkle import leaf, root
from synthkit.core.provenance import Provenance, digest, pixel_digest
from synthkit.core.signing import Signature, fingerprint, make_key, read_public, sign, trust
from synthkit.core.store import MANIFEST
from synthkit.errors import AbilityError, DataError, StoreError
from synthkit.generators.checkpoint import SHIPPED


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A folder for keys of this test alone."""
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(tmp_path / "config"))
    return tmp_path


def test_the_tree_is_that_of_rfc_6962():
    # The test vectors of the certificate transparency reference implementation.
    inputs = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
    roots = ("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
             "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
             "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
             "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
             "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
             "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")  # fmt: skip
    assert [root([leaf(one) for one in inputs[:count]]) for count in range(1, 9)] == list(roots)
    assert root([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_canonical_json_is_that_of_rfc_8785():
    # The example of the standard's section 3.2.4, shortened to what numbers and names show.
    told = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001], "literals": [None, True, False]}
    assert canonical_json(told) == b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    assert canonical_json({"b": np.float64("nan"), "a": np.int64(3), "c": pd.NA, "d": float("inf"), "e": 2**60}) == (
        b'{"a":3,"b":null,"c":null,"d":"inf","e":"1152921504606846976"}')  # fmt: skip
    assert canonical_json(3.0) == canonical_json(3), "a column of whole numbers may come back as one of floats"


def test_signatures_follow_rfc_8032(own):
    # RFC 8032, section 7.1, test 2.
    good = Signature("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
    assert good.holds(b"\x72") and not good.holds(b"\x73") and not replace(good, value="00" * 64).holds(b"\x72")
    assert sign(b"x") is None
    path, new = make_key()
    assert new and not make_key()[1] and sign(b"x").holds(b"x") and sign(b"x").key == read_public(path)
    assert (own / "config" / "signing.key").stat().st_mode & 0o077 == 0


def shift_generator() -> sk.Generator:
    return exact_generator(toy_cohort(24))


def drawn(count: int = 12) -> sk.Cohort:
    return shift_generator().sample(toy_table(count), seed=3)


def test_a_record_tells_all_and_the_same_after_saving(own):
    fake = drawn()
    told = [read_record(one) for one in records(fake)]
    assert [one["image_id"] for one in told] == fake.table["image_id"].tolist()
    first = told[0]
    assert first["pixels"] == pixel_digest(fake.images.raw([0])[0]) and first["seed"] == 3 and first["kind"] == "synthetic"
    assert first["factors"]["lesion"] == fake.table["lesion"][0] and first["request_id"] == "p-image-0"
    assert first["digests"]["weights"] == shift_generator().weights_digest() and {"python", "torch", "source"} <= set(first["recipe"]["environment"])
    back = sk.load(fake.save(own / "a"))
    assert [*records(back)] == [*records(fake)] and back.version == fake.version
    assert fake.version != fake[::-1].version != drawn(11).version
    kept = store.read_tables([(own / "a").glob("records-*").__next__()])
    assert kept["record"].tolist() == [one.decode() for one in records(fake)]


def test_the_root_does_not_depend_on_the_shards(own, monkeypatch):
    fake = drawn()
    whole = read_manifest(fake.save(own / "a") / MANIFEST)["root"]
    monkeypatch.setattr(store, "SHARD_BYTES", 5 * 2 * 256)
    parts = read_manifest(fake.save(own / "b") / MANIFEST)
    assert len(parts["shards"]) == 3 and parts["root"] == whole
    assert sk.load(own / "b").version == sk.load(own / "a").version == whole[:16] and sk.verify(own / "b").passed


def test_images_of_several_makers_keep_their_own():
    real, fake, other = toy_cohort(4), drawn(3), shift_generator().sample(toy_table(3), seed=4)
    both = real + fake + other
    told = [read_record(one) for one in records(both)]
    assert [one["kind"] for one in told] == ["real"] * 4 + ["synthetic"] * 6 and [one["seed"] for one in told[4:]] == [3] * 3 + [4] * 3
    assert both[2:5].made_by() == both.made_by()[2:5] and (fake[:2] + fake[2:]).table.columns.tolist() == fake.table.columns.tolist()
    split = fake.split((0.5, 0.5), seed=0)
    assert {read_record(one)["seed"] for one in records(split[0] + other)} == {3, 4}
    with pytest.raises(DataError, match="made_by.*none of the records"):
        replace(both, table=both.table.assign(made_by="0" * 16)).makers()


def test_training_manifests_do_not_depend_on_order():
    cohort = toy_cohort(9)
    assert manifest_root(cohort) == manifest_root(cohort[::-1]) != manifest_root(cohort[:8])


def test_quality_control_is_kept_and_signed(own):
    fake = drawn()
    checks = pd.DataFrame({"image_id": fake.table["image_id"][::-1], "failed": ["x"] + [""] * 11})
    folder = fake.save(own / "a", qc=checks)
    assert sk.verify(folder).passed and len([*folder.glob("qc-*")]) == 1
    told = read_record(store.read_tables([next(folder.glob("records-*"))])["record"].iloc[-1])
    assert told["qc"] == digest(canonical_json({"image_id": fake.table["image_id"].iloc[-1], "failed": "x"}))
    with pytest.raises(DataError, match="one row for each image"):
        fake.save(own / "b", qc=checks[1:])
    assert sk.load(fake.save(own / "c", qc=sk.check(fake))).version == fake.version


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 5 * 2 * 256)


# What shows without a signature too: it does not fit the digests or the tree.
BY_DIGEST = (damage.bytes_changed, damage.files_changed, damage.rows_changed, damage.rows_changed_with_digests, damage.records_edited, damage.pixels_changed,
             damage.shards_changed, damage.manifest_edited_without_seal)  # fmt: skip


@pytest.mark.parametrize(("signed", "ways"), [(True, damage.WAYS), (False, BY_DIGEST)])
def test_every_corruption_is_found(own, small_shards, signed, ways):
    key = make_key()[0] if signed else None
    fake = drawn()
    good = fake.save(own / "good", qc=sk.check(fake))
    found = sk.verify(good, key=key)
    assert found.passed and ("signature", "as saved" if signed else "unsigned") in {(row.part, row.result) for row in found.frame().itertuples()}
    chance, other, missed = random.Random(7), damage.stranger(own / "stranger"), []
    for way in ways * 8:
        what = damage.damaged(good, own / "bad", way, chance, other)
        if sk.verify(own / "bad", key=key).passed:
            missed.append(what)
    assert not missed


def test_a_cohort_made_anew_without_signature_passes_only_where_no_key_is_asked_for(own):
    key = make_key()[0]
    good = drawn().save(own / "good")
    damage.damaged(good, own / "bad", damage.made_anew_without_signature, random.Random(0), damage.stranger(own / "stranger"))
    found = sk.verify(own / "bad")
    assert found.passed and "could have made another cohort of it" in found.caveats()[0]
    assert not sk.verify(own / "bad", key=key).passed


@pytest.mark.parametrize("change", [
    lambda told: {**told, "images": float(told["images"])}, lambda told: dict(reversed(told.items())),
    lambda told: {**told, "signature": {**told["signature"], "value": told["signature"]["value"].upper()}},
    lambda told: {**told, "signature": {**told["signature"], "remark": "checked"}}, lambda told: {**told, "signature": {"key": "00"}},
    lambda told: {**told, "signature": "none"}, lambda told: {**told, "shards": 3}, lambda told: {name: told[name] for name in told if name != "space"},
    lambda told: {**told, "skipped": {**told["skipped"], "file": f"../good/{told['skipped']['file']}"}},
])  # fmt: skip
def test_a_manifest_whose_text_or_form_changed_is_found(own, change):
    make_key()
    folder = drawn(3).save(own / "good")
    write_manifest(folder / MANIFEST, change(read_manifest(folder / MANIFEST)))
    assert not sk.verify(folder).passed


def test_signatures_that_are_forged_foreign_or_missing(own, monkeypatch):
    path, _ = make_key()
    fake = drawn(4)
    folder = fake.save(own / "a")
    assert sk.verify(folder).passed and sk.verify(folder, key=path).passed
    manifest = read_manifest(folder / MANIFEST)
    forged = {**manifest, "notes": ["Real patients."]}
    write_manifest(folder / MANIFEST, forged)
    assert "not what key" in sk.verify(folder).frame().set_index("part").loc["signature", "detail"]
    write_manifest(folder / MANIFEST, manifest)
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(own / "another"))
    found = sk.verify(folder).frame().set_index("part").loc["signature"]
    assert found["result"] == "failed" and fingerprint(read_public(path)) in found["detail"]
    assert sk.verify(folder, key=path).passed
    trust(path)
    assert sk.verify(folder).passed
    mine = fake.save(own / "b")  # there is no own key here: unsigned
    assert sk.verify(mine).passed and not sk.verify(mine, key=path).passed
    foreign, _ = make_key()
    assert not sk.verify(folder, key=foreign).passed
    for bad in (own / "none.pub", folder / MANIFEST):
        with pytest.raises(StoreError, match="no public key"):
            sk.verify(folder, key=bad)
    with pytest.raises(StoreError, match="no folder"):
        sk.verify(own / "nothing")
    (own / "empty").mkdir()
    with pytest.raises(StoreError, match="no saved cohort"):
        sk.verify(own / "empty")


def test_replay_makes_the_same_images_again(own):
    gen = shift_generator()
    fake = gen.sample(toy_table(12), seed=3)
    again = sk.replay(fake.save(own / "a"), n=8, generators=[gen])
    assert again.verdict == "EXACT" and again.passed and len(again.frame()) == 8 and np.isinf(again.frame()["psnr"]).all()
    real = toy_cohort(6)
    edited = gen.edit(real, {"lesion": "present"})
    assert sk.replay(edited, generators=[gen], sources=real).verdict == "EXACT"
    mixed = sk.replay(fake + real, n=18, generators=[gen])
    assert mixed.frame()["grade"].value_counts().to_dict() == {"EXACT": 12, "NOT REPLAYED": 6} and not mixed.passed
    with pytest.raises(AbilityError, match="no generator with the weights"):
        sk.replay(fake)
    with pytest.raises(AbilityError, match="need their originals"):
        sk.replay(edited, generators=[gen])
    with pytest.raises(AbilityError, match="lacks 3 original"):
        sk.replay(edited, generators=[gen], sources=real[:3])
    with pytest.raises(DataError, match="real: its images were taken"):
        sk.replay(real)
    with pytest.raises(DataError, match="nothing to replay"):
        sk.replay(fake, n=0, generators=[gen])


def test_replay_grades_what_differs(own):
    gen = shift_generator()
    fake = gen.sample(toy_table(3), seed=3)
    raw = fake.images.raw().copy()
    raw[1] = raw[1] // 2 * 2  # the last bit of 16
    raw[2] = raw[2][:, ::-1]
    other = sk.Cohort.of(raw, fake.table, schema=fake.schema, space=fake.space, provenance=fake.provenance)
    found = sk.replay(other, generators=[gen])
    assert found.frame()["grade"].tolist() == ["EXACT", "TOLERANT", "FAILED"] and found.verdict == "FAILED"
    assert 0 < found.frame()["max_abs"][1] < 0.01 < found.frame()["max_abs"][2]
    recipe = {**fake.provenance.recipe, "environment": {**fake.provenance.recipe["environment"], "torch": "1.0"}}
    elsewhere = replace(fake, provenance=replace(fake.provenance, recipe=recipe))
    assert any("torch 1.0 then" in line for line in sk.replay(elsewhere, generators=[gen]).caveats())


def test_replay_under_another_torch_is_tolerant_and_names_it(own):
    gen = shift_generator()
    fake = gen.sample(toy_table(6), seed=3)
    # Another version rounds otherwise: here the last of 16 bits.
    recipe = {**fake.provenance.recipe, "environment": {**fake.provenance.recipe["environment"], "torch": "1.0"}}
    there = sk.Cohort.of(fake.images.raw() ^ 1, fake.table, schema=fake.schema, space=fake.space, provenance=replace(fake.provenance, recipe=recipe))
    found = sk.replay(there.save(own / "a"), generators=[gen])
    assert found.verdict == "TOLERANT" and found.passed and "6 TOLERANT" in found.title
    assert 0 < found.frame()["max_abs"].max() < 0.01 and found.frame()["psnr"].min() > 90
    (named,) = [line for line in found.caveats() if "ran elsewhere" in line]
    assert f"torch 1.0 then, {torch.__version__} now" in named and "python" not in named
    films = sk.ChestPhantom(64).cohort(2, seed=5).save(own / "films")
    told = read_manifest(films / MANIFEST)
    write_manifest(films / MANIFEST, {**told, "saved with": {**told["saved with"], "torch": "1.0"}})
    assert any(line.startswith("chest phantom was saved elsewhere: torch 1.0 then") for line in sk.replay(films).caveats())
    assert not any("elsewhere" in line for line in sk.replay(sk.load(films)).caveats())


@pytest.mark.slow
def test_replay_with_other_instructions_is_tolerant_and_names_them(own, need):
    from torch.backends.cpu import get_cpu_capability

    need(get_cpu_capability() in ("AVX2", "AVX512"), "a processor with AVX2")
    gen = sk.Generator.pretrained("chest-phantom-64")
    folder = gen.sample(sk.ChestPhantom(64).factors_table(2, seed=5), seed=1).save(own / "a")
    older = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41"}
    for env, grade in ((None, "2 EXACT"), (older, "2 TOLERANT")):
        done = subprocess.run([sys.executable, "-m", "synthkit", "replay", str(folder)], env=env, capture_output=True, text=True)
        assert done.returncode == 0 and grade in done.stdout, done.stdout + done.stderr
    assert f"{get_cpu_capability()} then, " in done.stdout and "DEFAULT now" in done.stdout


def test_a_checkpoint_that_is_missing_damaged_or_another_is_named(own):
    gen = shift_generator()
    folder = gen.sample(toy_table(3), seed=3).save(own / "a")
    with pytest.raises(StoreError, match="nowhere holds no saved generator"):
        sk.replay(folder, generators=[own / "nowhere"])
    shipped = shutil.copytree(SHIPPED / "chest-phantom-64-gan", own / "other")
    with pytest.raises(AbilityError, match=f"no generator with the weights {gen.weights_digest()[:16]} .exact toy.*give its folder"):
        sk.replay(folder, generators=[shipped])
    next(shipped.glob("weights-*")).unlink()
    with pytest.raises(StoreError, match="is missing; what was saved is incomplete"):
        sk.replay(folder, generators=[shipped])


def test_phantoms_and_shipped_generators_are_replayed():
    chest = sk.ChestPhantom(64)
    assert sk.replay(chest.cohort(6, seed=5), n=4).verdict == "EXACT"
    gen = sk.Generator.pretrained("chest-phantom-64").using(steps=2, solver="adams", shift=2)
    fake = gen.sample(chest.factors_table(3, seed=5), seed=1)
    assert sk.replay(fake).verdict == "EXACT"


def test_a_trace_leads_back_to_the_training_data(own):
    train = toy_cohort(32)
    gen = sk.Diffusion(options={"widths": (16, 16), "embedding": 32}, steps=2, batch_size=16).fit(train, budget="2 steps")
    assert gen.card.trained_on["root"] == manifest_root(train)
    fake = gen.sample(toy_table(3), seed=3)
    folder, name = fake.save(own / "a"), fake.table["image_id"][1]
    found = sk.trace(name, cohort=folder, train=train.save(own / "train"))
    assert found.holds and found.learnt and {manifest_root(train), gen.weights_digest()} <= set(found.frame()["digest"])
    assert sk.trace(name, cohort=fake, train=train[::-1]).learnt, "the order of the images is no part of the manifest"
    assert sk.trace(name, cohort=fake, train=toy_cohort(32, seed=1)).learnt is False and sk.trace(name, cohort=fake).learnt is None
    text = json.dumps(found.frame().to_dict())
    assert not any(patient in text for patient in train.table["patient_id"])
    with pytest.raises(DataError, match="has no image 'nobody'"):
        sk.trace("nobody", cohort=fake)
    with pytest.raises(DataError, match="no saved cohort"):
        sk.trace(name, cohort=fake, train=own)
    with pytest.raises(DataError, match="names no training data"):
        sk.trace("p-image-0", cohort=train, train=train)


def test_versions_and_what_differs_between_them(own):
    old = toy_cohort(8)
    assert sk.diff(old, old.save(own / "a")).same and old.version == toy_cohort(8).version
    table = old.table.assign(age=old.table["age"].where(old.table.index != 2, 50.0))
    raw = old.images.raw().copy()
    raw[4, 0, 0, 0] ^= 1
    new = sk.Cohort.of(raw, table, schema=SCHEMA, space=old.space, provenance=old.provenance)[1:]
    rows = sk.diff(old, new).frame().set_index("what")
    assert rows.loc["images removed", "images"] == 1 and rows.loc["pixels changed", "images"] == 1 and rows.loc["age changed", "images"] == 1
    assert rows.loc["pixels changed", "detail"] == "first: p-image-4" and "images added" not in rows.index
    assert sk.diff(old, old[::-1]).frame()["what"].tolist() == ["order"]
    assert old.version != new.version
    elsewhere = replace(old, provenance=replace(old.provenance, code="synthkit 0"))  # made by other code: other records of equal images
    assert not sk.diff(old, elsewhere).same and sk.diff(old, elsewhere).frame()["what"].tolist() == ["lineage"]
    unknown = sk.diff(replace(old, table=old.table.assign(age=np.nan)), old).frame().set_index("what")
    assert "nan" not in unknown.loc["age, mean", "detail"]


def test_two_writers_and_a_full_disk_leave_the_old_cohort(own, monkeypatch):
    fake, folder, somebody = drawn(4), own / "a", damage.stranger(own / "stranger") / "signing.pub"
    fake.save(folder)
    with store.writing(folder):
        with pytest.raises(StoreError, match="written by another process"):
            drawn(5).save(folder)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(full))
    with pytest.raises(StoreError, match="No space left.*as it was"):
        drawn(5).save(folder)
    with pytest.raises(StoreError, match="No space left.*make room, or set SYNTHKIT_CONFIG"):
        trust(somebody)
    monkeypatch.undo()
    monkeypatch.setenv("SYNTHKIT_CONFIG", str(own / "config"))
    assert sk.verify(folder).frame()["result"].isin(["as saved", "unsigned"]).all() and len(sk.load(folder)) == 4


def test_another_maker_is_not_hidden_by_the_same_source():
    one, two = (Provenance("synthetic", "x", seed=seed) for seed in (1, 2))
    assert one.key() != two.key() and one.step(split=[1]).key() == one.key() and [*Provenance.merge((one, two)).all()][1:] == [one, two]


def test_the_commands_tell_and_exit_by_what_they_find(own):
    from typer.testing import CliRunner

    from synthkit.__main__ import app

    def run(*words: object) -> tuple[int, str]:
        answer = CliRunner().invoke(app, [str(word) for word in words])
        return answer.exit_code, answer.output

    assert "made. Hand out" in run("keys")[1] and "there. Hand out" in run("keys")[1]
    drawn = sk.ChestPhantom(64).cohort(3, seed=5)
    folder, name = drawn.save(own / "a"), drawn.table["image_id"][0]
    code, text = run("verify", folder)
    assert code == 0 and "all is as it was saved" in text and "ed25519, key" in text
    code, text = run("replay", folder, "--n", 2)
    assert code == 0 and "2 EXACT" in text
    code, text = run("trace", name, "--cohort", folder)
    assert code == 0 and "ChestPhantom" in text and drawn.version == sk.load(folder).version
    assert run("data", "diff", folder, folder)[0] == 0
    code, text = run("data", "diff", folder, drawn[1:].save(own / "b"))
    assert code == 1 and "images removed: 1" in text
    next(folder.glob("pixels-*")).unlink()
    code, text = run("verify", folder)
    assert code == 1 and "pixels" in text and "missing" in text

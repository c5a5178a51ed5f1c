"""Evidence: is every change to a signed cohort found, do images come out again, and do others' programs accept what is exported?

    PYTHONPATH=tests python tests/benchmarks/bench_evidence.py [--parts corruptions replay exports] [--corruptions 1000] [--images 256] [--record]

`exports` needs dciodvfy (Debian: dicom3tools) and the test extra.
"""
import argparse
import json
import logging
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import damage
import numpy as np
import pandas as pd
import torch

import synthkit as sk
from synthkit.core import store
from synthkit.core.signing import make_key

RESULTS = Path(__file__).parent / "results"
YOUNGER = "not a recognized standard attribute - (0x0008,0x001c)"  # Synthetic Data is younger than the validator of 2022
OLDER = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41"}
FAST = {"steps": 2, "solver": "adams", "shift": 2}


def films(count: int, **settings: Any) -> sk.Cohort:
    gen = sk.Generator.pretrained("chest-phantom-64").using(**settings)
    return gen.sample(sk.ChestPhantom(64).factors_table(count, seed=5), seed=1)


def corruptions(args: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Changes of a saved and signed cohort of 48 images in 4 shards, each verified with and without the key of who signed it."""
    key, other = make_key()[0], damage.stranger(place / "stranger")
    store.SHARD_BYTES = 12 * 64 * 64 * 2
    fake = films(48, **FAST)
    good = fake.save(place / "good", qc=sk.check(fake))
    chance, rows = random.Random(0), {}
    for _ in range(20):
        assert sk.verify(good, key=key).passed, "an untouched cohort passes"
    for number in range(args.corruptions):
        way = damage.WAYS[number % len(damage.WAYS)]
        what = damage.damaged(good, place / "bad", way, chance, other)
        row = rows.setdefault(way.__name__, {"what": way.__name__.replace("_", " "), "n": 0, "found": 0, "found_without_asking_for_a_key": 0, "missed": []})
        row["n"] += 1
        row["found"] += (found := not sk.verify(place / "bad", key=key).passed)
        row["found_without_asking_for_a_key"] += not sk.verify(place / "bad").passed
        row["missed"] += [] if found else [what]
    names = ("n", "found", "found_without_asking_for_a_key")
    return [*rows.values(), {"what": "all", **{name: sum(row[name] for row in rows.values()) for name in names}}]


def replay(args: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Saved here, made again by another process."""
    chest, gen = sk.ChestPhantom(64), sk.Generator.pretrained("chest-phantom-64")
    table, originals = chest.factors_table(args.images, seed=5), chest.cohort(args.images, seed=6)
    sources = originals.save(place / "sources")
    made = {
        "diffusion": gen.sample(table, seed=1), "diffusion, 4 evaluations": gen.using(steps=4, solver="adams", shift=2).sample(table, seed=1),
        **{name: sk.Generator.pretrained(f"chest-phantom-64-{name}").sample(table, seed=1) for name in ("student", "gan", "vae")},
        "edits": gen.using(steps=6).edit(originals, {"effusion": "absent"}), "phantom": originals,
        "volumes": sk.Generator.pretrained("brain-phantom-48").using(steps=2, solver="adams", shift=2).sample(
            sk.BrainPhantom(48).factors_table(max(1, args.images // 32), seed=1), seed=0),
    }  # fmt: skip
    made |= {f"{name}, instructions of an older processor": made[name][: max(8, args.images // 4)] for name in ("diffusion", "phantom")}
    rows = []
    for name, cohort in made.items():
        folder, began = cohort.save(place / f"replay-{len(rows)}"), time.perf_counter()
        line = [sys.executable, "-m", "synthkit", "replay", str(folder), "--n", str(len(cohort)), *(["--sources", str(sources)] if name == "edits" else [])]
        said = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **(OLDER if "older" in name else {})}).stdout
        (title,) = re.findall(r"^Replay of .*", said, re.MULTILINE)  # above it stand rows
        grades = {grade: int(found[1]) if (found := re.search(rf"(\d+) {grade}", title)) else 0 for grade in ("EXACT", "TOLERANT", "FAILED", "NOT REPLAYED")}
        rows.append({"what": name, "n": len(cohort), **grades, "seconds": round(time.perf_counter() - began, 1)})
        print(rows[-1], flush=True)
    return rows


def exports(args: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """What other programs say of DICOM files, volumes, bundles and descriptions."""
    chest = films(64, **FAST)
    spaced = sk.Cohort.of(chest.images.raw(), chest.table, schema=chest.schema, space=replace(chest.space, spacing_mm=(5, 5)), provenance=chest.provenance)
    heads = sk.Generator.pretrained("brain-phantom-48").using(**FAST).sample(sk.BrainPhantom(48).factors_table(3, seed=1), seed=0)
    nodules = sk.NodulePhantom(48).cohort(3, seed=5)
    rows = []
    for name, cohort, modality in (("CR", chest, None), ("DX", spaced, "DX"), ("CT", nodules, None), ("MR and CT", heads, None), ("OT", chest, "OT")):
        files = sk.to_dicom(cohort, place / f"dicom-{name}", modality=modality)
        errors = sum(map(len, map(complaints, files)))
        back = sk.load(place / f"dicom-{name}").version == cohort.version
        rows.append({"what": f"dciodvfy, {name}", "n": len(files), "errors": errors, "read back to the bit": back})
        print(rows[-1], flush=True)
        if cohort.space.dims == 3:
            rows.append({"what": f"SimpleITK, series of {name} as volumes", **volumes(place / f"dicom-{name}", cohort)})
    for name, cohort in (("chest", chest), ("heads", heads), ("edited", sk.Generator.pretrained("chest-phantom-64").using(steps=2).edit(
            sk.ChestPhantom(64).cohort(16, seed=6), {"effusion": "absent"}))):  # fmt: skip
        rows.append({"what": f"FHIR R4B resources, {name}", **bundles(sk.to_fhir(cohort, place / f"fhir-{name}"))})
        rows.append({"what": f"mlcroissant, {name}", **described(sk.to_croissant(cohort, place / f"croissant-{name}"), cohort)})
    return rows


def complaints(path: Path) -> list[str]:
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    return [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error") and YOUNGER not in line]


def volumes(folder: Path, cohort: sk.Cohort) -> dict[str, Any]:
    import SimpleITK as sitk

    good = count = 0
    for number, name in enumerate(cohort.table["image_id"]):
        for series in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder / name)):
            names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / name), series)
            volume, channel = sitk.ReadImage(names), int(Path(names[0]).name.split("-")[0])
            same = np.array_equal(sitk.GetArrayFromImage(volume), cohort.images.raw()[number, channel])
            good += same and np.allclose(volume.GetSpacing(), cohort.space.spacing_mm[::-1]) and volume.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
            count += 1
    return {"n": count, "errors": count - good}


def bundles(paths: list[Path]) -> dict[str, Any]:
    from fhir.resources.R4B import get_fhir_model_class

    kinds, errors = Counter(), 0
    for one, text in resources(paths):
        kinds[one["resourceType"]] += 1
        try:
            get_fhir_model_class(one["resourceType"]).model_validate(one)
        except ValueError:
            errors += 1
        errors += sum(f'"fullUrl": "{name}"' not in text for name in re.findall(r'"reference": "([^"]+)"', text)) if one["resourceType"] == "Bundle" else 0
    return {"n": kinds.total(), "errors": errors, "kinds": dict(kinds)}


def resources(paths: list[Path]) -> Iterator[tuple[dict[str, Any], str]]:
    for path in paths:
        text = path.read_text()
        bundle = json.loads(text)
        yield from ((one, text) for one in (bundle, *(entry["resource"] for entry in bundle["entry"])))


def described(path: Path, cohort: sk.Cohort) -> dict[str, Any]:
    import mlcroissant

    found = mlcroissant.Dataset(str(path))  # an error of validation is raised
    rows = pd.DataFrame(list(found.records("images")))
    wrong = 0
    for column in cohort.table.columns:
        values = [value.decode() if isinstance(value, bytes) else value for value in rows[f"images/{column}"]]
        wrong += sum(not (pd.isna(a) and pd.isna(b)) and a != b for a, b in zip(values, cohort.table[column]))
    return {"n": len(rows), "errors": len(found.metadata.ctx.issues.errors), "values that differ": wrong}


PARTS = {"corruptions": corruptions, "replay": replay, "exports": exports}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options.add_argument("--corruptions", type=int, default=1000)
    options.add_argument("--images", type=int, default=256)
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("absl").setLevel(logging.ERROR)
    place = RESULTS / "evidence-cpu.json"
    for part in args.parts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SYNTHKIT_CONFIG"] = str(Path(folder) / "config")
            began = time.perf_counter()
            rows = PARTS[part](args, Path(folder))
        print(f"\n{part}\n{pd.DataFrame(rows).to_string(index=False, na_rep='', max_colwidth=60)}", flush=True)
        if args.record:
            facts = {"date": f"{date.today()}", "machine": platform.machine(), "threads": 1, "torch": torch.__version__,
                     "seconds": round(time.perf_counter() - began)}  # fmt: skip
            before = json.loads(place.read_text()) if place.is_file() else {}
            place.write_text(json.dumps(before | {part: facts | {"rows": rows}}, indent=1, default=int) + "\n")


if __name__ == "__main__":
    main()

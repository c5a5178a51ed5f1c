"""Generator families of equal training time side by side, on the phantom or on NIH films.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_compare.py [chest-phantom | nih-cxr64] [--minutes 9] [--count 400] [--folder compare] [--record]

The folder keeps the trained generators, the table, its figure and the sheet of images; look at the sheet.
"""
import argparse
import json
import platform
from datetime import date
from pathlib import Path

import numpy as np
import torch

import synthkit as sk

FAMILIES = {
    "Diffusion": sk.Diffusion(), "VAE": sk.VAE(options={"patch": 2, "widths": (32, 64, 96, 128)}, cut=0.25),
    "GAN": sk.GAN(widths=(128, 80, 40, 20), gamma=2.0, augment=0.1),
}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", nargs="?", choices=("chest-phantom", "nih-cxr64"), default="chest-phantom")
    options.add_argument("--minutes", type=float, default=9)
    options.add_argument("--count", type=int, default=400)
    options.add_argument("--folder", type=Path, default=Path("compare"))
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    chest = sk.ChestPhantom(size=64) if args.data == "chest-phantom" else None
    data = sk.load(args.data)
    versus = sk.compare(FAMILIES, data, truth=chest, budget=sk.Minutes(args.minutes), count=args.count, run=args.folder)
    print(versus.overview().to_string(), *versus.caveats(), sep="\n")
    sk.Report(versus.title, [versus]).save(args.folder / "report.html")
    versus.sheet().write_html(args.folder / "sheet.html")
    if args.record:
        rows = versus.frame().replace({np.nan: None}).to_dict("records")
        about = {"date": f"{date.today()}", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
                 "threads": torch.get_num_threads(), "minutes": args.minutes, "count": args.count, "rows": rows, "notes": versus.caveats()}  # fmt: skip
        place = Path(__file__).parent / "results" / f"compare-{args.data}.json"
        place.write_text(json.dumps(about, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()

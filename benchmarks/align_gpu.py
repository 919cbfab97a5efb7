"""How fast IndicConformer listens: a model of the published size with random weights, in the stand-in's form.

    python -m benchmarks.align_gpu [--clips 1000] [--seconds 8] [--device auto] [--threads 2] [--write]

24 layers of width 1024, some 600M weights, 2.4 GB. The plan is 1000 clips of 8 s in 15 s: 533 times real time. Random
weights cost what trained ones do; what is heard is noise.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import standin
from lipika.alignment.indicconformer import IndicConformer, Speech
from lipika.languages import FIRST_CLASS

RESULTS = Path(__file__).parent / "results" / "align_gpu.json"
WINDOW_CLIPS, WINDOW_S = 1000, 15.0


def clips(count: int, seconds: float) -> list[Speech]:
    """Clips around a length, as polishing gives them, in all languages."""
    random = np.random.default_rng(1)
    lengths = np.clip(random.normal(seconds, seconds / 4, count), 2.0, 15.3)
    lengths *= seconds / lengths.mean()
    return [
        Speech(random.normal(0, 1500, int(length * 16_000)).astype(np.int16), FIRST_CLASS[number % 12])
        for number, length in enumerate(lengths)
    ]


def gpu() -> tuple[str, int] | None:
    """Name and memory in use, MiB; None without one."""
    query = ["nvidia-smi", "--query-gpu=name,memory.used", "--format=csv,noheader,nounits"]
    try:
        name, used = (
            subprocess.run(query, capture_output=True, text=True, check=True)
            .stdout.split("\n")[0]
            .split(", ")
        )
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return name, int(used)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.align_gpu", description=__doc__)
    parser.add_argument("--clips", type=int, default=WINDOW_CLIPS)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        standin.write_conformer(Path(folder), standin.Size(layers=given.layers))
        started = time.monotonic()
        model = IndicConformer(Path(folder), device=given.device, threads=given.threads)
        opened_s = time.monotonic() - started
        made = clips(given.clips, given.seconds)
        warm = min(32, given.clips)
        started = time.monotonic()
        model.hear(made[:warm])
        first_s = time.monotonic() - started
        started, cpu = time.monotonic(), time.process_time()
        model.hear(made)
        wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
    seen = gpu()
    audio_s = sum(len(clip.samples) for clip in made) / 16_000
    busy_s = wall_s if model.device == "cuda" else cpu_s / given.threads
    held = {
        "device": seen[0] if seen and model.device == "cuda" else "CPU",
        "threads": given.threads,
        "layers": given.layers,
        "clips": len(made),
        "audio_s": round(audio_s, 1),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "clips_per_second": round(len(made) / busy_s, 2),
        "times_real_time": round(audio_s / busy_s, 1),
        "window_s": round(WINDOW_CLIPS * 8.0 / (audio_s / busy_s), 1),
        "opened_s": round(opened_s, 1),
        "first_s": round(first_s, 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "gpu_memory_mb": seen[1] if seen and model.device == "cuda" else None,
    }
    print(json.dumps(held, indent=1))
    print(f"1000 clips of 8 s: {held['window_s']} s; ALIGN_SECONDS leaves {WINDOW_S:g}")
    if given.write:
        RESULTS.write_text(json.dumps(held, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

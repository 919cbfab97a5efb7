"""lipika as a stage of NeMo Curator: their manifest in, their manifest out, with `pred_text` and `_skipme`.

    GEMINI_API_KEY=... python examples/curator_stage.py MANIFEST.json PREDICTED.jsonl

Takes nemo-curator (its reader and writer of audio manifests; 1.4.0 was tried) beside lipika. Stages run here one
after the other, without Ray: `transcribe` is what a `process_batch` of a stage of yours calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from nemo_curator.stages.audio.common import ManifestReaderStage, ManifestWriterStage
from nemo_curator.tasks import AudioTask, FileGroupTask


def transcribe(tasks: list[AudioTask]) -> list[AudioTask]:
    """The tasks of a batch with lipika's texts, in their order."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rows = [{**task.data, "id": str(at)} for at, task in enumerate(tasks)]
        (work / "manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lipika = [sys.executable, "-m", "lipika"]
        run = subprocess.run(
            [*lipika, "run", str(work / "manifest.json"), "--out", str(work / "out")], check=False
        )
        if run.returncode not in (0, 1):  # 1: rows were refused, which have no prediction below
            raise SystemExit(run.returncode)
        predicted_path = work / "predicted.json"
        subprocess.run([*lipika, "score", str(work / "out"), "--manifest", str(predicted_path)], check=True)
        found = map(json.loads, predicted_path.read_text().splitlines())
        predicted = {row["id"]: row for row in found}
    for at, task in enumerate(tasks):
        row = predicted.get(str(at), {"pred_text": "", "_skipme": "not_packed"})
        task.data |= {key: row[key] for key in ("pred_text", "pred_lang", "_skipme") if key in row}
    return tasks


def main(manifest: str, predicted: str) -> None:
    """Read, transcribe, write."""
    reader, writer = ManifestReaderStage(), ManifestWriterStage(output_path=predicted)
    writer.setup()
    tasks = reader.process(FileGroupTask(dataset_name="mine", data=[manifest]))
    for task in transcribe(tasks):
        writer.process(task)


if __name__ == "__main__":
    main(*sys.argv[1:])

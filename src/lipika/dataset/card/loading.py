"""The lines of code that load an export, by its format. Pure."""

from __future__ import annotations

_HUB = """Install `pip install "datasets[audio]"`; decoding needs FFmpeg's libraries, too.

```python
from pathlib import Path

from datasets import Audio, load_dataset

folder = str(Path.cwd())  # of this file; or "OWNER/NAME" on the hub
clips = load_dataset(folder, "{language}", split="{split}", streaming=True)
clips = clips.cast_column("audio", Audio(decode=False))  # leave it out to get samples
print(next(iter(clips)))
```
"""

_LINES = {
    "parquet": _HUB,
    "webdataset": """```python
import json
from pathlib import Path

import webdataset as wds  # pip install webdataset

shards = sorted(str(path) for path in Path("{tarset}").glob("*.tar"))
for clip in wds.WebDataset(shards, shardshuffle=False):
    row, audio = json.loads(clip["json"]), clip["{form}"]
    print(row["text"], len(audio))
    break
```

On the hub, `load_dataset("OWNER/NAME", "{language}", split="{split}", streaming=True)` does it, too, with
`pip install "datasets[audio]"` and FFmpeg's libraries.
""",
    "nemo": """NeMo reads tars and manifests together, as Lhotse datasets; `{input_cfg}` lists those of one split:

```yaml
train_ds:
  use_lhotse: true
  input_cfg: {input_cfg}
```
""",
    "shar": """```python
from lhotse import CutSet  # pip install lhotse

cuts = CutSet.from_shar(in_dir="{tarset}")
print(next(iter(cuts)).supervisions[0].text)
```
""",
    "kaldi": """Kaldi and ESPnet read the folders (`wav.scp`, `text`, `utt2spk`, ...) as they are; so does Lhotse:

```python
from lhotse.kaldi import load_kaldi_data_dir  # pip install lhotse

recordings, supervisions, _ = load_kaldi_data_dir("{tarset}", sampling_rate=16_000)
```
""",
    "ljspeech": "Point the trainer at a folder of one language and split, such as `{tarset}`: lines of\n"
    "`metadata.csv` are `id|text|normalized text`, and audio is in `wavs/` beside it.\n",
    "f5": "`prepare_csv_wavs.py` of F5-TTS makes its own files of a folder of one language and split:\n\n"
    "    python prepare_csv_wavs.py {tarset} prepared/\n",
}

_OTHER = "Point {reader} at this folder, or at the folder of one language and split.\n"


def lines_to_load(format_name: str, reader: str, places: dict[str, str]) -> str:
    """Markdown that loads one language and split. `places`: language, split, tarset, form, input_cfg."""
    text = _LINES.get(format_name, _OTHER)
    for name, value in ({"reader": reader} | places).items():
        text = text.replace(f"{{{name}}}", value)
    return text

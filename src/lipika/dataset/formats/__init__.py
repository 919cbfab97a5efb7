"""The formats: each a module that writes shards, reads them again, and adds what belongs to the whole."""

from __future__ import annotations

from collections.abc import Mapping

from lipika.dataset.formats.base import Format
from lipika.dataset.formats.f5 import F5
from lipika.dataset.formats.kaldi import Kaldi
from lipika.dataset.formats.ljspeech import LJSpeech
from lipika.dataset.formats.nemo import Nemo
from lipika.dataset.formats.parquet import Parquet
from lipika.dataset.formats.shar import Shar
from lipika.dataset.formats.webdataset import WebDataset

FORMATS: Mapping[str, Format] = {
    one.name: one for one in (Nemo(), Shar(), WebDataset(), Parquet(), Kaldi(), LJSpeech(), F5())
}
"""By name."""

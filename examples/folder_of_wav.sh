#!/usr/bin/env bash
# A folder of recordings (speaker/clip.wav, all Hindi) to a Hugging Face dataset:  GEMINI_API_KEY=... examples/folder_of_wav.sh FOLDER
set -euo pipefail
source=$1

lipika pack "$source" --dry-run --language hi # what is there, and what of it cannot be read
lipika run "$source" --out out/ --language hi --speaker folder || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika export parquet dataset/ --from out/ --lane any

#!/usr/bin/env bash
# A NeMo manifest, or a folder of tars with theirs, to the same rows with `pred_text`:  GEMINI_API_KEY=... examples/nemo_manifest.sh MANIFEST.json
set -euo pipefail
manifest=$1

lipika run "$manifest" --out out/ || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika score out/ --manifest predicted.json # CER and WER; the rows of NeMo Curator, with `_skipme`

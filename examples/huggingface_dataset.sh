#!/usr/bin/env bash
# A Hugging Face dataset on disk (Parquet, or save_to_disk) to one with lipika's texts:  GEMINI_API_KEY=... examples/huggingface_dataset.sh FOLDER
# From the hub first:  hf download --repo-type dataset NAME --local-dir FOLDER
set -euo pipefail
folder=$1

lipika run "$folder" --out out/ || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika score out/ --by-model # against the dataset's own transcripts
lipika export parquet dataset/ --from out/ --lane any

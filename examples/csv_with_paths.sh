#!/usr/bin/env bash
# A CSV with columns `path` and `text`, a language in `lang`, any others:  GEMINI_API_KEY=... examples/csv_with_paths.sh LIST.csv
set -euo pipefail
list=$1

lipika run "$list" --out out/ --language column:lang || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika score out/ # against the texts of the list
lipika export nemo dataset/ --from out/ --lane any

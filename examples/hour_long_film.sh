#!/usr/bin/env bash
# A film or a long recording, cut at speech:  GEMINI_API_KEY=... examples/hour_long_film.sh TALK.mp4
# Takes the extra `media`:  pip install 'lipika-speech[media]'
set -euo pipefail
film=$1

lipika pack "$film" --out tars/ --language hi || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika run tars/ --out out/ || [ $? = 1 ] # 1: something was refused, and the rest is done
lipika export webdataset dataset/ --from out/ --lane any

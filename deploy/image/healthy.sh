#!/bin/sh
# Is the worker alive? It touches HEALTH_FILE every few seconds while its event loop turns, whatever becomes of the
# network; commands that touch none count as healthy as long as they run. `lipika-healthy started` wants the file.
set -eu
file="${HEALTH_FILE:-/tmp/lipika-alive}"
if [ ! -e "$file" ]; then
  [ "${1:-}" != started ]
  exit
fi
[ -n "$(find "$file" -mmin -2)" ]

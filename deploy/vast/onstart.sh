#!/bin/bash
# For machines that are rented with SSH (`vastai create instance … --ssh --onstart deploy/vast/onstart.sh`) from any
# image with Python 3.11: installs lipika once, then keeps one worker running. The environment comes from the account.
# `lipika deploy vast` does not need it: it runs the lipika image as it is.
set -euo pipefail
exec >>/var/log/lipika.log 2>&1

# SSH images hand the container's environment to PID 1 only; the label is the worker's name.
while IFS= read -r -d '' line; do
  case "$line" in
    DATABASE_URL=* | GEMINI_* | OPENROUTER_* | R2_* | S3_* | STORE_URL=* | OUTPUT_URL=* | PROVIDER=* | MODEL_ID=* | VAST_CONTAINERLABEL=* | CONTAINER_ID=*)
      export "${line?}"
      ;;
  esac
done </proc/1/environ

venv=/opt/lipika
[ -x "$venv/bin/lipika" ] || {
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "${LIPIKA_PACKAGE:-lipika}"
}

id lipika >/dev/null 2>&1 || useradd --create-home lipika
while true; do
  code=0
  setpriv --reuid=lipika --regid=lipika --init-groups "$venv/bin/lipika" worker --json-logs || code=$?
  [ "$code" -eq 2 ] && exit 2 # a setting is wrong: starting again changes nothing
  sleep 15
done

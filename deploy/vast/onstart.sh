#!/bin/bash
# For machines that are rented with SSH (`vastai create instance … --ssh --onstart deploy/vast/onstart.sh`) from any
# image with Python 3.11: installs lipika once, then keeps one worker running. The environment comes from the account.
# `lipika deploy vast` does not need it: it runs the lipika image as it is.
set -euo pipefail
exec >>/var/log/lipika.log 2>&1

# SSH images hand the container's environment to PID 1 only. All settings of lipika are taken over from it, and the
# container's label, which is the worker's name.
while IFS= read -r -d '' line; do
  case "$line" in
    ALIGN_DEVICE=* | ALIGN_ROMANISER=* | ALIGN_SECONDS=* | ALIGN_THREADS=* | BATCH_INTERVAL_SECONDS=* | \
    BATCH_LAUNCH=* | CALIBRATION_FILE=* | DASHBOARD_TOKEN=* | DATABASE_URL=* | DRAIN_SECONDS=* | \
    ENABLE_GPU_VALIDATION=* | GEMINI_API_KEY=* | GEMINI_API_VERSION=* | GEMINI_BASE_URL=* | HEALTH_FILE=* | \
    HEARTBEAT_SECONDS=* | HF_TOKEN=* | INDICCONFORMER_PATH=* | INDICCONFORMER_REVISION=* | LEASE_SECONDS=* | \
    LIPIKA_DATA_DIR=* | LIVE_SECONDS=* | MAX_ATTEMPTS=* | MAX_BUFFER_MB=* | MAX_IN_FLIGHT=* | MAX_VIDEOS=* | \
    METRICS_HOST=* | METRICS_PORT=* | MODELS_FILE=* | MODEL_ID=* | OPENROUTER_API_KEY=* | \
    OPENROUTER_BASE_URL=* | OUTPUT_URL=* | PROVIDER=* | R2_ACCESS_KEY_ID=* | R2_ACCOUNT_ID=* | R2_BUCKET=* | \
    R2_SECRET_ACCESS_KEY=* | REQUEST_TIMEOUT_SECONDS=* | S3_ENDPOINT_URL=* | SEND_FORMAT=* | SPOOL_DIR=* | \
    STORE_URL=* | TEMPERATURE=* | THINKING_LEVEL=* | WORKER_BATCH_SIZE=* | WORKER_INSTANCE_ID=* | \
    WORKER_PROCESSES=* | VAST_CONTAINERLABEL=* | CONTAINER_ID=* | LIPIKA_PACKAGE=*)
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

#!/usr/bin/env bash
# Build the image and try it, with buildah and no container engine: `deploy/image/check.sh`, some minutes.
#
# A worker of the image finishes the sample archives against a simulator and a Postgres of the same image; SIGTERM
# drains it first. A secret that lies in the build context and in the environment must turn up in no layer and no log.
#
#   BUILDAH   global options of buildah, such as: --root /big/disk --storage-driver vfs
#   BUILD     further options of `buildah build`, such as: --build-arg BASE=my-python:3.11
#   IMAGE     an image that is there already: it is tried as it is, and no secret is planted in its build
set -euo pipefail
cd "$(dirname "$0")/../.."

read -ra options <<<"${BUILDAH:-}"
read -ra build <<<"${BUILD:-}"
image=${IMAGE:-lipika:check}
secret="sk-planted-$RANDOM$RANDOM$RANDOM"
port=8791
work=$(mktemp -d)
most_mb=350

b() { buildah "${options[@]}" "$@"; }
say() { printf '%s\n' "$*"; }
fail() {
  say "FAILED: $*"
  exit 1
}

container=
simulator=
# shellcheck disable=SC2329 # called by trap
clean() {
  [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
  wait
  [ -z "$container" ] || b rm "$container" >/dev/null || true
  rm -rf "$work"
}
trap clean EXIT

# ---- build, with a secret lying about
if [ -z "${IMAGE:-}" ]; then
  mkdir "$work/context"
  git ls-files -z | xargs -0 cp --parents -t "$work/context"
  printf 'GEMINI_API_KEY=%s\n' "$secret" | tee "$work/context/.env" >"$work/context/src/.env"
  b build --isolation chroot --format docker --target cpu "${build[@]}" -t "$image" "$work/context" \
    >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; fail "the build"; }
fi

# ---- what is in it
b push -q "$image" "dir:$work/layers"
for layer in "$work"/layers/*; do
  if gzip -dcf "$layer" | grep -qaF "$secret"; then fail "the secret is in $layer"; fi
done
size_mb=$(($(gzip -dcf "$work"/layers/* | wc -c) / 1000000))
packed_mb=$(($(cat "$work"/layers/* | gzip -1cf | wc -c) / 1000000))
config=$(b inspect --type image "$image")
for wanted in '"User": "10001:10001"' '"tini"' '"lipika-healthy"' '"StopSignal": "SIGTERM"'; do
  grep -qF "$wanted" <<<"$config" || fail "the image's configuration lacks $wanted"
done
say "layers: $size_mb MB, $packed_mb MB packed; no secret in $(find "$work/layers" -type f | wc -l) files"
[ "$size_mb" -le "$most_mb" ] || fail "over $most_mb MB"

# ---- run it
container=$(b from "$image")
lipika() { # without a terminal, as user 10001, with the secret as key
  b run --isolation chroot --user 10001:10001 \
    --env GEMINI_API_KEY="$secret" --env GEMINI_BASE_URL="http://127.0.0.1:$port" \
    --env OUTPUT_URL=/var/lib/lipika/out "$container" -- "$@"
}
say "$(lipika tini -- lipika version)"
[ "$(lipika id -u)" = 10001 ] || fail "it runs as somebody else"
if lipika touch /opt/lipika/x 2>/dev/null; then fail "the program's files can be written"; fi
samples=$(lipika python -c 'import lipika, os; print(os.path.join(lipika.__path__[0], "samples"))')

lipika sh -c "echo \$\$ > /var/lib/lipika/simulator.pid; exec tini -- lipika simulator --port $port --latency 3" \
  >"$work/simulator.log" 2>&1 &
lipika tini -- lipika queue add "$samples"
simulator=$(lipika cat /var/lib/lipika/simulator.pid)

# ---- SIGTERM drains
lipika sh -c 'echo $$ > /var/lib/lipika/worker.pid; exec tini -- lipika worker --json-logs' >"$work/first.log" 2>&1 &
first=$!
for _ in $(seq 60); do
  sleep 1
  if lipika lipika-healthy started 2>/dev/null && [ "$(lipika lipika status --json | grep -c '"state": "live"')" = 1 ]; then break; fi
done
lipika lipika-healthy started || fail "the health check does not see the worker: $(tail -3 "$work/first.log")"
sleep 2
kill -TERM "$(lipika cat /var/lib/lipika/worker.pid)"
wait "$first" || fail "the worker ended with code $? on SIGTERM: $(tail -3 "$work/first.log")"
grep -q '"event": "draining"' "$work/first.log" || fail "the worker did not drain"
lipika lipika queue status --json >"$work/drained.json"
grep -qE '"(claimed|processing)": [1-9]' "$work/drained.json" && fail "videos stayed claimed: $(cat "$work/drained.json")"
say "SIGTERM: drained, exit code 0, no video left claimed"

# ---- and another finishes
lipika tini -- lipika worker --json-logs --until-empty >"$work/second.log" 2>&1 || fail "the second worker: $(tail -3 "$work/second.log")"
lipika lipika queue status --json >"$work/done.json"
grep -qE '"done": 12' "$work/done.json" || fail "not all videos are done: $(cat "$work/done.json")"
if grep -laF "$secret" "$work"/*.log "$work"/*.json; then fail "the secret is in a log"; fi
say "the queue is finished: 12 of 12 videos, $(lipika sh -c 'ls /var/lib/lipika/out/*.tar | wc -l') result archives"

#!/bin/bash
# For machines rented with SSH, from any image with Python 3.11: docs/deploy.md. Installs what LIPIKA_PACKAGE names, once,
# then keeps one worker running. If that cannot be, it says so here and in `vastai logs`, and stops the machine.
# vast.ai takes no more than 4048 characters.
set -eEuo pipefail
exec >>"${LIPIKA_LOG:-/var/log/lipika.log}" 2>&1
pid1=${LIPIKA_PID1:-/proc/1}

say() { echo "lipika: $1" | tee -a "$pid1/fd/1" || true; }
stop() {
  "$@" python3 - "$pid1" "${LIPIKA_VAST:-https://console.vast.ai}" <<'END'
import sys, urllib.request as web
env = dict(x.split("=", 1) for x in open(sys.argv[1] + "/environ").read().split("\0") if "=" in x)
url = f"{sys.argv[2]}/api/v0/instances/{env['CONTAINER_ID']}/"
head = {"Authorization": "Bearer " + env["CONTAINER_API_KEY"], "Content-Type": "application/json"}
web.urlopen(web.Request(url, b'{"state": "stopped"}', head, method="PUT"), timeout=60)
END
}
give_up() {
  trap - ERR
  say "$1. This machine stops."
  for wait in 0 20 60 300; do
    sleep "$wait"
    # A wrong proxy among the settings must not keep it running, nor must a right one be left out.
    if stop env -i PATH="$PATH" || stop env; then exit 1; fi
  done
  say "vast.ai did not stop it. Stop it by hand."
  exit 1
}
trap 'give_up "the installation failed (line $LINENO), see /var/log/lipika.log"' ERR

# SSH images hand the environment to PID 1 only.
declare -A given
while IFS= read -r -d '' line; do
  case "$line" in [A-Za-z_]*=*) given[${line%%=*}]=${line#*=} ;; esac
done <"$pid1/environ"
package=${given[LIPIKA_PACKAGE]:-}

venv=${LIPIKA_VENV:-/opt/lipika}
[ -n "$package" ] || give_up "LIPIKA_PACKAGE does not say what to install"
if [ ! -e "$venv/whole" ]; then
  rm -rf "$venv"
  mkdir -p "$venv"
  if [ -d "$package" ]; then cp -r "$package" "$venv/checkout"; else
    python3 - "$package" "$venv/checkout" <<'END'
import hashlib, io, sys, tarfile, urllib.request as web
url, _, digest = sys.argv[1].partition("#sha256=")
packed = web.urlopen(url, timeout=60).read()
if hashlib.sha256(packed).hexdigest() != digest:
    sys.exit(f"LIPIKA_PACKAGE: what lies at {url} is not what #sha256={digest} stands for")
tarfile.open(fileobj=io.BytesIO(packed)).extractall(sys.argv[2])
END
    mv "$venv"/checkout/*/* "$venv/checkout"
  fi
  python3 -m venv "$venv"
  cd "$venv/checkout"
  "$venv/bin/pip" install -q --no-deps --require-hashes --only-binary :all: -r requirements.lock -r deploy/image/build.lock
  "$venv/bin/pip" install -q --no-deps --no-build-isolation .
  "$venv/bin/pip" check
  "$venv/bin/lipika" version
  id lipika >/dev/null 2>&1 || useradd --create-home lipika
  touch "$venv/whole"
fi

# All settings are taken over, whatever it takes to reach others, and the label, which is the worker's name.
names=$("$venv/bin/python" -c 'from lipika.config import Settings; print(*Settings.model_fields)')
for name in ${names^^} VAST_CONTAINERLABEL CONTAINER_ID {HTTPS,HTTP,NO}_PROXY SSL_CERT_FILE REQUESTS_CA_BUNDLE; do
  [ -z "${given[$name]+x}" ] || export "$name=${given[$name]}"
done

cd /
short=0
while true; do
  code=0 began=$SECONDS
  setpriv --reuid=lipika --regid=lipika --init-groups "$venv/bin/lipika" worker --json-logs || code=$?
  [ "$code" -ne 0 ] || give_up "the worker was told to end"
  [ "$code" -ne 2 ] || give_up "a setting is wrong, see above"
  [ $((SECONDS - began)) -lt 300 ] && short=$((short + 1)) || short=0
  [ "$short" -lt 5 ] || give_up "the worker ended five times within minutes, see above"
  sleep 15
done

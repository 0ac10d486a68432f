#!/usr/bin/env bash
# Measures the numbers of the README: `bench.sh PROGRAM`. It first prints the machine, its load and the commit, because
# a number means nothing without them.
set -euo pipefail
program=$(realpath -- "${1:?usage: bench.sh PROGRAM}")

echo "machine   $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r)"
echo "load      $(cut -d' ' -f 1-3 /proc/loadavg) (other work makes every number below worse)"
echo "commit    $(git -C "$(dirname "$0")" describe --always --dirty 2>/dev/null || echo unknown)"

run() {
  echo
  echo "== netssmd $*"
  "$program" "$@"
}
for precision in f32 int8; do
  run bench generate --label youtube --packets 200 --batches 1,16,64 --seconds 10 --precision $precision
done
run bench scan
run bench inject
run bench write

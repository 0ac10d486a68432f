#!/usr/bin/env bash
# What a `cuda` build says on hosts that cannot run it, one after the other: `errors.sh PROGRAM`
#
# A driver of our own stands in for libcuda.so.1. It answers version, number of devices and capability as the case has it,
# and refuses everything else, so no GPU is needed. Out of memory, and what only a device shows, is for model/tests/gpu.
set -euo pipefail
program=$(realpath -- "${1:?usage: errors.sh PROGRAM}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

answered='cuInit cuDriverGetVersion cuDeviceGetCount cuDeviceGet cuDeviceGetAttribute cuDeviceGetName cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuCtxGetCurrent cuCtxSetCurrent'
{
  cat <<'C'
#include <stdlib.h>
#include <string.h>
static int number(const char *name) { const char *value = getenv(name); return value ? atoi(value) : 0; }
int cuInit(unsigned flags) { (void)flags; return number("FAKE_INIT"); }
int cuDriverGetVersion(int *out) { *out = number("FAKE_VERSION"); return 0; }
int cuDeviceGetCount(int *out) { *out = number("FAKE_DEVICES"); return 0; }
int cuDeviceGet(int *out, int ordinal) { *out = ordinal; return 0; }
int cuDeviceGetName(char *out, int room, int device) { (void)device; strncpy(out, "Fake T4", room); return 0; }
int cuDevicePrimaryCtxRetain(void **out, int device) { (void)device; *out = &cuInit; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return 0; }
int cuCtxGetCurrent(void **out) { *out = 0; return 0; }
int cuCtxSetCurrent(void *context) { (void)context; return 0; }
/* 75 and 76 are the parts of the compute capability. */
int cuDeviceGetAttribute(int *out, int what, int device) {
  (void)device;
  *out = what == 75 ? number("FAKE_CAPABILITY") / 10 : what == 76 ? number("FAKE_CAPABILITY") % 10 : 0;
  return 0;
}
C
  # Everything else that the program asks the loader for: CUDA_ERROR_UNKNOWN.
  nm -D --undefined-only "$program" | awk '{print $2}' | grep -E '^cu[A-Z]' | sort -u |
    grep -vE "^(cublas|curand|cuda)" | while read -r name; do
      [[ " $answered " == *" $name "* ]] || echo "int $name(void) { return 999; }"
    done
} >"$work/driver.c"
cc -shared -fPIC -w -fno-builtin -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so.1" "$work/driver.c"
nvcc=$(command -v nvcc) || { echo "errors: no nvcc on PATH: CUDA's libraries are looked for beside it" >&2; exit 1; }
libraries=$(dirname -- "$nvcc")/../lib
export LD_LIBRARY_PATH=$work:$libraries:$libraries/x64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

failed=0
case_() { # NAME PATTERN VARIABLE...
  local name=$1 pattern=$2 code=0 said
  shift 2
  said=$(env "$@" "$program" generate --label youtube --sessions 1 --packets 1 --seed 1 --out "$work/x.pcap" --device cuda:0 2>&1) || code=$?
  if [[ $code == 78 && $said =~ $pattern && ! -e $work/x.pcap ]]; then echo "passed  $name: $said"; else
    failed=1
    echo "FAILED  $name: exit code $code (expected 78), expected a message like '$pattern', got: $said"
  fi
}
case_ "no driver behind the library" 'no CUDA on this host' FAKE_VERSION=0
case_ "an old driver" 'the driver supports CUDA 11\.4, but this program was built with' FAKE_VERSION=11040
case_ "no device" 'there is no device cuda:0: this host has 0' FAKE_VERSION=99000 FAKE_DEVICES=0
case_ "no kernel module" 'there is no device cuda:0: this host has 0' FAKE_VERSION=99000 FAKE_INIT=304
case_ "an old device" 'Fake T4 has compute capability 7\.5, but the kernels need 8\.0' \
  FAKE_VERSION=99000 FAKE_DEVICES=1 FAKE_CAPABILITY=75
exit $failed

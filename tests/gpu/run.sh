#!/usr/bin/env bash
# Checks, times and trains on this machine's GPU with what pack.sh packed; builds nothing: `run.sh [checks|bench|train|all]...`
#
# Logs, reports and weights go to $OUT (gpu-out beside this script), each file below 16 MB. A step that fails is named at the end and
# makes the exit code 1; the steps after it run all the same.
set -uo pipefail
kit=$(dirname -- "$(realpath -- "$0")")
out=${OUT:-$kit/gpu-out}
mkdir -p "$out"
export NETSSMD_MODELS=$kit/models NETSSMD_REQUIRE_GPU=1
failed=()

step() { # NAME COMMAND...
  local name=$1 begun=$SECONDS
  shift
  echo "== $name: $*"
  if "$@" >"$out/$name.log" 2>&1; then echo "   passed after $((SECONDS - begun)) s"; else
    failed+=("$name")
    echo "   FAILED with $? after $((SECONDS - begun)) s"
  fi
  tail -n 20 "$out/$name.log"
}

machine() {
  echo "commit $(cat "$kit/commit"), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv
}

checks() {
  for test in "$kit"/tests/*; do step "${test##*/}" timeout 300 "$test" --nocapture; done
}

bench() {
  local program=$kit/netssmd paper=(--layers 24 --dim 768 --state 128 --batch 1 --length 8192 --device cuda --bf16 --seconds 10)
  step scan timeout 120 "$program" bench scan --device cuda:0 --json
  for precision in f32 bf16 bf16-state; do
    step "generate-$precision" timeout 120 "$program" bench generate --device cuda:0 --precision $precision \
      --label youtube --packets 500 --batches 64,512,2048,4096 --seconds 5 --json
  done
  if python3 -c 'import torch' 2>/dev/null; then
    step pytorch timeout 120 python3 "$kit/torch_train.py" "${paper[@]}" --which compact
    step pytorch-compiled timeout 120 python3 "$kit/torch_train.py" "${paper[@]}" --which compact --compile
    if python3 -c 'import transformers' 2>/dev/null; then
      step pytorch-transformers timeout 120 python3 "$kit/torch_train.py" "${paper[@]}" --which transformers
    else echo "== transformers: not installed here, not compared"; fi
  else echo "== pytorch: not installed here, not compared"; fi
}

# Trains for so many seconds: SIGTERM ends a run with a checkpoint.
trained() { # NAME CONFIG SECONDS
  local run=/tmp/netssmd-gpu-$1
  rm -rf "$run"
  timeout --preserve-status --signal TERM --kill-after 60 "$3" "$kit/netssmd" train --device cuda:0 --corpus "$kit/corpus" --config "$2" --out "$run"
  local code=$?
  cp "$run/train.jsonl" "$out/train-$1.jsonl"
  return $code
}

train() {
  if [[ ! -d $kit/corpus ]]; then
    echo "== train: left out, pack.sh was given no corpus"
    return
  fi
  step train-paper trained paper "$kit/paper.toml" 150
  step train-default trained default "$kit/models/default/train.toml" 270
  local newest
  newest=$(find /tmp/netssmd-gpu-default -maxdepth 1 -name 'step-*' | sort | tail -n 1)
  for file in "$newest"/*; do
    if [[ -f $file && $(stat -c %s "$file") -lt 16000000 ]]; then cp "$file" "$out/"; else echo "   $file is larger than 16 MB: left there"; fi
  done
}

machine | tee "$out/machine.txt"
for what in "${@:-all}"; do
  case $what in
    checks | bench | train) "$what" ;;
    all) checks; bench; train ;;
    *) echo "run.sh: expected checks, bench, train or all, got '$what'" >&2; exit 2 ;;
  esac
done
if ((${#failed[@]})); then echo "FAILED: ${failed[*]}"; exit 1; fi
echo "all steps passed"

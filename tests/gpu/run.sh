#!/usr/bin/env bash
# Checks, times and trains on this machine's GPU with what pack.sh packed beside it; builds nothing:
# `run.sh [checks|bench|train|all]...`
#
# To $OUT (gpu-out beside this script) go machine.txt, summary.txt, logs-*.tar.gz with every step's log, report and loss
# curve, and the trained weights; each file below 16 MB. A step that fails is named at the end and makes the exit code 1; the steps
# after it run all the same.
set -uo pipefail
kit=$(dirname -- "$(realpath -- "$0")")
out=${OUT:-$kit/gpu-out}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
inside=$work/kit logs=$work/logs
mkdir "$inside" "$logs"
# Where there is no xz, Python has its own.
tar -C "$inside" -xJf "$kit/kit.tar.xz" 2>/dev/null ||
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$kit/kit.tar.xz" "$inside" ||
  { echo "run.sh: cannot unpack $kit/kit.tar.xz" >&2; exit 2; }
export NETSSMD_MODELS=$inside/models NETSSMD_REQUIRE_GPU=1
program=$inside/netssmd
failed=()

# CUDA's libraries are where the loader looks, where the toolkit and the driver put them, or where Python's packages have them.
packages='import glob, sysconfig; print(*glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib"))'
for folder in /usr/local/cuda/lib64 /usr/local/nvidia/lib64 $(python3 -c "$packages" 2>/dev/null); do
  if [[ -d $folder ]]; then export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder; fi
done
if missing=$(ldd "$program" | grep 'not found'); then
  echo "run.sh: libraries that the program needs are not on this machine:" >&2
  echo "$missing" >&2
  exit 2
fi

step() { # NAME COMMAND...
  local name=$1 begun=$SECONDS code=0
  shift
  echo "== $name: $*"
  "$@" >"$logs/$name.log" 2>&1 || code=$?
  if ((code == 0)); then echo "   passed after $((SECONDS - begun)) s"; else
    failed+=("$name")
    echo "   FAILED with $code after $((SECONDS - begun)) s"
  fi
  tail -n 20 "$logs/$name.log"
}

machine() {
  echo "commit $(cat "$inside/commit"), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv
}

checks() { step checks timeout 500 "$inside/gpu" --nocapture --test-threads 1; }

bench() {
  local paper=(--layers 24 --dim 768 --state 128 --batch 1 --length 8192 --device cuda --bf16 --seconds 10)
  local generate=("$program" bench generate --device cuda:0 --label youtube --packets 500 --seconds 5 --json)
  step scan timeout 60 "$program" bench scan --device cuda:0 --json
  step scan-paper timeout 60 "$program" bench scan --device cuda:0 --json --heads 24 --d-state 128 --batch 1 --lengths 1024,8192
  for precision in f32 bf16 bf16-state; do
    step "generate-$precision" timeout 60 "${generate[@]}" --precision $precision --batches 64,512,2048,4096
    # State at this size is 19 MB a session: what does not fit is refused, and says what would.
    step "generate-paper-$precision" timeout 90 "${generate[@]}" --precision $precision --batches 64,512,1024 --untrained "$inside/paper.toml"
  done
  if python3 -c 'import torch' 2>/dev/null; then
    step pytorch timeout 60 python3 "$inside/torch_train.py" "${paper[@]}" --which compact
    step pytorch-compiled timeout 120 python3 "$inside/torch_train.py" "${paper[@]}" --which compact --compile
    if python3 -c 'import transformers' 2>/dev/null; then
      step pytorch-transformers timeout 60 python3 "$inside/torch_train.py" "${paper[@]}" --which transformers
    else echo "== transformers: not installed here, not compared"; fi
  else echo "== pytorch: not installed here, not compared"; fi
}

# Trains for so many seconds: SIGTERM ends a run with a checkpoint.
trained() { # NAME CONFIG SECONDS
  local run=$work/$1
  timeout --preserve-status --signal TERM --kill-after 60 "$3" "$program" train --device cuda:0 --corpus "$inside/corpus" --config "$2" --out "$run"
  local code=$?
  if [[ -e $run/train.jsonl ]]; then cp "$run/train.jsonl" "$logs/train-$1.jsonl"; fi
  return $code
}

train() {
  if [[ ! -d $inside/corpus ]]; then
    echo "== train: left out, pack.sh was given no corpus"
    return
  fi
  step train-paper trained paper "$inside/paper.toml" 150
  step train-default trained default "$inside/models/default/train.toml" 270
  local newest file
  newest=$(find "$work" -maxdepth 2 -path "$work/default/step-*" | sort | tail -n 1)
  if [[ -z $newest ]]; then
    echo "   no checkpoint was written"
    return
  fi
  # What resumes a run stays behind: it is as large as the weights twice.
  for file in "$newest"/*; do
    [[ -f $file ]] || continue
    if (($(stat -c %s "$file") < 16000000)); then cp "$file" "$out/"; else echo "   ${file##*/} is larger than 16 MB: left there"; fi
  done
}

(($#)) || set -- all
machine 2>&1 | tee "$out/machine.txt"
for what in "$@"; do
  case $what in
    checks | bench | train) "$what" ;;
    all) checks; bench; train ;;
    *) echo "run.sh: expected checks, bench, train or all, got '$what'" >&2; exit 2 ;;
  esac
done
tar -C "$logs" -czf "$out/logs-$(IFS=-; echo "$*").tar.gz" .
if ((${#failed[@]})); then result="FAILED: ${failed[*]}"; else result="all steps of $* passed"; fi
echo "$result" | tee "$out/summary.txt"
((${#failed[@]} == 0))

#!/usr/bin/env bash
# What a GPU machine with nothing but a driver and CUDA's libraries needs to check this tree: `pack.sh FOLDER [CORPUS]`
#
# Builds here, with feature `cuda` (no GPU needed, CUDA's compiler is), and leaves in FOLDER run.sh, which builds nothing, and
# kit.tar.xz, which it unpacks: the program, the GPU tests, the models, the corpus (as `netssmd prepare` makes one; without
# it the training run is left out, and says so). Then, over there: `FOLDER/run.sh all`.
set -euo pipefail
kit=${1:?usage: pack.sh FOLDER [CORPUS]}
corpus=${2:+$(realpath -- "$2")}
here=$(dirname -- "$(realpath -- "$0")")
root=$(realpath -- "$here/../..")
mkdir -p "$kit"
kit=$(realpath -- "$kit")

command -v nvcc >/dev/null || { echo "pack: no nvcc on PATH: CUDA's compiler is needed for feature cuda" >&2; exit 1; }
cd "$root"
# One command, so that both have candle with the same features and its kernels are compiled once.
built=$(cargo build --release --locked -p netssmd -p netssm-model --features netssmd/cuda,netssm-model/cuda \
  --bin netssmd --test gpu --message-format json-render-diagnostics | grep -oE '"executable":"[^"]+"' | cut -d'"' -f4)

inside=$(mktemp -d)
trap 'rm -rf -- "$inside"' EXIT
mkdir "$inside/models"
for file in $built; do
  name=${file##*/}
  strip -o "$inside/${name%%-*}" "$file"
done
test -x "$inside/netssmd" && test -x "$inside/gpu"
"$here/errors.sh" "$inside/netssmd"
cp -r configs/models/. "$inside/models/"
cp "$here/paper.toml" tests/tools/torch_train.py "$inside/"
git describe --always --dirty >"$inside/commit"
if [[ -n $corpus ]]; then cp -r "$corpus" "$inside/corpus"; else echo "pack: no corpus given: run.sh will not train"; fi
cp "$here/run.sh" "$kit/"
# A window that spans both programs finds candle's kernels, which each has, once.
tar -C "$inside" -c . | xz -T1 --lzma2=preset=6,dict=192MiB >"$kit/kit.tar.xz"
du -h "$kit"/*

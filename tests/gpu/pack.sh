#!/usr/bin/env bash
# What a GPU machine with nothing but a driver and CUDA's libraries needs to check this tree: `pack.sh FOLDER [CORPUS]`
#
# Builds here, with feature `cuda` (no GPU needed, CUDA's compiler is), and leaves in FOLDER the program, the GPU tests, the
# models, the corpus (as `netssmd prepare` makes one; without it the training run is left out, and says so), and run.sh,
# which builds nothing. Then, over there: `FOLDER/run.sh all`.
set -euo pipefail
kit=${1:?usage: pack.sh FOLDER [CORPUS]}
corpus=${2:+$(realpath -- "$2")}
here=$(dirname -- "$(realpath -- "$0")")
root=$(realpath -- "$here/../..")
mkdir -p "$kit"
kit=$(realpath -- "$kit")

command -v nvcc >/dev/null || { echo "pack: no nvcc on PATH: CUDA's compiler is needed for feature cuda" >&2; exit 1; }
cd "$root"
cargo build --release --locked -p netssmd --features cuda
target=$(cargo metadata --format-version 1 --no-deps --locked | grep -oE '"target_directory":"[^"]+"' | cut -d'"' -f4)
tests=$(cargo test --release --locked -p netssm-model --features cuda --test gpu_decode --test gpu_train --no-run --message-format json |
  grep -oE '"executable":"[^"]+"' | cut -d'"' -f4)

rm -rf "$kit/tests" "$kit/models" "$kit/corpus"
mkdir -p "$kit/tests" "$kit/models"
strip -o "$kit/netssmd" "$target/release/netssmd"
for test in $tests; do
  name=${test##*/}
  strip -o "$kit/tests/${name%-*}" "$test"
done
cp -r configs/models/. "$kit/models/"
cp "$here/run.sh" "$here/paper.toml" tests/tools/torch_train.py "$kit/"
git describe --always --dirty >"$kit/commit"
if [[ -n $corpus ]]; then cp -r "$corpus" "$kit/corpus"; else echo "pack: no corpus given: run.sh will not train"; fi
du -sh "$kit"

#!/usr/bin/env bash
# Checks that `netssmd run` keeps up for any time with half of the load that the model can generate: `sustain.sh PROGRAM
# [SECONDS [BENCH OPTION...]]`
#
# It measures the rate of `bench generate`, writes a profile that plays half of it, each session once, and runs that for
# SECONDS (default 600) into rolling captures. Every half minute and at the end it shows packets generated and written,
# arrivals that had to wait for the model (underruns), and resident memory. It fails if there was an underrun or nothing
# was written.
set -euo pipefail
program=$(realpath -- "${1:?usage: sustain.sh PROGRAM [SECONDS [BENCH OPTION...]]}")
seconds=${2:-600}
label=youtube packets=200 batch=32 precision=f32
options=("${@:3}")
for ((i = 0; i < ${#options[@]}; i++)); do
  case ${options[i]} in --precision) precision=${options[i + 1]} ;; esac
done

work=$(mktemp -d)
run=
trap '[[ -z $run ]] || kill "$run" 2>/dev/null || true; rm -rf "$work"' EXIT

field() { grep -oE "\"$1\": *[0-9.]+" "$work/bench.json" | head -n 1 | grep -oE '[0-9.]+$'; }
"$program" bench generate --label $label --packets $packets --batches $batch --seconds 20 --precision "$precision" --json >"$work/bench.json"
reached=$(field packets_per_second)
length=$(awk "BEGIN { mean = $(field packets) / $(field sessions); print mean < $packets ? mean : $packets }")
rate=$(awk "BEGIN { print $reached / 2 / $length }")
echo "bench     $reached packets/s in $precision at $batch sessions, $length packets a session"
echo "profile   $rate sessions/s, each played once"

cat >"$work/profile.toml" <<PROFILE
[model]
batch = $batch
precision = "$precision"
[pool]
sessions = 256
reuse = 1
[[traffic]]
label = "$label"
packets = $packets
[schedule]
rate = $rate
max_concurrent = 1000000
[output.pcap]
directory = "$work/captures"
directory_bytes = 1_000_000_000
[metrics]
listen = "127.0.0.1:0"
PROFILE

"$program" run --profile "$work/profile.toml" --log-format json 2>"$work/log" &
run=$!
address=
for _ in $(seq 100); do
  address=$(grep -oE '127\.0\.0\.1:[1-9][0-9]*' "$work/log" | head -n 1 || true)
  [[ -z $address ]] || break
  kill -0 "$run" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done

# The sum over the labels of a family.
metric() { awk -v name="$1" '$0 !~ /^#/ && ($1 == name || index($1, name "{") == 1) { sum += $2 } END { printf "%d", sum }' "$work/metrics"; }
resident() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$run/status"; }

printf '%8s %12s %12s %10s %10s %8s %8s\n' seconds generated written underruns pool live 'MiB'
begun=$SECONDS
while ((SECONDS - begun < seconds)); do
  left=$((seconds - (SECONDS - begun)))
  sleep $((left < 30 ? left : 30))
  curl --silent --show-error --fail --output "$work/metrics" "http://$address/metrics"
  printf '%8d %12d %12d %10d %10d %8d %8d\n' $((SECONDS - begun)) "$(metric netssmd_packets_generated_total)" \
    "$(metric netssmd_packets_written_total)" "$(metric netssmd_pool_underruns_total)" "$(metric netssmd_pool_sessions)" \
    "$(metric netssmd_sessions_live)" "$(resident)"
done
took=$((SECONDS - begun)) written=$(metric netssmd_packets_written_total) underruns=$(metric netssmd_pool_underruns_total)
awk "BEGIN { printf \"played    %.0f packets/s, %.2f of the bench\n\", $written / $took, $written / $took / $reached }"
kill "$run"
wait "$run" || { echo "sustain: the run failed" >&2; tail -n 5 "$work/log" >&2; exit 1; }
run=
((written > 0 && underruns == 0)) || { echo "sustain: $underruns underruns" >&2; exit 1; }

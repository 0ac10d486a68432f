#!/usr/bin/env bash
# The demo: sends generated sessions over a veth pair, counts them at both ends, and writes them into rolling captures.
#
#     demo.sh PROGRAM [--seconds N] [--out DIR] [--profile FILE]
#
# Everything happens in network namespaces that this script makes and that vanish with it. So it does not touch the
# host's network, and no packet leaves the namespaces. As root it makes them directly, otherwise inside an unprivileged
# user namespace. The exit code is 0 only if every packet that was counted as sent arrived at the far end.
set -euo pipefail

usage() { echo "usage: demo.sh PROGRAM [--seconds N] [--out DIR] [--profile FILE]" >&2; exit 64; }
[[ $# -ge 1 ]] || usage
program=$(realpath -- "$1") && shift
here=$(cd "$(dirname "$0")" && pwd)
seconds=30 out=demo-out profile=$here/../../configs/demo.toml
while (($#)); do
  case $1 in
    --seconds) seconds=$2 ;;
    --out) out=$2 ;;
    --profile) profile=$2 ;;
    *) usage ;;
  esac
  shift 2 || usage
done
profile=$(realpath -- "$profile")
# On Debian, sbin is not on an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

# ---- outside: enter a network namespace ----------------------------------------------------------------

if [[ -z ${NETSSMD_DEMO_INSIDE:-} ]]; then
  mkdir -p "$out"
  out=$(realpath -- "$out")
  if ((EUID == 0)); then
    enter=(unshare --net --mount)
  else
    # The user keeps the same user id, with all capabilities in the new namespaces. If tcpdump ran as root, it would try
    # to become another user, and an unprivileged user namespace has no other user.
    enter=(unshare --user --map-current-user --keep-caps --net --mount)
  fi
  if ! "${enter[@]}" true 2>/dev/null; then
    echo "demo: this host does not allow a new network namespace here (${enter[*]})." >&2
    echo "demo: run it as root, or allow unprivileged user namespaces (kernel.unprivileged_userns_clone," >&2
    echo "demo: kernel.apparmor_restrict_unprivileged_userns), or try captures only:" >&2
    echo "demo:     mkdir -p captures && $program run --profile configs/pcap-only.toml --for 30s" >&2
    exit 1
  fi
  export NETSSMD_DEMO_INSIDE=1
  exec "${enter[@]}" "$0" "$program" --seconds "$seconds" --out "$out" --profile "$profile"
fi

# ---- inside: the pair, the receiver, the daemon -------------------------------------------------------------

near=nssm0 far=nssm0-sensor
holder='' receiver='' daemon=''
# Every process that the script started ends with it, however it ends. On Ctrl-C the daemon has received the signal too,
# so it gets half a second to end by itself.
clean_up() {
  trap '' INT TERM
  set +e # what is gone already cannot be killed, and that is no fault
  if [[ -n $daemon ]] && kill -TERM "$daemon" 2>/dev/null; then
    sleep 0.5
    kill -KILL "$daemon" 2>/dev/null
  fi
  [[ -z $receiver ]] || kill -TERM "$receiver" 2>/dev/null
  [[ -z $holder ]] || kill -KILL "$holder" 2>/dev/null
  wait 2>/dev/null
}
trap clean_up EXIT
trap 'echo; echo "demo: interrupted"; exit 130' INT TERM

fail() { echo "demo: $*" >&2; exit 1; }
in_far() { nsenter --target "$holder" --net -- "$@"; }
rx_packets() { in_far sed -n "s/^ *$far: *//p" /proc/net/dev | awk '{print $2}'; }
# Prints an HTTP answer. bash can open a TCP connection by itself, so curl is not needed.
scrape() {
  exec 3<>/dev/tcp/127.0.0.1/9477 || return 1
  printf 'GET %s HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n' "$1" >&3
  cat <&3
  exec 3<&- 3>&-
} 2>/dev/null
family() { awk -v name="$2" '$1 == name || index($1, name "{") == 1 { sum += $2 } END { printf "%d", sum }' <<<"$1"; }

# A second namespace for the far end. A process that dies with this script holds it open.
unshare --net setpriv --pdeathsig KILL sleep infinity &
holder=$!
for _ in {1..100}; do
  [[ $(readlink "/proc/$holder/ns/net") != "$(readlink /proc/self/ns/net)" ]] && break
  sleep 0.02
done
ip link set dev lo up
ip link add name "$near" type veth peer name "$far" netns "$holder" || fail "this kernel cannot make a veth pair"
# Otherwise the kernel itself would send packets: neighbour discovery, multicast reports.
for file in /proc/sys/net/ipv6/conf/"$near"/disable_ipv6; do [[ ! -e $file ]] || echo 1 >"$file"; done
in_far sh -c "f=/proc/sys/net/ipv6/conf/$far/disable_ipv6; [ ! -e \$f ] || echo 1 >\$f; ip link set dev $far up promisc on"
ip link set dev "$near" up
# Programs that look into /sys then see the interfaces of this namespace. This is not essential, and not allowed
# everywhere.
mount -t sysfs sysfs /sys 2>/dev/null || true

rm -rf "$out/captures" "$out"/{far.pcap,receiver.log,daemon.log,summary.json,metrics.txt,suricata}
# tcpdump gives up root as soon as it listens. After that it may not be able to create files here, so it writes to a
# pipe. setpriv makes it end with this script.
nsenter --target "$holder" --net -- setpriv --pdeathsig TERM \
  tcpdump -i "$far" --immediate-mode -B 65536 -U -w - >"$out/far.pcap" 2>"$out/receiver.log" &
receiver=$!
for _ in {1..250}; do
  grep -q 'listening on' "$out/receiver.log" && break
  kill -0 "$receiver" 2>/dev/null || fail "tcpdump does not start: $(cat "$out/receiver.log")"
  sleep 0.02
done

echo "netssmd demo: generated sessions, $seconds seconds"
echo
echo "    netssmd run  --->  [$near]=======veth=======[$far]  --->  tcpdump"
echo "         |"
echo "         +--------->  ${out#"$PWD"/}/captures  (rolling, with labels)"
echo
echo "  profile    ${profile#"$PWD"/}"
echo "  log        ${out#"$PWD"/}/daemon.log"

cd "$out/.."
# The profile names demo-out/captures, for users who run it by hand from the checkout. This run may write elsewhere.
sed "s|^directory = .*|directory = \"$out/captures\"|" "$profile" >"$out/profile.toml"
"$program" run --profile "$out/profile.toml" --for "${seconds}s" --json >"$out/summary.json" 2>"$out/daemon.log" &
daemon=$!

# ---- progress -------------------------------------------------------------------------------------------------

page='' ready=0
while kill -0 "$daemon" 2>/dev/null; do
  sleep 1
  new=$(scrape /metrics) || continue
  grep -q '^netssmd_build_info' <<<"$new" || continue
  page=$new
  if ((!ready)); then
    if [[ $(scrape /ready) == *" 200 "* ]]; then
      ready=$SECONDS
      echo "  ready      after ${SECONDS} s: the model is loaded and every label has a session"
    else
      echo "  warming    $(family "$page" netssmd_tokens_generated_total) tokens generated"
    fi
  elif (((SECONDS - ready) % 5 == 0)); then
    printf '  playing    %3d s  %4d sessions  %6d packets sent\n' $((SECONDS - ready)) \
      "$(family "$page" netssmd_sessions_started_total)" "$(family "$page" netssmd_packets_sent_total)"
  fi
done
status=0
wait "$daemon" || status=$?
daemon=''
# bash drops a Ctrl-C if the command that it waits for succeeds at that very moment. The receiver got the same Ctrl-C,
# so its end shows it.
if ! kill -0 "$receiver" 2>/dev/null; then
  echo "demo: interrupted"
  exit 130
fi
if ((status != 0)); then
  tail -n 15 "$out/daemon.log" >&2
  fail "netssmd ended with exit code $status"
fi
printf '%s\n' "$page" >"$out/metrics.txt"

# ---- count at both ends ------------------------------------------------------------------------------------------

# The summary is pretty-printed JSON. These two numbers stand after the name of the interface.
sent_packets=$(sed -n '/"kind": "interface"/,/}/s/^ *"frames": \([0-9]*\).*/\1/p' "$out/summary.json" | head -n 1)
sent_bytes=$(sed -n '/"kind": "interface"/,/}/s/^ *"bytes": \([0-9]*\).*/\1/p' "$out/summary.json" | head -n 1)
sessions=$(sed -n '/"started": {/,/}/s/^ *"[^"]*": \([0-9]*\).*/\1/p' "$out/summary.json" | awk '{ n += $1 } END { print n + 0 }')
[[ -n $sent_packets && -n $sent_bytes ]] || fail "no summary in $out/summary.json"

# tcpdump is stopped only when its file has stopped growing, because a stop throws away what it has not read.
size=-1
for _ in {1..50}; do
  now=$(stat -c %s "$out/far.pcap")
  ((now == size)) && break
  size=$now
  sleep 0.2
done
kill -TERM "$receiver"
wait "$receiver" || true
receiver=''
received=$(tcpdump -nn -r "$out/far.pcap" 2>/dev/null | wc -l)
counted=$(rx_packets)
flows=$(cat "$out"/captures/*.jsonl | sed 's/.*"community_id":"\([^"]*\)".*/\1/' | sort -u | wc -l)
# Counts the TCP connections that the far end saw being opened, answered and acknowledged, and prints one count per
# line. Then it prints the first packets of the first connection that was acknowledged. tcpdump shows numbers relative
# to the handshake, so "ack 1" acknowledges the SYN.
handshakes=$(tcpdump -nn -r "$out/far.pcap" tcp 2>/dev/null | awk '
  { from = $3; to = $5; sub(/:$/, "", to); there = from " " to; back = to " " from; line = substr($0, 1, 110) }
  $7 == "[S]," && !(there in opened) { opened[there] = 1; n_opened++ }
  $7 == "[S.]," && (back in opened) && !(back in answered) { answered[back] = 1; n_answered++ }
  { flow = (there in opened) ? there : back }
  (flow in opened) && count[flow] < 6 { lines[flow] = lines[flow] line "\n"; count[flow]++ }
  $7 !~ /S/ && (there in answered) && !(there in done) && / ack 1,/ { done[there] = 1; n_done++; if (first == "") first = there }
  END { printf "%d\n%d\n%d\n%s", n_opened, n_answered, n_done, lines[first] }')
{ read -r opened; read -r answered; read -r acknowledged; connection=$(cat); } <<<"$handshakes"

echo
echo "Sent"
printf '  %-34s %10d\n' sessions "$sessions" flows "$flows" packets "$sent_packets" bytes "$sent_bytes"
echo "Received at the far end"
printf '  %-34s %10d\n' "packets (tcpdump)" "$received" "packets (the interface's counter)" "$counted" \
  "TCP connections opened (SYN)" "$opened" "answered (SYN-ACK)" "$answered" "handshakes complete" "$acknowledged"

echo
if [[ -n $connection ]]; then
  echo "A connection, as tcpdump shows it"
  sed 's/^/  /' <<<"$connection"
else
  echo "A few of them, as tcpdump shows them"
  # head closes the pipe early, which is not an error.
  { tcpdump -nn -q -r "$out/far.pcap" 2>/dev/null || true; } | head -n 6 | cut -c 1-110 | sed 's/^/  /'
fi

echo
echo "Captures, each with its labels"
for file in "$out"/captures/*.pcap; do
  printf '  %8d bytes  %s\n' "$(stat -c %s "$file")" "${file#"$PWD"/}"
done
echo "  one label: $(cat "$out"/captures/*.jsonl | head -n 1 | cut -c 1-200)..."

echo
echo "Prometheus saw (127.0.0.1:9477/metrics; all of it is in ${out#"$PWD"/}/metrics.txt)"
grep -E '^netssmd_(sessions_(generated|started)|packets_(generated|sent|written)|bytes_sent|session_reuses|pool_sessions|send_lateness_seconds_count)' \
  "$out/metrics.txt" | sed 's/^/  /'

if command -v suricata >/dev/null && [[ -r /etc/suricata/suricata.yaml ]]; then
  mkdir -p "$out/suricata"
  if suricata -c /etc/suricata/suricata.yaml -k all -r "$out/captures" -l "$out/suricata" -S /dev/null \
    >"$out/suricata/said.txt" 2>&1; then
    stats=$(grep '"event_type":"stats"' "$out/suricata/eve.json" | tail -n 1)
    value() { sed -n "s/.*\"decoder\":{[^}]*\"$1\":\([0-9]*\).*/\1/p" <<<"$stats"; }
    echo
    echo "Suricata read the captures: $(value pkts) packets, decoder.invalid $(value invalid)"
    [[ $(value invalid) == 0 ]] || fail "Suricata found invalid packets: see $out/suricata"
  fi
fi

echo
((sent_packets > 0)) || fail "nothing was sent"
if ((received != sent_packets || counted != sent_packets)); then
  fail "sent $sent_packets packets, but $received arrived (the interface counted $counted)"
fi
echo "OK: all $sent_packets packets that were sent arrived. ${SECONDS} seconds."

#!/usr/bin/env bash
# Installs what netssmd needs from the host: `deps.sh build | check | demo | test`.
#
#   build   a linker and libpcap's headers; cargo must be installed already
#   check   build, plus Python, which reads the documents
#   demo    build, plus nft, ip, tcpdump and the namespace tools
#   test    demo, plus a C++ compiler (it runs the CUDA kernels on the CPU), ping, and the independent judges:
#           suricata 7, tshark, tcpreplay, tcptrace, systemd-analyze
#
# It may run again at any time. It is quick if nothing is missing, because it then reads no package index. As root it
# calls apt-get itself, otherwise through sudo. Where neither works, it prints what to install and fails.
set -euo pipefail

usage() { echo "usage: deps.sh build|check|demo|test" >&2; exit 64; }
[[ $# -eq 1 ]] || usage

# One need per entry: a command or file that proves that it is installed, and the Debian package that has it.
build=(cmd:cc=build-essential file:pcap/pcap.h=libpcap-dev)
check=(cmd:python3=python3)
demo=(cmd:nft=nftables cmd:ip=iproute2 cmd:tcpdump=tcpdump cmd:unshare=util-linux cmd:setpriv=util-linux)
judges=(cmd:c++=build-essential cmd:ping=iputils-ping cmd:tshark=tshark cmd:tcpreplay=tcpreplay cmd:tcptrace=tcptrace cmd:systemd-analyze=systemd cmd:suricata=suricata)
case $1 in
  build) needs=("${build[@]}") ;;
  check) needs=("${build[@]}" "${check[@]}") ;;
  demo) needs=("${build[@]}" "${demo[@]}") ;;
  test) needs=("${build[@]}" "${demo[@]}" "${judges[@]}") ;;
  *) usage ;;
esac

# On Debian, sbin is not on an ordinary user's PATH, and nft is there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin

present() {
  case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    file:*) [[ -e /usr/include/${1#file:} || -e /usr/local/include/${1#file:} ]] ;;
  esac
}

as_root=()
((EUID == 0)) || as_root=(sudo)

missing=()
find_missing() {
  missing=()
  local need
  for need in "${needs[@]}"; do
    if ! present "${need%%=*}" && [[ " ${missing[*]-} " != *" ${need##*=} "* ]]; then
      missing+=("${need##*=}")
    fi
  done
}

# Runs apt-get as root or through sudo. Its output is shown only if it fails.
apt() {
  local said
  if ! said=$(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1); then
    echo "$said" >&2
    return 1
  fi
}

give_up() {
  echo "netssmd needs packages that are not installed, and $1." >&2
  echo "Install these (Debian's names), then run make again: ${missing[*]}" >&2
  exit 1
}

# Suricata is not in the main archive of Debian 12. Version 7 is in its backports. Other suites may have it.
suite_has_suricata_7() {
  local candidate
  candidate=$(apt-cache policy suricata 2>/dev/null | sed -n 's/^ *Candidate: *//p')
  [[ -n $candidate && $candidate != "(none)" ]] && dpkg --compare-versions "${candidate#*:}" ge 7
}

enable_backports() {
  local codename mirror list=/etc/apt/sources.list.d/netssmd-backports.sources
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "${ID:-}-${VERSION_CODENAME:-}")
  [[ $codename == debian-bookworm ]] || return 0
  # The mirror that the host already uses, so that a proxy or a local mirror still works.
  mirror=$({ cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -nE 's/^URIs: *([^ ]*debian)\/? *$/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]*debian)\/? +bookworm .*/\2/p' | head -n 1)
  [[ -n $mirror ]] || { echo "deps: no Debian mirror found in /etc/apt: enable bookworm-backports by hand" >&2; return 0; }
  printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' \
    "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg |
    ${as_root[@]+"${as_root[@]}"} tee "$list" >/dev/null
  echo "deps: enabled bookworm-backports for suricata 7 ($list)"
  apt update
}

install_packages() {
  command -v apt-get >/dev/null || give_up "this host has no apt-get"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || give_up "you are not root and there is no sudo"
  fi
  echo "deps: installing ${missing[*]}"
  apt update || echo "deps: apt-get update failed; going on with the package index that is there" >&2
  local plain=() package
  for package in "${missing[@]}"; do
    [[ $package == suricata ]] || plain+=("$package")
  done
  if ((${#plain[@]})); then
    apt install -y --no-install-recommends "${plain[@]}" || give_up "apt-get could not install them"
  fi
  if [[ " ${missing[*]} " == *" suricata "* ]]; then
    suite_has_suricata_7 || enable_backports
    local from=()
    if apt-cache policy suricata 2>/dev/null | grep -q bookworm-backports; then
      from=(-t bookworm-backports)
    fi
    if suite_has_suricata_7; then
      apt install -y --no-install-recommends "${from[@]}" suricata || give_up "apt-get could not install suricata"
    else
      echo "deps: this suite has no suricata 7: the tests that run it will say that they were skipped" >&2
      needs=("${needs[@]/cmd:suricata=suricata/}")
    fi
  fi
}

need_rust() {
  command -v cargo >/dev/null && return 0
  echo "netssmd is built with Rust, and cargo is not on this host. Install it with rustup, which then" >&2
  echo "fetches the toolchain that rust-toolchain.toml names with the first build." >&2
  exit 1
}

find_missing
if ((${#missing[@]})); then
  install_packages
  find_missing
  ((${#missing[@]} == 0)) || give_up "they are still missing after the installation"
fi
need_rust

#!/bin/bash
# Makes the fixtures of dumps: what the real tools print beside a listener whose queue is full.
#
#   OUT=DIR [SS="VERSION=PROGRAM …"] [NSTAT=…] [NETSTAT=…] [SOS="VERSION=PROGRAM …"] \
#     SHELL=$PWD/tools/dumps.sh tcproof lab shell accept-queue-stalled
#
# Programs of other releases need not be installed: unpacked packages do (dpkg -x). What is written names no host, no
# machine and no process but those of the lab.
set -euo pipefail
: "${OUT:?the folder to write to}"
export LC_ALL=C
sleep 3

# What would tell the machine: its name, its kernel's build, its boot.
host=$(uname -n) kernel=$(uname -r) boot=$(cat /proc/sys/kernel/random/boot_id)
plain() {
  sed -e "s/\b$host\b/web-1/g" -e "s/${kernel//./\\.}/6.18.44/g" -e "s/$boot/8f3c2d1e-0b5a-4c6d-9e7f-1a2b3c4d5e6f/g" \
    -e 's/"[a-z-]*tcproof[a-z-]*"/"web"/g' -e 's/(("web",pid=[0-9]*/(("web",pid=4711/g'
}
tcp() { { grep -aE '^(Netid|State|tcp|LISTEN|ESTAB|[A-Z]+-[A-Z0-9-]+|nl .*UNCONN|[[:space:]])' || true; } | plain; }

for of in ${SS:-}; do
  version=${of%%=*} ss=${of#*=}
  mkdir -p "$OUT/ss-$version"
  "$ss" -peaonmi 2>/dev/null | tcp | sed -n 1,30p | sed "s, *$,," >"$OUT/ss-$version/ss_-peaonmi"
  "$ss" -ltnm | tcp >"$OUT/ss-$version/ss_-ltnm"
  "$ss" -tan | tcp | sed -n 1,20p >"$OUT/ss-$version/ss_-tan"
done
for of in ${NSTAT:-}; do
  NSTAT_HISTORY=$OUT/.history "${of#*=}" -az >"$OUT/nstat-${of%%=*}"
done
rm -f "$OUT/.history"
for of in ${NETSTAT:-}; do
  "${of#*=}" -s >"$OUT/netstat-${of%%=*}"
done
# Two of each, for the interval.
for of in ${SOS:-}; do
  version=${of%%=*} sos=${of#*=}
  for nth in 1 2; do
    made=$(mktemp -d)
    "$sos" report --batch --quiet --allow-system-changes --tmp-dir "$made" -o networking,kernel,date,host,system,process,memory >/dev/null 2>&1 || true
    mkdir "$made/x"
    tar xf "$made"/sosreport-*.tar.xz -C "$made/x"
    name=sosreport-web-1-2026-12-01-$nth
    to=$made/$name
    (
      cd "$made"/x/sosreport-*
      # Only what is read, and of the settings those that limits read.
      find . \( -path './proc/*/net/netstat' -o -path './proc/*/net/snmp*' -o -path './proc/*/net/sockstat*' \
        -o -path './proc/*/net/softnet_stat' -o -path './proc/*/net/tcp' -o -path './proc/*/net/tcp6' -o -path './proc/stat' \
        -o -path './proc/meminfo' -o -path './proc/uptime' -o -path './proc/sys/net/core/somaxconn' \
        -o -path './proc/sys/net/ipv4/tcp_*' -o -path './proc/sys/net/ipv4/ip_local*' -o -path './proc/sys/fs/file-*' \
        -o -path './proc/sys/kernel/hostname' -o -path './proc/sys/kernel/osrelease' \
        -o -path './proc/sys/kernel/random/boot_id' -o -path './proc/net' -o -path './proc/self' -o -path './date' \
        -o -path './hostname' -o -path './uptime' -o -path './uname' -o -path './sos_commands/date/date*' \
        -o -path './sos_commands/host/hostname' -o -path './sos_commands/host/uptime' \
        -o -path './sos_commands/kernel/uname_-a' -o -path './sos_commands/kernel/sysctl_-a' -o -path './sos_commands/networking/ss_*' \
        -o -path './sos_commands/networking/nstat_*' -o -path './sos_commands/networking/netstat_-s' \) -print0 |
        while IFS= read -r -d '' file; do
          mkdir -p "$to/$(dirname "$file")"
          if [ -L "$file" ]; then
            cp -P "$file" "$to/$file"
          else
            case $file in
              */sysctl_-a) grep -aE '^(net\.|fs\.(file|nr_open)|kernel\.(hostname|osrelease|random\.boot_id))' "$file" | plain >"$to/$file" ;;
              */ss_*) tcp <"$file" | sed -n 1,60p >"$to/$file" ;;
              *) plain <"$file" >"$to/$file" ;;
            esac
            touch -r "$file" "$to/$file"
          fi
        done
    )
    tar -C "$made" --owner=0 --group=0 --sort=name -cJf "$OUT/sos-$version-$nth.tar.xz" "$name"
    rm -rf "$made"
    sleep 5
  done
done

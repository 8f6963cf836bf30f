#!/bin/sh
# Run once on every new host.
set -eu

sysctl -w net.core.somaxconn = 8192
sysctl -w net.ipv4.tcp_rmem=4096 131072 67108864
sysctl -w net.ipv4.tcp_wmem="4096 16384 67108864"
sysctl -w net.ipv4.tcp_syncookies=0
echo 1 > /proc/sys/net/ipv4/tcp_abort_on_overflow
echo 262144 | tee /sys/module/nf_conntrack/parameters/hashsize

cat > /etc/sysctl.d/90-tune.conf <<CONF
net.ipv4.tcp_max_syn_backlog = 65536
net.ipv4.tcp_sack = 0
fs.file-max = 500000
CONF

ethtool -G eth0 rx 4096
ethtool -K eth0 lro on
ethtool -N eth0 rx-flow-hash tcp4 saddr fn
docker run -d --sysctl net.core.somaxconn=8192 --sysctl net.core.wmem_max=8388608 nginx:1.29

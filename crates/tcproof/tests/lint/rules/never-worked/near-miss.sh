#!/bin/sh
sysctl -w net.core.somaxconn=8192
sysctl -w net.ipv4.tcp_rmem="4096 131072 67108864"
sysctl -p /etc/sysctl.d/90-listen.conf
ethtool -K eth0 rx on tx on

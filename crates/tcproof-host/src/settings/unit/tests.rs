use insta::assert_snapshot;
use proptest::prelude::*;

use super::parse;
use crate::settings::command::shown;

#[test]
fn a_tuned_profile() {
    let file = parse(
        "/etc/tuned/web/tuned.conf",
        r#"[main]
summary=Web servers
include=throughput-performance

[variables]
somaxconn=4096

[sysctl]
replace=1
net.core.somaxconn=${somaxconn}
net.ipv4.tcp_fin_timeout = 15
net.ipv4.tcp_rmem="4096 87380 16777216"   # wider
net.core.netdev_max_backlog=>5000
;net.ipv4.tcp_sack=0
vm.swappiness

[more]
type=sysctl
net.ipv4.tcp_tw_reuse=1

[sysfs]
/sys/kernel/mm/ksm/run=0
"#,
    );
    assert_eq!(file.format, tcproof_core::lint::Format::Tuned);
    assert_snapshot!(shown(&file), @r#"
    11: net.ipv4.tcp_fin_timeout = "15" host 0 [net.ipv4.tcp_fin_timeout = 15]
    12: net.ipv4.tcp_rmem = "4096 87380 16777216" host 0 [net.ipv4.tcp_rmem="4096 87380 16777216]
    19: net.ipv4.tcp_tw_reuse = "1" host 0 [net.ipv4.tcp_tw_reuse=1]
    15: expected key=value
    "#);
}

#[test]
fn a_service() {
    let file = parse(
        "/etc/systemd/system/web.service.d/limits.conf",
        r#"[Service]
LimitNOFILE=1024:524288
LimitNOFILE=
Environment=A=b
ExecStartPre=-+/sbin/sysctl -w net.core.somaxconn=4096
ExecStartPre=/bin/sh -c 'echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse; \
   # left out
   ethtool -G eth0 rx 4096'
ExecStartPre=sysctl -w "net.ipv4.tcp_rmem=4096 87380 16777216" net.ipv4.conf.%i.rp_filter=0 net.core.rmem_max=$RMEM
ExecStartPre=@sysctl other -w net.ipv4.tcp_sack=1 ; /sbin/ip link set eth0 txqueuelen 10000
ExecStart=/usr/bin/docker run --rm --sysctl net.core.somaxconn=1024 \
  --network host nginx
"#,
    );
    assert_eq!(file.format, tcproof_core::lint::Format::Unit);
    assert_snapshot!(shown(&file), @r#"
    2: LimitNOFILE = "1024:524288" service 0 [LimitNOFILE=1024:524288]
    5: net.core.somaxconn = "4096" host 0 [net.core.somaxconn=4096]
    6: net.ipv4.tcp_tw_reuse = "1" host 0 [1 > /proc/sys/net/ipv4/tcp_tw_reuse]
    9: net.ipv4.tcp_rmem = "4096 87380 16777216" host 0 [net.ipv4.tcp_rmem=4096 87380 16777216]
    10: net.ipv4.tcp_sack = "1" host 0 [net.ipv4.tcp_sack=1]
    11: net.core.somaxconn = "1024" host-container 1 [net.core.somaxconn=1024]
    5: $ sysctl·-w·net.core.somaxconn=4096
    8: $ ethtool·-G·eth0·rx·4096
    9: $ sysctl·-w·net.ipv4.tcp_rmem=4096 87380 16777216·net.ipv4.conf.%i.rp_filter=0·net.core.rmem_max=$RMEM
    10: $ sysctl·-w·net.ipv4.tcp_sack=1
    10: $ ip·link·set·eth0·txqueuelen·10000
    11: $ docker·run·--rm·--sysctl·net.core.somaxconn=1024·--network·host·nginx
    "#);
}

#[test]
fn a_container_of_podman() {
    let file = parse(
        "web.container",
        "[Container]\nImage=web\nSysctl=net.core.somaxconn=1024 \"net.ipv4.tcp_rmem=1 2 3\"\nUlimit=nofile=65536:65536\n",
    );
    assert_snapshot!(shown(&file), @r#"
    3: net.core.somaxconn = "1024" container 0 [net.core.somaxconn=1024]
    3: net.ipv4.tcp_rmem = "1 2 3" container 0 [net.ipv4.tcp_rmem=1 2 3]
    4: LimitNOFILE = "65536:65536" service 0 [nofile=65536:65536]
    "#);
}

#[test]
fn a_network_of_its_own() {
    let file = parse("x.service", "[Service]\nPrivateNetwork=yes\nExecStart=sysctl -w net.ipv4.ip_forward=1\n");
    assert_snapshot!(shown(&file), @r#"
    3: net.ipv4.ip_forward = "1" privileged-process 0 [net.ipv4.ip_forward=1]
    3: $ sysctl·-w·net.ipv4.ip_forward=1
    "#);
}

#[test]
fn what_is_allowed() {
    let file = parse("x.service", "[Service]\n# tcproof: allow dangerous — ours\nLimitNOFILE=infinity\n");
    assert_eq!(file.allows.iter().map(|allow| allow.line).collect::<Vec<_>>(), [3]);
}

#[test]
fn hostile_text_neither_hangs_nor_breaks() {
    for text in [
        "[".repeat(1 << 20),
        "[sysctl]\n".repeat(50_000),
        format!("[sysctl]\n{}", "a.b=1\n".repeat(20_000)),
        format!("[Service]\nExecStart={}", "\\\n".repeat(200_000)),
        format!("[Service]\nExecStart={}", "\"' ".repeat(200_000)),
        "=\r\n=\0\n\t=\t".repeat(1000),
        "[Container]\nUlimit==\nUlimit=n\nSysctl=\n".into(),
    ] {
        for path in ["tuned.conf", "x.service", "x.container"] {
            assert_eq!(parse(path, &text).text.len(), text.len());
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "[sysctl]\n",
        "[Service]\n",
        "[Container]\n",
        "[x]\ntype=sysctl\n",
        "net.core.somaxconn",
        "=",
        "1024",
        "\"",
        "'",
        "\\",
        "\n",
        "\r\n",
        "\t",
        " ",
        "$X",
        "%i",
        "%%",
        ">",
        "#",
        ";",
        "ExecStart=",
        "-@+",
        "sysctl ",
        "-w ",
        "sh -c ",
        "LimitNOFILE=",
        "infinity",
        "1:2",
        "Sysctl=",
        "Ulimit=nofile=",
        "ü",
        "\u{feff}",
        "docker run ",
        "--sysctl ",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn places_lie_in_their_lines(pieces in prop::collection::vec(piece(), 0..40), path in "(tuned.conf|x.service|x.container)") {
        shown(&parse(&path, &pieces.concat()));
    }
}

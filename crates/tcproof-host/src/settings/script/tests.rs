use insta::assert_snapshot;
use proptest::prelude::*;

use super::parse;
use crate::settings::command::shown;

#[test]
fn a_tuning_script() {
    let file = parse(
        "tune.sh",
        r#"#!/bin/bash
# sysctl -w not.this=1
set -eu
SOMAXCONN=4096
sudo sysctl -w net.core.somaxconn=1024
/sbin/sysctl -qw "net.ipv4.tcp_rmem = 4096 131072 16777216" net/ipv4/tcp_sack=1
sysctl net.ipv4.tcp_tw_reuse=1 && sysctl -w net.core.rmem_max=$((1<<24)); sysctl -w net.core.wmem_max=$WMEM
sysctl -w net.ipv4.tcp_timestamps = 0
sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304' \
    net.ipv4.ip_local_port_range="1024 65535"
sysctl -p /etc/sysctl.d/9.conf a.b=c
if [ -e /proc/sys/net/ipv4/tcp_tw_recycle ]; then
  echo 1 > /proc/sys/net/ipv4/tcp_tw_recycle
else
  LANG=C env X=y sysctl -w net.ipv4.tcp_fin_timeout=15
fi
for i in all default; do sysctl -w net.ipv4.conf.$i.rp_filter=0; done
echo "10 20 30" | sudo tee /proc/sys/net/ipv4/tcp_mem >/dev/null
ethtool -G eth0 rx 4096
ip netns exec blue sysctl -w net.ipv4.ip_forward=1
bash -c 'echo 262144 > /proc/sys/net/netfilter/nf_conntrack_max'
"#,
    );
    assert_snapshot!(shown(&file), @r#"
    5: net.core.somaxconn = "1024" host 0 [net.core.somaxconn=1024]
    6: net.ipv4.tcp_rmem = "4096 131072 16777216" host 0 [net.ipv4.tcp_rmem = 4096 131072 16777216]
    6: net.ipv4.tcp_sack = "1" host 0 [net/ipv4/tcp_sack=1]
    7: net.ipv4.tcp_tw_reuse = "1" host 0 [net.ipv4.tcp_tw_reuse=1]
    9: net.ipv4.tcp_wmem = "4096 16384 4194304" host 0 [net.ipv4.tcp_wmem='4096 16384 4194304]
    10: net.ipv4.ip_local_port_range = "1024 65535" host 0 [net.ipv4.ip_local_port_range="1024 65535]
    13: net.ipv4.tcp_tw_recycle = "1" host 2 [1 > /proc/sys/net/ipv4/tcp_tw_recycle]
    15: net.ipv4.tcp_fin_timeout = "15" host 3 [net.ipv4.tcp_fin_timeout=15]
    18: net.ipv4.tcp_mem = "10 20 30" host 0 [10 20 30" | sudo tee /proc/sys/net/ipv4/tcp_mem]
    20: net.ipv4.ip_forward = "1" privileged-process 0 [net.ipv4.ip_forward=1]
    21: net.netfilter.nf_conntrack_max = "262144" host 0 [262144 > /proc/sys/net/netfilter/nf_conntrack_max]
    5: $ sysctl·-w·net.core.somaxconn=1024
    6: $ sysctl·-qw·net.ipv4.tcp_rmem = 4096 131072 16777216·net/ipv4/tcp_sack=1
    7: $ sysctl·net.ipv4.tcp_tw_reuse=1
    7: $ sysctl·-w·net.core.rmem_max=$((1<<24))
    7: $ sysctl·-w·net.core.wmem_max=$WMEM
    8: $ sysctl·-w·net.ipv4.tcp_timestamps·=·0
    9: $ sysctl·-w·net.ipv4.tcp_wmem=4096 16384 4194304·net.ipv4.ip_local_port_range=1024 65535
    11: $ sysctl·-p·/etc/sysctl.d/9.conf·a.b=c
    15: $ sysctl·-w·net.ipv4.tcp_fin_timeout=15
    17: $ sysctl·-w·net.ipv4.conf.$i.rp_filter=0
    19: $ ethtool·-G·eth0·rx·4096
    20: $ sysctl·-w·net.ipv4.ip_forward=1
    "#);
}

#[test]
fn lines_that_are_written_for_sysctl() {
    let file = parse(
        "setup.sh",
        "cat > /etc/sysctl.d/90.conf <<'EOF'\n# comment\nnet.core.somaxconn = 4096\n-net.ipv4.tcp_tw_recycle=1\nEOF\n\
         cat <<E | sudo tee -a /etc/sysctl.conf\nnet.core.rmem_max=$RMEM\n  net.core.wmem_max=16777216\nE\n\
         echo 'net.ipv4.tcp_tw_reuse = 1' >> /etc/sysctl.conf\n\
         echo net.ipv4.tcp_sack=1 | tee -a /etc/sysctl.conf\n\
         printf 'net.ipv4.tcp_dsack=1\\n' >> /etc/sysctl.d/x.conf\n\
         echo 'net.ipv4.a=1\nnet.ipv4.b=2' > /etc/sysctl.d/two.conf\n\
         cat > /etc/motd <<EOF\nnet.core.somaxconn = 1\nEOF\n",
    );
    assert_snapshot!(shown(&file), @r#"
    3: net.core.somaxconn = "4096" host 0 [net.core.somaxconn = 4096]
    4: net.ipv4.tcp_tw_recycle = "1" host 0 [net.ipv4.tcp_tw_recycle=1]
    8: net.core.wmem_max = "16777216" host 0 [net.core.wmem_max=16777216]
    10: net.ipv4.tcp_tw_reuse = "1" host 0 [net.ipv4.tcp_tw_reuse = 1]
    11: net.ipv4.tcp_sack = "1" host 0 [net.ipv4.tcp_sack=1]
    12: net.ipv4.tcp_dsack = "1" host 0 [net.ipv4.tcp_dsack=1]
    13: net.ipv4.a = "1" host 0 [net.ipv4.a=1]
    14: net.ipv4.b = "2" host 0 [net.ipv4.b=2]
    "#);
}

#[test]
fn containers() {
    let file = parse(
        "run.sh",
        "docker run -d --name web \\\n  --sysctl net.core.somaxconn=4096 \\\n  --sysctl=net.ipv4.tcp_rmem='1 2 3' \\\n  --ulimit nofile=1024:65536 nginx\n\
         podman --log-level=info create --net=host --sysctl \"net.core.somaxconn=1\" --sysctl net.x.y=$Y img\n\
         docker container run --network host a\ndocker build --sysctl a.b=c .\n\
         docker run --rm --privileged alpine sysctl -w vm.max_map_count=262144 net.core.somaxconn=7\n",
    );
    assert_snapshot!(shown(&file), @r#"
    2: net.core.somaxconn = "4096" container 1 [net.core.somaxconn=4096]
    3: net.ipv4.tcp_rmem = "1 2 3" container 1 [net.ipv4.tcp_rmem='1 2 3]
    4: LimitNOFILE = "1024:65536" service 1 [nofile=1024:65536]
    5: net.core.somaxconn = "1" host-container 2 [net.core.somaxconn=1]
    8: vm.max_map_count = "262144" privileged-process 4 [vm.max_map_count=262144]
    8: net.core.somaxconn = "7" privileged-process 4 [net.core.somaxconn=7]
    1: $ docker·run·-d·--name·web·--sysctl·net.core.somaxconn=4096·--sysctl=net.ipv4.tcp_rmem=1 2 3·--ulimit·nofile=1024:65536·nginx
    5: $ podman·--log-level=info·create·--net=host·--sysctl·net.core.somaxconn=1·--sysctl·net.x.y=$Y·img
    6: $ docker·container·run·--network·host·a
    8: $ docker·run·--rm·--privileged·alpine·sysctl·-w·vm.max_map_count=262144·net.core.somaxconn=7
    8: $ sysctl·-w·vm.max_map_count=262144·net.core.somaxconn=7
    "#);
}

#[test]
fn a_dockerfile() {
    let file = parse(
        "build/Dockerfile",
        "FROM debian\n# sysctl -w no.no=1\nRUN apt-get update && \\\n    # don't\n    sysctl -w net.core.somaxconn=1024 && \\\n    true\n\
         LABEL a=\"it's\"\nRUN [\"sysctl\",\"-w\",\"net.ipv4.tcp_sack=0\"]\n\
         RUN <<EOF\nsysctl -w net.ipv4.tcp_dsack=0\nEOF\n\
         CMD [\"sh\", \"-c\", \"sysctl -w 'net.ipv4.tcp_rmem=1 2 3' && exec nginx\"]\n",
    );
    assert_snapshot!(shown(&file), @r#"
    5: net.core.somaxconn = "1024" process 0 [net.core.somaxconn=1024]
    8: net.ipv4.tcp_sack = "0" process 0 [net.ipv4.tcp_sack=0]
    10: net.ipv4.tcp_dsack = "0" process 0 [net.ipv4.tcp_dsack=0]
    12: net.ipv4.tcp_rmem = "1 2 3" process 0 [net.ipv4.tcp_rmem=1 2 3]
    5: $ sysctl·-w·net.core.somaxconn=1024
    8: $ sysctl·-w·net.ipv4.tcp_sack=0
    10: $ sysctl·-w·net.ipv4.tcp_dsack=0
    12: $ sysctl·-w·net.ipv4.tcp_rmem=1 2 3
    "#);
}

#[test]
fn notes() {
    let file = parse(
        "notes.md",
        "Don't use sysctl for that, use ethtool instead of it.\n\n    $ sudo sysctl -w net.core.somaxconn=4096\n\n\
         Run `sysctl -w net.ipv4.tcp_tw_reuse=1`, it's fine.\n\n```\nethtool -K eth0 gro on\nip link set eth0 txqueuelen 10000\n```\n",
    );
    assert_snapshot!(shown(&file), @r#"
    3: net.core.somaxconn = "4096" host 0 [net.core.somaxconn=4096]
    5: net.ipv4.tcp_tw_reuse = "1" host 0 [net.ipv4.tcp_tw_reuse=1]
    3: $ sysctl·-w·net.core.somaxconn=4096
    5: $ sysctl·-w·net.ipv4.tcp_tw_reuse=1
    8: $ ethtool·-K·eth0·gro·on
    9: $ ip·link·set·eth0·txqueuelen·10000
    "#);
}

#[test]
fn a_quote_that_nothing_closes_is_said() {
    let file = parse("x.sh", "sysctl -w a.b=1\necho 'no end\nsysctl -w c.d=2\n");
    assert_snapshot!(shown(&file), @r#"
    1: a.b = "1" host 0 [a.b=1]
    1: $ sysctl·-w·a.b=1
    unread: x.sh:2:6: expected something that closes the ' there
    "#);
}

#[test]
fn carriage_returns_are_no_part_of_words() {
    let file = parse("x.sh", "sysctl -w a.b=1\r\nsysctl -w \\\r\n  c.d=2\r\n");
    assert_snapshot!(shown(&file), @r#"
    1: a.b = "1" host 0 [a.b=1]
    3: c.d = "2" host 0 [c.d=2]
    1: $ sysctl·-w·a.b=1
    2: $ sysctl·-w·c.d=2
    "#);
}

#[test]
fn what_is_allowed() {
    let file = parse(
        "x.sh",
        "# tcproof: allow placebo — old\ndocker run \\\n --sysctl a.b=c x\nsysctl -w a.b=1 # tcproof: allow invalid — test\n",
    );
    let lines: Vec<_> = file.allows.iter().map(|allow| (allow.line, &*allow.slug)).collect();
    assert_eq!(lines, [(2, "placebo"), (3, "placebo"), (4, "invalid")]);
}

#[test]
fn hostile_text_neither_hangs_nor_breaks() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("sysctl -w net.core.somaxconn={long}"),
        format!("sysctl {}", "a.b=1 ".repeat(100_000)),
        format!("sysctl -w a.b=\0{long}\n\t\0\u{1b}[0m"),
        "sh -c ".repeat(100_000),
        "sh -c '".repeat(100_000),
        "cat <<A\n".repeat(50_000),
        "cat <<A <<B ".repeat(50_000),
        "\"$(`".repeat(100_000),
        "if ".repeat(100_000),
        "\\\n".repeat(100_000),
        "a|".repeat(100_000),
        "docker run --sysctl ".repeat(50_000),
        format!("echo {} > /proc/sys/net/a", "b ".repeat(100_000)),
    ] {
        for path in ["x.sh", "x.md", "Dockerfile"] {
            assert_eq!(parse(path, &text).text.len(), text.len());
        }
    }
}

/// Pieces that mean something, in any order.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "sysctl ",
        "-w ",
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
        "$(",
        ")",
        "`",
        "${",
        "}",
        "|",
        "tee ",
        "> ",
        ">> ",
        "/proc/sys/net/ipv4/x",
        "/etc/sysctl.conf",
        "<<EOF\n",
        "EOF\n",
        "cat ",
        "echo ",
        "docker run ",
        "--sysctl ",
        "--sysctl=",
        "--ulimit nofile=1:2 ",
        "--net=host ",
        "sh -c ",
        "sudo ",
        "#",
        ";",
        "&&",
        "||",
        "if ",
        "then ",
        "fi",
        "ü",
        "\u{feff}",
        "RUN ",
        "CMD [",
        "\",\"",
        "]",
        "-",
        "ip netns exec x ",
        "# tcproof: allow x — y\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn places_lie_in_their_lines(pieces in prop::collection::vec(piece(), 0..40), path in "(x.sh|x.md|Dockerfile)") {
        shown(&parse(&path, &pieces.concat()));
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC*", path in "(x.sh|x.md|Dockerfile)") {
        shown(&parse(&path, &text));
    }
}

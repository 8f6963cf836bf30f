use insta::assert_snapshot;
use proptest::prelude::*;
use tcproof_core::lint::Format;

use super::parse;
use crate::settings::command::shown;

#[test]
fn manifests() {
    let file = parse(
        "deploy.yaml",
        r#"# two of them
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      securityContext:
        sysctls:
        - name: net.core.somaxconn
          value: "4096"
        - {name: net/ipv4/tcp_tw_reuse, value: '1'}
        - name: net.ipv4.tcp_rmem
          value: "4096\t87380\t16777216"
        - name: net.ipv4.tcp_wmem
          value: "{{ .Values.wmem }}"
        - {name: fs.file-max, value: "1000000"}
      initContainers:
      - name: tune
        image: busybox
        command: ["sh", "-c", "sysctl -w net.core.rmem_max=16777216 && sysctl -w vm.max_map_count=262144"]
        securityContext: {privileged: true}
      - name: more
        image: busybox
        command:
        - /bin/sh
        args:
        - -c
        - |
          sysctl -w net.ipv4.tcp_fin_timeout=15
          sysctl -w net.ipv4.tcp_keepalive_time = 60
      containers:
      - name: web
        image: nginx
---
apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          hostNetwork: true
          securityContext:
            sysctls: [{name: kernel.shm_rmid_forced, value: "1"}, {value: "5"}, net.x]
          containers: []
---
apiVersion: v1
kind: List
items:
- kind: Pod
  spec:
    containers:
    - command: [sysctl, -w, "net.ipv4.tcp_sack=0"]
"#,
    );
    assert_eq!(file.format, Format::Kubernetes);
    assert_snapshot!(shown(&file), @r#"
    10: net.core.somaxconn = "4096" pod 1 in 11 [net.core.somaxconn]
    12: net.ipv4.tcp_tw_reuse = "1" pod 1 [net/ipv4/tcp_tw_reuse, value: '1]
    13: net.ipv4.tcp_rmem = "4096\t87380\t16777216" pod 1 written "4096\\t87380\\t16777216" in 14 [net.ipv4.tcp_rmem]
    17: fs.file-max = "1000000" pod 1 [fs.file-max, value: "1000000]
    21: net.core.rmem_max = "16777216" privileged-process 1 [net.core.rmem_max=16777216]
    21: vm.max_map_count = "262144" privileged-process 1 [vm.max_map_count=262144]
    30: net.ipv4.tcp_fin_timeout = "15" process 1 [net.ipv4.tcp_fin_timeout=15]
    45: kernel.shm_rmid_forced = "1" host-pod 2 [kernel.shm_rmid_forced, value: "1]
    54: net.ipv4.tcp_sack = "0" process 3 [net.ipv4.tcp_sack=0]
    21: $ sysctl·-w·net.core.rmem_max=16777216
    21: $ sysctl·-w·vm.max_map_count=262144
    30: $ sysctl·-w·net.ipv4.tcp_fin_timeout=15
    31: $ sysctl·-w·net.ipv4.tcp_keepalive_time·=·60
    54: $ sysctl·-w·net.ipv4.tcp_sack=0
    45: expected name: and value:
    "#);
}

#[test]
fn compose() {
    let file = parse(
        "docker-compose.yml",
        r#"x-tuned: &tuned
  sysctls:
    net.core.somaxconn: 1024
services:
  web:
    <<: *tuned
    image: nginx
    ulimits:
      nofile: {soft: 20000, hard: 40000}
      nproc: 65535
  db:
    image: postgres
    network_mode: host
    sysctls:
      - net.ipv4.tcp_keepalive_time=60
      - "net.ipv4.tcp_rmem=4096 87380 16777216"
      - net.core.somaxconn=${SOMAXCONN:-1024}
    ulimits:
      nofile: 65536
    command: sh -c "sysctl -w net.ipv4.tcp_syncookies=0 && exec postgres"
"#,
    );
    assert_eq!(file.format, Format::Compose);
    assert_snapshot!(shown(&file), @r#"
    3: net.core.somaxconn = "1024" container 1 [net.core.somaxconn: 1024]
    9: LimitNOFILE = "20000" service 1 [soft: 20000]
    15: net.ipv4.tcp_keepalive_time = "60" host-container 2 [net.ipv4.tcp_keepalive_time=60]
    16: net.ipv4.tcp_rmem = "4096 87380 16777216" host-container 2 [net.ipv4.tcp_rmem=4096 87380 16777216]
    19: LimitNOFILE = "65536" service 2 [nofile: 65536]
    20: net.ipv4.tcp_syncookies = "0" host-process 2 [net.ipv4.tcp_syncookies=0]
    20: $ sysctl·-w·net.ipv4.tcp_syncookies=0
    "#);
}

#[test]
fn ansible() {
    let file = parse(
        "tasks/main.yml",
        r#"---
- name: more connections
  ansible.posix.sysctl:
    name: net.core.somaxconn
    value: '4096'
    state: present
    sysctl_file: /etc/sysctl.d/90-web.conf
- sysctl: name=net.ipv4.tcp_tw_reuse value=1 sysctl_set=yes
- sysctl: name="net.ipv4.tcp_rmem" value="4096 87380 16777216" state=present
- sysctl: {name: net.ipv4.tcp_tw_recycle, state: absent}
- sysctl:
    name: net.ipv4.tcp_sack
    value: "{{ sack }}"
- ansible.builtin.sysctl:
    name: "{{ item.name }}"
    value: "{{ item.value }}"
  loop:
    - { name: net.core.rmem_max, value: 16777216 }
    - name: net.core.wmem_max
      value: 16777216
    - { name: net.ipv4.tcp_dsack, value: "{{ dsack }}" }
- sysctl:
    name: "{{ item.key }}"
    value: "{{ item['value'] }}"
  with_dict:
    net.ipv4.tcp_syncookies: yes
    net.ipv4.tcp_fin_timeout: 15
- sysctl: {name: "{{ item.key }}", value: "{{ item.value }}"}
  loop: "{{ settings | dict2items }}"
- block:
    - shell: |
        sysctl -w net.ipv4.tcp_timestamps=0
        ethtool -G eth0 rx 4096
      when: old
    - ansible.builtin.command: sysctl -w net.ipv4.tcp_ecn = 1
    - command:
        argv: [sysctl, -w, net.ipv4.tcp_ecn=1]
  when: ansible_os_family == "RedHat"
- hosts: web
  tasks:
    - sysctl: key=net.ipv4.ip_local_port_range val='1024 65535'
"#,
    );
    assert_eq!(file.format, Format::Ansible);
    assert_snapshot!(shown(&file), @r#"
    4: net.core.somaxconn = "4096" host 0 in 5 [net.core.somaxconn]
    8: net.ipv4.tcp_tw_reuse = "1" host 0 [net.ipv4.tcp_tw_reuse value=1]
    9: net.ipv4.tcp_rmem = "4096 87380 16777216" host 0 [net.ipv4.tcp_rmem" value="4096 87380 16777216]
    18: net.core.rmem_max = "16777216" host 0 [net.core.rmem_max, value: 16777216]
    19: net.core.wmem_max = "16777216" host 0 in 20 [net.core.wmem_max]
    26: net.ipv4.tcp_syncookies = "1" host 0 written "yes" [net.ipv4.tcp_syncookies: yes]
    27: net.ipv4.tcp_fin_timeout = "15" host 0 [net.ipv4.tcp_fin_timeout: 15]
    32: net.ipv4.tcp_timestamps = "0" host 2 [net.ipv4.tcp_timestamps=0]
    37: net.ipv4.tcp_ecn = "1" host 1 [net.ipv4.tcp_ecn=1]
    41: net.ipv4.ip_local_port_range = "1024 65535" host 3 [net.ipv4.ip_local_port_range val='1024 65535]
    32: $ sysctl·-w·net.ipv4.tcp_timestamps=0
    33: $ ethtool·-G·eth0·rx·4096
    35: $ sysctl·-w·net.ipv4.tcp_ecn·=·1
    37: $ sysctl·-w·net.ipv4.tcp_ecn=1
    "#);
}

#[test]
fn variables_of_a_role() {
    let text = "\
web:
  net.core.somaxconn: 4096
  net.ipv4.tcp_sack: '{{ sack }}'
  name: net.ipv4.tcp_sack
queue:
- {name: net.ipv4.tcp_retries2, value: 5}
- {key: net.ipv4.tcp_dsack, value: 1, state: absent}
- net.ipv4.tcp_fack
pod:
  sysctls:
  - {name: net.core.somaxconn, value: '1'}
options:
  net.core.rmem_max: {type: int}
";
    assert_snapshot!(shown(&parse("defaults/main.yml", text)), @r#"
    2: net.core.somaxconn = "4096" host 1 [net.core.somaxconn: 4096]
    6: net.ipv4.tcp_retries2 = "5" host 2 [net.ipv4.tcp_retries2, value: 5]
    "#);
}

#[test]
fn a_task_with_a_condition_may_ask_whether_the_kernel_has_the_key() {
    let task = "- sysctl: {name: net.ipv4.tcp_tw_recycle, value: 0}\n";
    let is_lenient = |text: &str| parse("tasks.yml", text).settings.iter().map(|it| it.is_lenient).collect::<Vec<_>>();
    assert_eq!(is_lenient(task), [false]);
    assert_eq!(is_lenient(&format!("{task}  when: recycle.stat.exists\n")), [true]);
    assert_eq!(is_lenient(&format!("{task}  ignore_errors: true\n")), [true]);
    assert_eq!(is_lenient(&format!("{task}  ignore_errors: false\n")), [false]);
}

#[test]
fn what_is_broken_is_said_and_the_rest_is_read() {
    let pod = "kind: Pod\nspec:\n  securityContext:\n    sysctls:\n    - {name: net.core.somaxconn, value: '1'}\n";
    assert_snapshot!(shown(&parse("a.yaml", &format!("a:\n\tb: c\n---\n{pod}"))), @r#"
    8: net.core.somaxconn = "1" pod 1 [net.core.somaxconn, value: '1]
    unread: a.yaml:2:2: expected valid YAML: tabs disallowed within this context (block indentation)
    "#);
    assert_snapshot!(shown(&parse("a.yaml", "{{- if .Values.x }}\nkind: Pod\n")), @r#"unread: a.yaml:1:3: expected valid YAML: "-" is only valid inside a block"#);
    assert_snapshot!(shown(&parse("a.yaml", "kind: Pod\nname: 'no end\n")), @"unread: a.yaml:3:1: expected valid YAML: invalid indentation in multiline quoted scalar");
    assert_snapshot!(shown(&parse("a.yaml", "kind: \0\n")), @r"unread: a.yaml:1:7: expected valid YAML: unexpected character: `\u{0}'");
    assert_snapshot!(shown(&parse("a.yaml", &"[".repeat(1 << 20))), @"unread: a.yaml:1:101: expected valid YAML: recursion limit exceeded");
    assert_snapshot!(shown(&parse("a.yaml", "a: &a [*a]\n")), @"unread: a.yaml:1:8: expected an alias to something that has ended before it");
}

#[test]
fn carriage_returns_and_a_byte_order_mark() {
    let text = "\u{feff}services:\r\n  a:\r\n    sysctls:\r\n      net.core.somaxconn: \"1\"\r\n";
    assert_snapshot!(shown(&parse("a.yaml", text)), @r#"4: net.core.somaxconn = "1" container 1 [net.core.somaxconn: "1]"#);
}

#[test]
fn aliases_that_would_not_end() {
    let mut text = String::from("a0: &a0 {sysctls: {net.core.somaxconn: 1}}\n");
    for level in 1..30 {
        let before = level - 1;
        text += &format!("a{level}: &a{level} [{}]\n", format!("*a{before},").repeat(10));
    }
    assert_snapshot!(shown(&parse("a.yaml", &text)), @"unread: a.yaml:6:42: expected at most 500000 nodes, with what aliases stand for");
    let mut merges = String::from("services:\n  s0: &s0 {sysctls: {net.core.somaxconn: 1}}\n");
    for level in 1..300 {
        merges += &format!("  s{level}: &s{level} {{<<: [*s{0}, *s{0}]}}\n", level - 1);
    }
    assert!(shown(&parse("a.yaml", &merges)).contains("unread"));
}

#[test]
fn hostile_text_neither_hangs_nor_breaks() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("a: {long}"),
        format!("- sysctl: {{name: net.a, value: {long}}}"),
        format!("- sysctl: name=net.a value={long}"),
        "- ".repeat(500_000),
        "a: ".repeat(100_000),
        "? ".repeat(100_000),
        "{a: ".repeat(100_000),
        "&a ".repeat(100_000),
        "--- a\n".repeat(100_000),
        "a: [\n---\n".repeat(20_000),
        "# c\n".repeat(200_000),
        "a: b\n".repeat(100_000),
        format!("services:\n{}", "  a: {sysctls: [a.b=1]}\n".repeat(20_000)),
        "\"".repeat(1 << 20),
        "a: |\n  b\n".repeat(50_000),
        format!("- shell: |\n{}", "    sysctl -w a.b=1\n".repeat(20_000)),
    ] {
        assert_eq!(parse("a.yaml", &text).text.len(), text.len());
    }
}

#[test]
fn what_is_allowed() {
    let text = "- sysctl:\n    # tcproof: allow dangerous — ours\n    name: net.ipv4.tcp_sack\n    value: 0 # tcproof: allow placebo — so\n";
    let file = parse("a.yaml", text);
    let lines: Vec<_> = file.allows.iter().map(|allow| (allow.line, &*allow.slug)).collect();
    assert_eq!(lines, [(3, "dangerous"), (4, "placebo")]);
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "apiVersion: v1\n",
        "kind: Pod\n",
        "services:\n",
        "  a:\n",
        "    sysctls:\n",
        "      - ",
        "name: ",
        "value: ",
        "net.core.somaxconn",
        "=",
        "1024",
        ": ",
        "\"",
        "'",
        "\\",
        "\\n",
        "\n",
        "\r\n",
        "\t",
        " ",
        "{{ item.name }}",
        "{",
        "}",
        "[",
        "]",
        ",",
        "- ",
        "sysctl: ",
        "name=a.b value=c\n",
        "loop:\n",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">\n",
        "# x",
        "---\n",
        "spec:\n",
        "  securityContext:\n",
        "  containers:\n",
        "command: ",
        "sh -c ",
        "shell: ",
        "sysctl -w a.b=1",
        "ü",
        "\u{feff}",
        "ulimits: {nofile: 1}\n",
        "hostNetwork: true\n",
        "with_dict: ",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn places_lie_in_their_lines(pieces in prop::collection::vec(piece(), 0..40)) {
        shown(&parse("a.yaml", &pieces.concat()));
    }

    /// What is written at a value's place is the value, unless the format has it escaped.
    #[test]
    fn values_stand_where_it_says(value in "[a-z0-9][a-z0-9 ]{0,12}[a-z0-9]", indent in 0_usize..4, quote in "['\"]?") {
        let indent = " ".repeat(indent);
        let text = format!("{indent}- sysctl:\n{indent}    name: net.a.b\n{indent}    value: {quote}{value}{quote} # c\n");
        let file = parse("a.yaml", &text);
        let setting = &file.settings[0];
        prop_assert_eq!(file.line_with(setting.value_at, &value), file.line(3));
    }
}

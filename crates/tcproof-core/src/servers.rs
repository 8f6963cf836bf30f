//! Well-known servers: where each keeps its listen backlog, and what it asks for when nobody says otherwise.

use alloc::string::String;

/// How one server is told its backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSetting {
    /// The server's name.
    pub server: &'static str,
    /// The setting, with `N` where the number goes.
    pub syntax: &'static str,
    /// What it passes to `listen(2)` by default on Linux; `None` when it reads somaxconn, computes it, or changed it
    /// between versions.
    pub default: Option<u32>,
    /// What makes it call `listen(2)` again.
    pub applies: &'static str,
}

/// Names of the program, and its setting. Sources: each server's reference manual or, where that is silent or wrong, its
/// source.
static SETTINGS: &[(&[&str], ListenSetting)] = &[
    (
        &["nginx", "openresty", "angie", "tengine"],
        ListenSetting {
            server: "nginx",
            syntax: "listen … backlog=N; (nginx.conf, on one listen directive of that address)",
            default: Some(511),
            // A reload calls listen() again where backlog= differs from before, and only there.
            applies: "nginx -s reload",
        },
    ),
    (
        &["haproxy"],
        ListenSetting {
            server: "HAProxy",
            syntax: "backlog N (frontend or defaults section; without it, maxconn is used)",
            // The new process gets the listening sockets of the old one and leaves those alone that listen already.
            default: None,
            applies: "a restart of HAProxy (a reload may take the old queue over)",
        },
    ),
    (
        &["apache2", "httpd"],
        ListenSetting {
            server: "Apache httpd",
            syntax: "ListenBackLog N (server configuration)",
            default: Some(511),
            // A graceful restart keeps the sockets of addresses that stay.
            applies: "a restart of Apache httpd, not a graceful one",
        },
    ),
    (
        &["lighttpd"],
        ListenSetting {
            server: "lighttpd",
            syntax: "server.listen-backlog = N (lighttpd.conf)",
            default: Some(1024),
            applies: "a restart of lighttpd",
        },
    ),
    (
        &["varnishd"],
        ListenSetting {
            server: "Varnish",
            syntax: "-p listen_depth=N (command line of varnishd)",
            default: Some(1024),
            applies: "a restart of varnishd",
        },
    ),
    (
        &["squid"],
        ListenSetting {
            server: "Squid",
            syntax: "max_filedescriptors 4×N (squid.conf; it asks for a quarter of its descriptors)",
            default: None,
            applies: "a restart of squid",
        },
    ),
    (
        &["traffic_server"],
        ListenSetting {
            server: "Apache Traffic Server",
            syntax: "proxy.config.net.listen_backlog: N (records.yaml; -1 asks for somaxconn)",
            default: None,
            applies: "a restart of Traffic Server",
        },
    ),
    (
        &["envoy"],
        ListenSetting {
            server: "Envoy",
            syntax: "tcp_backlog_size: N (of the listener; without it, somaxconn is used)",
            // On Linux it passes -1, which the kernel takes as somaxconn; 128 only elsewhere.
            default: None,
            applies: "a restart of Envoy",
        },
    ),
    (
        &["redis-server", "valkey-server", "keydb-server", "redis-sentinel"],
        ListenSetting {
            server: "Redis",
            syntax: "tcp-backlog N (redis.conf)",
            default: Some(511),
            applies: "a restart of the server",
        },
    ),
    (
        &["memcached"],
        ListenSetting {
            server: "memcached",
            syntax: "-b N (command line)",
            default: Some(1024),
            applies: "a restart of memcached",
        },
    ),
    (
        &["postgres", "postmaster"],
        ListenSetting {
            server: "PostgreSQL",
            syntax: "max_connections = N/2 (it asks for twice as many), or a pooler in front",
            // There is no setting of its own; up to version 15 it never asks for more than 10 000.
            default: None,
            applies: "a restart of PostgreSQL",
        },
    ),
    (
        &["pgbouncer"],
        ListenSetting {
            server: "PgBouncer",
            syntax: "listen_backlog = N ([pgbouncer])",
            default: Some(128),
            applies: "a restart of PgBouncer",
        },
    ),
    (
        &["mysqld", "mariadbd"],
        ListenSetting {
            server: "MySQL or MariaDB",
            syntax: "back_log = N ([mysqld])",
            // max_connections since MySQL 8.0; before, and in MariaDB, 50 + max_connections/5, at most 900.
            default: None,
            applies: "a restart of the server",
        },
    ),
    (
        &["mongod", "mongos"],
        ListenSetting {
            server: "MongoDB",
            syntax: "net.listenBacklog: N (mongod.conf)",
            default: None,
            applies: "a restart of the server",
        },
    ),
    (
        &["clickhouse-server", "clickhouse"],
        ListenSetting {
            server: "ClickHouse",
            syntax: "<listen_backlog>N</listen_backlog> (config.xml)",
            default: None,
            applies: "a restart of ClickHouse",
        },
    ),
    (
        &["gunicorn"],
        ListenSetting {
            server: "gunicorn",
            syntax: "--backlog N (or backlog = N in gunicorn.conf.py)",
            default: Some(2048),
            applies: "a restart of gunicorn",
        },
    ),
    (
        &["uvicorn"],
        ListenSetting {
            server: "uvicorn",
            syntax: "--backlog N",
            default: Some(2048),
            applies: "a restart of uvicorn",
        },
    ),
    (
        &["hypercorn"],
        ListenSetting {
            server: "hypercorn",
            syntax: "--backlog N",
            default: Some(100),
            applies: "a restart of hypercorn",
        },
    ),
    (
        &["uwsgi", "uwsgi-core"],
        ListenSetting {
            server: "uWSGI",
            syntax: "listen = N (uwsgi.ini, or --listen N)",
            default: Some(100),
            applies: "a restart of uWSGI",
        },
    ),
    (
        &["puma"],
        ListenSetting {
            server: "Puma",
            syntax: "bind 'tcp://0.0.0.0:PORT?backlog=N' (config/puma.rb)",
            default: Some(1024),
            applies: "a restart of Puma",
        },
    ),
    (
        &["unicorn"],
        ListenSetting {
            server: "Unicorn",
            syntax: "listen ADDRESS, backlog: N (unicorn.conf.rb)",
            default: Some(1024),
            applies: "a restart of Unicorn",
        },
    ),
    (
        &["php-fpm"],
        ListenSetting {
            server: "PHP-FPM",
            syntax: "listen.backlog = N (pool configuration)",
            default: Some(511),
            // The new master finds the sockets of the old one and uses them as they are.
            applies: "a restart of php-fpm (a reload takes the old queue over)",
        },
    ),
    (
        &["node", "nodejs"],
        ListenSetting {
            server: "Node.js",
            syntax: "server.listen({ port, backlog: N })",
            default: Some(511),
            applies: "a restart of the program",
        },
    ),
    (
        &["deno"],
        ListenSetting {
            server: "Deno",
            syntax: "Deno.serve({ tcpBacklog: N }, …)",
            default: None,
            applies: "a restart of the program",
        },
    ),
    (
        &["java"],
        ListenSetting {
            server: "Java",
            syntax: "Tomcat acceptCount=\"N\" (server.tomcat.accept-count), Netty ChannelOption.SO_BACKLOG N, Jetty acceptQueueSize N, Kafka socket.listen.backlog.size=N, ServerSocket(port, N)",
            // ServerSocket and Kafka ask for 50, Tomcat for 100, Netty for somaxconn: the name alone does not tell.
            default: None,
            applies: "a restart of the program",
        },
    ),
    (
        &["dotnet"],
        ListenSetting {
            server: "Kestrel",
            syntax: "webBuilder.UseSockets(o => o.Backlog = N)",
            default: Some(512),
            applies: "a restart of the program",
        },
    ),
    (
        &["beam.smp"],
        ListenSetting {
            server: "Erlang",
            syntax: "RabbitMQ tcp_listen_options.backlog = N, CouchDB [chttpd] backlog = N, Ranch/Cowboy socket_opts: [backlog: N]",
            // gen_tcp asks for 5, RabbitMQ for 128, Ranch for 1024.
            default: None,
            applies: "a restart of the program",
        },
    ),
    (
        &["exim", "exim4"],
        ListenSetting {
            server: "Exim",
            syntax: "smtp_connect_backlog = N",
            default: Some(20),
            applies: "a restart of Exim",
        },
    ),
    (
        &["named"],
        ListenSetting {
            server: "BIND",
            syntax: "tcp-listen-queue N; (options)",
            default: Some(10),
            applies: "a restart of named",
        },
    ),
    (
        &["sshd"],
        ListenSetting {
            server: "sshd",
            syntax: "Backlog=N in ssh.socket, in place of sshd's own listening (which always asks for 128)",
            default: Some(128),
            applies: "a restart of the unit",
        },
    ),
    (
        &["systemd"],
        ListenSetting {
            server: "systemd",
            syntax: "Backlog=N ([Socket] of the socket unit)",
            // Socket activation: systemd listens and hands the socket over.
            default: None,
            applies: "systemctl restart of the socket unit",
        },
    ),
    (
        &[
            "traefik",
            "caddy",
            "etcd",
            "prometheus",
            "alertmanager",
            "node_exporter",
            "grafana",
            "grafana-server",
            "loki",
            "consul",
            "vault",
            "nomad",
            "minio",
            "coredns",
            "dockerd",
            "docker-proxy",
            "containerd",
            "kube-apiserver",
            "kube-proxy",
            "kubelet",
            "k3s",
            "cockroach",
            "influxd",
            "telegraf",
            "nats-server",
            "gitea",
            "cloudflared",
            "syncthing",
        ],
        ListenSetting {
            server: "Go",
            syntax: "net.core.somaxconn = N (Go has no setting of its own, it asks for somaxconn when it listens)",
            // Programs in Go: net.Listen() reads somaxconn once, at its first call.
            default: None,
            applies: "a restart of the program",
        },
    ),
];

/// Programs that run another: the server is one of their first arguments.
static INTERPRETERS: &[&str] =
    &["python", "pypy", "ruby", "perl", "php", "bundle", "sh", "bash", "env", "tini", "dumb-init"];

/// The setting of the server that runs with that name and command line.
pub fn listen_setting(comm: &str, cmdline: &[String]) -> Option<&'static ListenSetting> {
    // Interpreters (`python3 /usr/bin/gunicorn`) hide the server behind themselves; titles may be rewritten
    // (`nginx: master process …` in one argument). An argument of any other program may be a host that is called so.
    let program = cmdline.first().map_or("", |arg| last(arg));
    let interpreted = INTERPRETERS.iter().any(|known| is_program(program, known));
    let words = cmdline.iter().take(if interpreted { 3 } else { 1 }).filter_map(|arg| arg.split([' ', ':']).next());
    let names = core::iter::once(comm).chain(words).map(last);
    names
        .flat_map(|name| SETTINGS.iter().filter(move |(known, _)| known.iter().any(|k| is_program(name, k))))
        .map(|(_, setting)| setting)
        .next()
}

/// The last component of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `php-fpm8.2` and `uvicorn` are php-fpm and uvicorn; `nodeagent` is not node.
fn is_program(name: &str, known: &str) -> bool {
    name.strip_prefix(known).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// The backlog that a command line asks for, where it names one (`--backlog 2048`, `--tcp-backlog=511`).
pub fn requested_backlog(cmdline: &[String]) -> Option<u32> {
    let mut args = cmdline.iter().skip(1);
    while let Some(arg) = args.next() {
        let Some(option) = arg.strip_prefix('-').map(|rest| rest.trim_start_matches('-')) else { continue };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if matches!(
            name,
            "backlog" | "tcp-backlog" | "listen-backlog" | "listen_backlog" | "listenBacklog" | "back-log" | "back_log"
        ) {
            return inline.or_else(|| args.next().map(|next| &**next)).and_then(|value| value.parse().ok());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn args(text: &str) -> Vec<String> {
        text.split(' ').map(ToString::to_string).collect()
    }

    #[test]
    fn servers_are_known_by_name_path_or_behind_their_interpreter() {
        for (comm, cmdline, server) in [
            ("nginx", "nginx: worker process", Some("nginx")),
            ("python3", "python3 /usr/local/bin/gunicorn app:app", Some("gunicorn")),
            ("php-fpm8.2", "php-fpm: pool www", Some("PHP-FPM")),
            ("redis-server", "redis-server *:6379", Some("Redis")),
            ("nodeagent", "/opt/nodeagent", None),
            ("traefik", "/usr/local/bin/traefik --configFile=/etc/traefik.yml", Some("Go")),
            ("[TS_MAIN]", "/usr/bin/traffic_server -M", Some("Apache Traffic Server")),
            ("cache-main", "/usr/sbin/varnishd -a :80", Some("Varnish")),
            ("beam.smp", "/usr/lib/erlang/erts-13.1.5/bin/beam.smp -W w", Some("Erlang")),
            ("puma", "puma: cluster worker 0: 812 [app]", Some("Puma")),
            ("systemd-resolve", "/lib/systemd/systemd-resolved", None),
            ("python3.11", "/usr/bin/python3.11 -m uvicorn app:app", Some("uvicorn")),
            ("myproxy", "/app/myproxy --upstream minio:9000", None),
            ("myapp", "", None),
        ] {
            assert_eq!(listen_setting(comm, &args(cmdline)).map(|s| s.server), server, "{comm}");
        }
    }

    #[test]
    fn every_setting_says_where_its_number_goes_and_no_name_is_taken_twice() {
        let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "N");
        let mut seen = Vec::new();
        for (names, setting) in SETTINGS {
            assert!(words(setting.syntax), "{}: {}", setting.server, setting.syntax);
            assert!(!setting.applies.is_empty(), "{}", setting.server);
            for name in *names {
                assert!(!seen.contains(name), "{name}");
                seen.push(name);
            }
        }
    }

    #[test]
    fn a_backlog_on_the_command_line_is_found() {
        assert_eq!(requested_backlog(&args("x --backlog 2048")), Some(2048));
        assert_eq!(requested_backlog(&args("x --tcp-backlog=511 -v")), Some(511));
        assert_eq!(requested_backlog(&args("mysqld --back-log=300")), Some(300));
        assert_eq!(requested_backlog(&args("x --backlog")), None);
        assert_eq!(requested_backlog(&args("x --backlog many")), None);
        assert_eq!(requested_backlog(&args("backlog 3")), None);
    }
}

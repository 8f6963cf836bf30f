//! Well-known servers: where each keeps its listen backlog, and what it asks for when nobody says otherwise.

use alloc::string::String;

/// How one server is told its backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSetting {
    /// The server's name.
    pub server: &'static str,
    /// The setting, with `N` where the number goes.
    pub syntax: &'static str,
    /// What it passes to `listen(2)` by default; `None` when it reads somaxconn or computes it.
    pub default: Option<u32>,
    /// What makes it call `listen(2)` again.
    pub applies: &'static str,
}

/// Program name or argument that identifies the server, and its setting. Sources: each server's reference manual.
static SETTINGS: &[(&[&str], ListenSetting)] = &[
    (
        &["nginx", "openresty", "angie"],
        ListenSetting {
            server: "nginx",
            syntax: "listen … backlog=N; (nginx.conf, on one listen directive of that address)",
            default: Some(511),
            // nginx calls listen() again on inherited sockets whose backlog changed, at reload.
            applies: "nginx -s reload",
        },
    ),
    (
        &["haproxy"],
        ListenSetting {
            server: "HAProxy",
            syntax: "backlog N (frontend or defaults section; without it, maxconn is used)",
            default: None,
            applies: "systemctl reload haproxy",
        },
    ),
    (
        &["apache2", "httpd"],
        ListenSetting {
            server: "Apache httpd",
            syntax: "ListenBackLog N (server config)",
            default: Some(511),
            applies: "systemctl restart apache2",
        },
    ),
    (
        &["redis-server", "valkey-server", "keydb-server"],
        ListenSetting {
            server: "Redis",
            syntax: "tcp-backlog N (redis.conf)",
            default: Some(511),
            applies: "a restart of redis-server",
        },
    ),
    (
        &["postgres", "postmaster"],
        ListenSetting {
            server: "PostgreSQL",
            syntax: "max_connections = N/2 (it asks for twice max_connections), or a pooler in front",
            default: None,
            applies: "a restart of PostgreSQL",
        },
    ),
    (
        &["mysqld", "mariadbd"],
        ListenSetting {
            server: "MySQL",
            syntax: "back_log = N ([mysqld])",
            default: None,
            applies: "a restart of the server",
        },
    ),
    (
        &["memcached"],
        ListenSetting { server: "memcached", syntax: "-b N", default: Some(1024), applies: "a restart of memcached" },
    ),
    (
        &["envoy"],
        ListenSetting {
            server: "Envoy",
            syntax: "listeners[].tcp_backlog_size: N",
            default: None,
            applies: "a restart or hot restart of Envoy",
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
        &["uwsgi"],
        ListenSetting {
            server: "uWSGI",
            syntax: "listen = N (uwsgi.ini, or --listen N)",
            default: Some(100),
            applies: "a restart of uWSGI",
        },
    ),
    (
        &["unicorn", "puma"],
        ListenSetting {
            server: "Puma or Unicorn",
            syntax: "bind 'tcp://…?backlog=N' (puma) or listen addr, backlog: N (unicorn)",
            default: Some(1024),
            applies: "a restart of the server",
        },
    ),
    (
        &["php-fpm"],
        ListenSetting {
            server: "PHP-FPM",
            syntax: "listen.backlog = N (pool configuration)",
            default: Some(511),
            applies: "a restart of php-fpm",
        },
    ),
    (
        &["node", "nodejs", "bun", "deno"],
        ListenSetting {
            server: "Node.js",
            syntax: "server.listen({ port, backlog: N })",
            default: Some(511),
            applies: "a restart of the program",
        },
    ),
    (
        &["java"],
        ListenSetting {
            server: "Java",
            syntax: "Tomcat acceptCount=\"N\" (server.tomcat.accept-count), Netty ChannelOption.SO_BACKLOG N, Jetty acceptQueueSize N, ServerSocket(port, N)",
            // ServerSocket asks for 50 and Tomcat for 100, but Netty for somaxconn: the name alone does not tell.
            default: None,
            applies: "a restart of the program",
        },
    ),
    (
        &["dotnet"],
        ListenSetting {
            server: "Kestrel",
            syntax: "UseSockets(o => o.Backlog = N)",
            default: Some(512),
            applies: "a restart of the program",
        },
    ),
];

/// The setting of the server that runs with that name and command line.
pub fn listen_setting(comm: &str, cmdline: &[String]) -> Option<&'static ListenSetting> {
    // Interpreters (`python3 /usr/bin/gunicorn`) hide the server behind themselves; titles may be rewritten
    // (`nginx: master process …` in one argument).
    let words = cmdline.iter().take(3).filter_map(|arg| arg.split([' ', ':']).next());
    let names = core::iter::once(comm).chain(words).map(|word| word.rsplit('/').next().unwrap_or(word));
    names
        .flat_map(|name| SETTINGS.iter().filter(move |(known, _)| known.iter().any(|k| is_program(name, k))))
        .map(|(_, setting)| setting)
        .next()
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
        if matches!(name, "backlog" | "tcp-backlog" | "listen-backlog" | "listen_backlog") {
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
            ("myapp", "", None),
        ] {
            assert_eq!(listen_setting(comm, &args(cmdline)).map(|s| s.server), server, "{comm}");
        }
    }

    #[test]
    fn a_backlog_on_the_command_line_is_found() {
        assert_eq!(requested_backlog(&args("x --backlog 2048")), Some(2048));
        assert_eq!(requested_backlog(&args("x --tcp-backlog=511 -v")), Some(511));
        assert_eq!(requested_backlog(&args("x --backlog")), None);
        assert_eq!(requested_backlog(&args("x --backlog many")), None);
        assert_eq!(requested_backlog(&args("backlog 3")), None);
    }
}

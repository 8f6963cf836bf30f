//! Whom a request is meant for. A page from elsewhere can't read what another address answers its browser, unless its own
//! name leads there: whoever owns a name may let it lead to loopback (DNS rebinding). The browser still says the name.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The names that a request may be meant for.
#[derive(Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
    any: bool,
}

impl Hosts {
    /// For who listens there: on loopback only names that nobody else can own, and those that were allowed; elsewhere any
    /// name, unless some were allowed.
    pub(crate) fn at(listen: SocketAddr, allowed: &[String]) -> Self {
        let any = allowed.is_empty() && !listen.ip().to_canonical().is_loopback();
        Self { names: allowed.to_vec(), any }
    }

    /// Whether a Host header is one of these. An address is nobody's name.
    pub(crate) fn allow(&self, header: &str) -> bool {
        let Some(name) = name(header) else { return false };
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        self.any || is("localhost") || is_address(name) || self.names.iter().any(|known| is(known))
    }
}

/// Without the port; `None` for what is no host.
fn name(header: &str) -> Option<&str> {
    let header = header.trim_matches([' ', '\t']);
    // An IPv6 address has colons of its own, and brackets for that.
    let end = header.find(']').map_or(0, |bracket| bracket + 1);
    let (name, port) = match header[end..].find(':') {
        Some(colon) => (&header[..end + colon], &header[end + colon + 1..]),
        None => (header, ""),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

fn is_address(name: &str) -> bool {
    match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|six| six.parse::<Ipv6Addr>().is_ok()),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOOPBACK: &str = "127.0.0.1:9877";

    fn at(listen: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        Hosts::at(listen.parse().unwrap(), &allowed)
    }

    #[test]
    fn on_loopback_only_what_nobody_else_can_own_is_a_name() {
        for listen in [LOOPBACK, "[::1]:9877", "[::ffff:127.0.0.1]:9877"] {
            let hosts = at(listen, &["web-07.example"]);
            for host in [
                "localhost",
                "LocalHost:9877",
                "localhost.:9877",
                "127.0.0.1:9877",
                "127.8.8.8",
                "[::1]:9877",
                "[::1]",
                "192.0.2.7:1",
                " localhost ",
                "web-07.example:9877",
                "WEB-07.example",
                "localhost:",
            ] {
                assert!(hosts.allow(host), "{host}");
            }
            for host in [
                "",
                ":9877",
                ".",
                "attacker.example",
                "attacker.example:9877",
                "localhost.attacker.example",
                "127.0.0.1.attacker.example",
                "attacker.example:127.0.0.1",
                "localhost:9877@attacker.example",
                "attacker.example/localhost",
                "[::1].attacker.example",
                "[::1",
                "::1",
                "[localhost]",
                "localhost,attacker.example",
                "localhost attacker.example",
                "example",
                "web-07.example.attacker",
            ] {
                assert!(!hosts.allow(host), "{host}");
            }
        }
    }

    #[test]
    fn elsewhere_any_name_is_one_until_some_are_allowed() {
        assert!(at("0.0.0.0:9877", &[]).allow("web-07.example"));
        assert!(at("[2001:db8::1]:9877", &[]).allow("web-07"));
        let hosts = at("0.0.0.0:9877", &["web-07"]);
        assert!(hosts.allow("web-07:9877") && hosts.allow("192.0.2.7") && !hosts.allow("attacker.example"));
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in ".*") {
            at(LOOPBACK, &[]).allow(&header);
        }

        #[test]
        fn a_name_of_letters_is_nobodys_but_localhost(name in "[a-z.-]{1,40}", port in 0_u16..) {
            let is_localhost = name.trim_end_matches('.') == "localhost";
            prop_assert_eq!(at(LOOPBACK, &[]).allow(&format!("{name}:{port}")), is_localhost && !name.ends_with(".."));
        }
    }
}

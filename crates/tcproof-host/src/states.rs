//! How many TCP sockets are in which state, in every namespace that can be entered: one dump each, without attributes.

use std::collections::BTreeMap;

use tcproof_core::states::State;
use tcproof_core::{Absent, Reading, Version};

use crate::diag::{Diag, Request, States};
use crate::{Error, Everywhere, Root, Scope, everywhere};

/// Sockets by state. A state that the kernel can't be asked for is not in it: CLOSE is in no table, and BOUND-INACTIVE
/// can be asked for since 6.8.
pub type Counts = BTreeMap<State, u64>;

/// Counts the sockets of every namespace of the scope.
///
/// # Errors
/// The root is none, or the scope names no namespace. What can't be read is `Absent`, or among the unseen.
pub fn states(root: &Root, scope: &Scope) -> Result<Everywhere<Reading<Counts>>, Error> {
    let release = root.read("proc/sys/kernel/osrelease").ok();
    let asked = asked(release.and_then(|release| Version::of_release(&release)));
    everywhere(root, scope, usize::MAX, |root| match root.is_live() {
        true => count(&asked).into(),
        false => Reading::Absent(Absent::Failed {
            what: "sockets".into(),
            error: "there is no sock_diag behind a directory".into(),
        }),
    })
}

/// The sum of the namespaces that were read; empty where none was.
pub fn total(counted: &Everywhere<Reading<Counts>>) -> Counts {
    let mut total = Counts::new();
    for (state, n) in counted.places.iter().filter_map(|(_, counts)| counts.value()).flatten() {
        let sum = total.entry(*state).or_default();
        *sum = sum.saturating_add(*n);
    }
    total
}

/// The states that this kernel can be asked for.
fn asked(kernel: Option<Version>) -> Vec<State> {
    let answered = |state: &State| match state {
        State::Close => false,
        State::BoundInactive => kernel.is_some_and(|kernel| state.about().since <= kernel),
        _ => true,
    };
    State::ALL.into_iter().filter(answered).collect()
}

/// Of the namespace that the thread is in. A walk that failed counts nothing at all.
fn count(asked: &[State]) -> Result<Counts, Absent> {
    let mut counts: Counts = asked.iter().map(|state| (*state, 0)).collect();
    let wanted = asked.iter().fold(0, |set, state| set | 1 << state.number());
    Diag::open()?.dump(&Request::tcp(States(wanted)), |socket| {
        let state = match State::of_number(socket.state()) {
            // The message says SYN_RECV of a request, and CLOSE of a socket that is only bound.
            Some(State::SynRecv) if socket.is_request() => State::NewSynRecv,
            Some(State::Close) => State::BoundInactive,
            Some(state) => state,
            None => return,
        };
        if let Some(n) = counts.get_mut(&state) {
            *n += 1;
        }
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::path::Path;
    use std::time::Duration;

    fn own() -> Counts {
        let counted = states(&Root::new("/"), &Scope::Pid(std::process::id())).unwrap();
        let counts = counted.places[0].1.value().unwrap().clone();
        assert_eq!(total(&counted), counts);
        counts
    }

    #[test]
    fn sockets_of_our_own_are_counted_in_their_states() {
        // Many of each: other tests open and close a few meanwhile.
        const MANY: u64 = 40;
        let before = own();
        let mut held = Vec::new();
        for _ in 0..MANY {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let connection = || {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (client, listener.accept().unwrap().0)
            };
            // The client closes its side only: FIN-WAIT-2 there, CLOSE-WAIT here.
            let half = connection();
            half.0.shutdown(Shutdown::Write).unwrap();
            // The client closes first, and goes to TIME-WAIT.
            let (client, server) = connection();
            drop(client);
            drop(server);
            held.push((half, listener));
        }
        std::thread::sleep(Duration::from_millis(50));
        let after = own();
        for state in [State::Listen, State::FinWait2, State::CloseWait, State::TimeWait] {
            assert!(after[&state] >= before[&state] + MANY / 2, "{state}: {before:?} {after:?}");
        }
        assert!(!after.contains_key(&State::Close));
    }

    #[test]
    fn a_directory_has_no_sockets_to_count() {
        let root = Root::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/6.18"));
        let counted = states(&root, &Scope::All).unwrap();
        assert!(counted.places[0].1.absent().is_some() && total(&counted).is_empty());
    }

    #[test]
    fn what_a_kernel_cannot_be_asked_is_not_zero() {
        for (kernel, bound) in [(None, false), (Some(Version(6, 7)), false), (Some(Version(6, 8)), true)] {
            let asked = asked(kernel);
            assert_eq!(asked.contains(&State::BoundInactive), bound);
            assert!(!asked.contains(&State::Close) && asked.len() == 11 + usize::from(bound));
        }
    }
}

//! Undoing things in reverse order, whatever happens: the end of the scope, an error, a panic, Ctrl-C.
//!
//! What even SIGKILL must not leave behind does not rely on this: namespaces are anonymous ([`super::netns`]) and child
//! processes die with their parent ([`die_with_parent`]).

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};

type Undo<'a> = Box<dyn FnOnce() -> Result<(), String> + Send + 'a>;

/// A stack of things to undo: last in, first out; when dropped, also by a panic.
#[derive(Default)]
pub struct Cleanup<'a> {
    steps: Vec<(String, Undo<'a>)>,
}

impl<'a> Cleanup<'a> {
    /// An empty stack.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step, to be undone before all that were pushed earlier.
    pub fn push(&mut self, name: impl Into<String>, undo: impl FnOnce() -> Result<(), String> + Send + 'a) {
        self.steps.push((name.into(), Box::new(undo)));
    }

    /// Runs every step now; returns what went wrong, as `name: reason`. A failed or panicking step stops no other.
    pub fn run(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        while let Some((name, undo)) = self.steps.pop() {
            match catch_unwind(AssertUnwindSafe(undo)) {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => failures.push(format!("{name}: {reason}")),
                Err(_) => failures.push(format!("{name}: panicked")),
            }
        }
        failures
    }
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        for failure in self.run() {
            eprintln!("cleanup: {failure}");
        }
    }
}

impl fmt::Debug for Cleanup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|(name, _)| name)).finish()
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C (SIGINT) and SIGTERM only raise the flag that [`interrupted`] reads; a second one exits at once.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn catch_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down and only raises it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, &INTERRUPTED)?;
        signal_hook::flag::register(signal, &INTERRUPTED)?;
    }
    Ok(())
}

/// Whether Ctrl-C or SIGTERM came. Every loop of the lab asks, so that it unwinds and cleans up.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// For a child process at its start: be killed when the **thread** that started it ends, however that happens. So the
/// lab starts its children from a thread that lives as long as they may.
///
/// # Errors
/// If `parent`, the process id of the lab, is gone already.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The signal is only sent for an end that comes after this call.
    let alive = rustix::process::getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok());
    if alive == Some(parent) { Ok(()) } else { Err(io::Error::other("the lab that started this process is gone")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn steps_run_last_in_first_out_and_none_stops_another() {
        let order = Mutex::new(Vec::new());
        let note = |name| order.lock().expect("no panic holds it").push(name);
        let mut cleanup = Cleanup::new();
        cleanup.push("first", || {
            note("first");
            Ok(())
        });
        cleanup.push("second", || panic!("on purpose"));
        cleanup.push("third", || Err("refused".to_owned()));
        assert_eq!(cleanup.run(), ["third: refused", "second: panicked"]);
        drop(cleanup);
        assert_eq!(*order.lock().expect("no panic holds it"), ["first"]);
    }

    #[test]
    fn a_panic_cleans_up_on_its_way() {
        let order = Mutex::new(Vec::new());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut cleanup = Cleanup::new();
            for name in ["first", "second"] {
                let order = &order;
                cleanup.push(name, move || {
                    order.lock().expect("no panic holds it").push(name);
                    Ok(())
                });
            }
            panic!("on purpose");
        }));
        assert!(result.is_err());
        assert_eq!(*order.lock().expect("no panic holds it"), ["second", "first"]);
    }
}

//! Watches this host and prints the interval as JSON: what the limits judge, for a fixture or a bug report.
//!
//! `cargo run --example record -- [SECONDS]`

use std::time::Duration;

use tcproof_host::{NoProbes, Options, Scope, observe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5.0), |text| text.parse())?;
    let options =
        Options { root: "/".into(), window: Duration::try_from_secs_f64(seconds)?, scope: Scope::All, ports: false };
    let interval = observe(&options, &mut NoProbes, &mut |_| {})?;
    serde_json::to_writer_pretty(std::io::stdout().lock(), &interval)?;
    println!();
    Ok(())
}

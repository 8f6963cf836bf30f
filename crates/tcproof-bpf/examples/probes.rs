//! Attaches probes until its standard input ends: what they cost others is measured beside (`cargo xtask bench trace`).
//!
//! `probes [NAME]...`, of all that there are without a name; says `ready`, or why not.

use std::io::Read;
use std::process::ExitCode;

use tcproof_bpf::trace::Probes;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let mut probes = Probes::load();
    probes.keep(is_wanted);
    probes.attach();
    let mut refused = probes.states().filter(|(name, _)| is_wanted(name));
    if let Some((name, why)) = refused.find_map(|(name, why)| Some((name, why?))) {
        println!("{name}: {why}");
        return ExitCode::FAILURE;
    }
    println!("ready");
    // Its end is all that is waited for.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

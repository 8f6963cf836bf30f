//! `tcproof doctor`: what can and cannot be seen here, why, and what would change it.

use std::process::ExitCode;

use tcproof_host::Root;
use tcproof_host::census::Extra;
use tcproof_host::doctor::{Sight, look};

use super::{Exit, print, style};
use crate::cli::{DoctorArgs, OutputArgs};
use crate::ebpf::{Ebpf, probes};
use crate::privileges;

/// Runs it.
pub(crate) fn run(args: &DoctorArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    // No kernel stands behind a directory.
    let is_live = Root::new(&args.root).is_live();
    let needs = if is_live { privileges::needs() } else { Vec::new() };
    let ebpf = Ebpf::default();
    let mut sights: Vec<Sight> = look(&args.root, is_live.then_some(&ebpf as &dyn Extra))?;
    if is_live {
        sights.extend(probes().into_iter().map(|(what, seen)| Sight { what: what.into(), seen }));
    }
    privileges::drop_all()?;
    let rows: Vec<_> = sights.iter().map(|sight| (sight.what.as_str(), &sight.seen)).collect();
    let text = match output.json() {
        true => tcproof_report::doctor::json(&rows, &needs),
        false => tcproof_report::doctor::text(&rows, &needs, &style(output, false, false)),
    };
    print(&text)?;
    let unseen = sights.iter().any(|sight| sight.seen.absent().is_some());
    Ok(if args.strict && unseen { Exit::Unseen } else { Exit::Done }.into())
}

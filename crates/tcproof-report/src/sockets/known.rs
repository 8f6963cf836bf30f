//! Tables of what a recording knows: some states, and sockstat's sums.

use std::cmp::Reverse;

use tcproof_core::census::{Census, NetnsCensus, Sockstat};
use tcproof_core::states::State;

use super::text::{MARGIN, NUMBER, Tables, right};
use crate::layout::{Cell, Role, bind, thousands};

/// What sockstat has in all namespaces that have one.
fn sockstat(census: &Census) -> Option<Sockstat> {
    let of = |ns: &NetnsCensus| ns.sockstat.value().map(|(_, now)| *now);
    census
        .namespaces
        .values()
        .filter_map(of)
        .reduce(|sum, one| Sockstat { inuse: sum.inuse.saturating_add(one.inuse), tw: sum.tw.saturating_add(one.tw) })
}

/// Sockets, where nobody counted them.
pub(super) fn in_use(census: &Census) -> Option<u64> {
    sockstat(census).map(|Sockstat { inuse, tw }| inuse.saturating_add(tw))
}

impl Tables<'_> {
    pub(super) fn known(&mut self) {
        let namespaces = &self.census.namespaces;
        let of = |state: State| namespaces.values().filter_map(move |ns| ns.known.get(&state));
        let mut rows = Vec::new();
        for state in State::ALL {
            let (known, n) = of(state).fold((0, 0_u64), |(known, sum), n| (known + 1, sum + u64::from(*n)));
            let only = (known < namespaces.len()).then(|| format!("in {known} of {}", namespaces.len()));
            let only = only.map(|text| bind(&format!("{text} namespaces"))).unwrap_or_default();
            if known > 0 {
                rows.push((state.about().name, n, only));
            }
        }
        let open: Vec<u64> = namespaces.values().filter_map(|ns| ns.open).collect();
        if !open.is_empty() {
            rows.push(("open", open.iter().sum(), "from ESTABLISHED to LAST-ACK, at the window's beginning".into()));
        }
        if let Some(Sockstat { inuse, tw }) = sockstat(self.census) {
            rows.push(("inuse", inuse, "all but small ones, by sockstat".into()));
            rows.push(("tw", tw, "TIME-WAIT, and orphans in FIN-WAIT-2, by sockstat".into()));
        }
        for (at, (name, n, text)) in rows.iter().enumerate() {
            let heading = if at == 0 { "STATES" } else { "" };
            let number = right(&thousands(*n));
            let cells = [
                Cell::new(Role::Heading, heading, MARGIN),
                Cell::new(Role::Plain, name, 14),
                Cell::new(Role::Plain, &number, NUMBER + 1),
            ];
            self.screen.row(&cells, Role::Label, text);
        }
    }

    pub(super) fn known_by_namespace(&mut self) {
        self.heading("NETNS", &["open", "listen", "inuse", "tw"], "name");
        let stat = |ns: &NetnsCensus| ns.sockstat.value().map(|(_, now)| *now);
        let mut rows: Vec<_> = self.census.namespaces.iter().collect();
        rows.sort_by_key(|(id, ns)| (Reverse(stat(ns).map(|stat| stat.inuse + stat.tw)), **id));
        let most = self.most();
        for (_, ns) in rows.iter().take(most) {
            let stat = stat(ns);
            let numbers = [
                ns.open,
                ns.known.get(&State::Listen).map(|n| u64::from(*n)),
                stat.map(|stat| stat.inuse),
                stat.map(|stat| stat.tw),
            ];
            let numbers = numbers.map(|n| n.map_or("-".into(), thousands));
            self.numbers(&numbers, Role::Plain, &ns.name);
        }
        self.more(rows.len().saturating_sub(most), "namespace");
    }
}

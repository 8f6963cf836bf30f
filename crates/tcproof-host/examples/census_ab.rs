//! A/B
#![allow(missing_docs, clippy::unwrap_used)]
use std::time::Instant;
use tcproof_core::census::*;
use tcproof_core::snapshot::NetnsId;
use tcproof_host::diag::{Diag, Half, Request, States};
fn walk(half: Option<Half>, place: &Place, raw: u8) -> Tally {
    let mut diag = Diag::open().unwrap();
    let mut t = Tally::new(Bounds::default());
    let mut n = 0u64;
    {
        let mut p = t.place(place);
        let mut r = Request::tcp(States::ALL_BUT_LISTEN);
        if let Some(h) = half {
            r = r.half(h);
        }
        diag.dump(&r, |s| {
            n += 1;
            if raw == 0 {
                p.add(&Seen {
                    state: s.state(),
                    small: s.is_time_wait(),
                    local: s.local(),
                    remote: s.remote(),
                    inode: s.inode(),
                    cgroup: s.cgroup_id(),
                });
            }
        })
        .unwrap();
    }
    if raw == 1 {
        println!("{n}");
    }
    t
}
fn main() {
    let place = Place { netns: NetnsId(1), listening: vec![], ephemeral: PortRange { low: 1024, high: 65535 } };
    for _ in 0..4 {
        let s = Instant::now();
        walk(None, &place, 1);
        let raw = s.elapsed();
        let s = Instant::now();
        let t = walk(None, &place, 0);
        let one = s.elapsed();
        let s = Instant::now();
        let at = 33280;
        let two = std::thread::scope(|sc| {
            let a = sc.spawn(|| walk(Some(Half::Below(at)), &place, 0));
            let mut b = walk(Some(Half::NotBelow(at)), &place, 0);
            b.merge(a.join().unwrap());
            b
        });
        let two_t = s.elapsed();
        println!(
            "raw {raw:?} one {one:?} two {two_t:?} {:?} {:?}",
            t.namespaces().values().next().unwrap().value().unwrap().states.total(),
            two.namespaces().values().next().unwrap().value().unwrap().states.total()
        );
    }
}

//! Written by `cargo xtask bpf` from `programs/*.bpf.c`.

use crate::skeleton::Skeleton;

/// `programs/arrivals.bpf.c`
pub static ARRIVALS: Skeleton = Skeleton {
    name: "arrivals",
    data: include_bytes!("../programs/arrivals.data"),
    insns: include_bytes!("../programs/arrivals.insns"),
    maps: &["rows", "state"],
    programs: &["reader", "wakes"],
};

/// `programs/connects.bpf.c`
pub static CONNECTS: Skeleton = Skeleton {
    name: "connects",
    data: include_bytes!("../programs/connects.data"),
    insns: include_bytes!("../programs/connects.insns"),
    maps: &["rows", "state"],
    programs: &["reader", "changes"],
};

/// `programs/drops.bpf.c`
pub static DROPS: Skeleton = Skeleton {
    name: "drops",
    data: include_bytes!("../programs/drops.data"),
    insns: include_bytes!("../programs/drops.insns"),
    maps: &["rows", "state"],
    programs: &["reader", "drops"],
};

/// `programs/files.bpf.c`
pub static FILES: Skeleton = Skeleton {
    name: "files",
    data: include_bytes!("../programs/files.data"),
    insns: include_bytes!("../programs/files.insns"),
    maps: &["buffer"],
    programs: &["tasks", "files"],
};

/// `programs/memory.bpf.c`
pub static MEMORY: Skeleton = Skeleton {
    name: "memory",
    data: include_bytes!("../programs/memory.data"),
    insns: include_bytes!("../programs/memory.insns"),
    maps: &["rows", "state"],
    programs: &["refuses"],
};

/// `programs/resent.bpf.c`
pub static RESENT: Skeleton = Skeleton {
    name: "resent",
    data: include_bytes!("../programs/resent.data"),
    insns: include_bytes!("../programs/resent.insns"),
    maps: &["state", "rows"],
    programs: &["resends", "resets", "aborts"],
};

/// `programs/walk.bpf.c`
pub static WALK: Skeleton = Skeleton {
    name: "walk",
    data: include_bytes!("../programs/walk.data"),
    insns: include_bytes!("../programs/walk.insns"),
    maps: &["buffers"],
    programs: &["walk", "namespaces"],
};

/// All of them.
pub static ALL: [&Skeleton; 7] = [&ARRIVALS, &CONNECTS, &DROPS, &FILES, &MEMORY, &RESENT, &WALK];

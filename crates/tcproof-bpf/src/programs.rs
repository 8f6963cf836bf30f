//! Written by `cargo xtask bpf` from `programs/*.bpf.c`.

use crate::skeleton::Skeleton;

/// `programs/task_file.bpf.c`
pub static TASK_FILE: Skeleton = Skeleton {
    name: "task_file",
    data: include_bytes!("../programs/task_file.data"),
    insns: include_bytes!("../programs/task_file.insns"),
    maps: &[],
    programs: &["files"],
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
pub static ALL: [&Skeleton; 2] = [&TASK_FILE, &WALK];

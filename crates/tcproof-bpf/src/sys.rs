//! bpf(2), for which no crate at hand has a safe call without libbpf or a user-space copy of it, and the shared memory of a
//! map. All of this crate's `unsafe` is here, behind functions that take slices and descriptors.
//!
//! include/uapi/linux/bpf.h: each command reads a `union bpf_attr` as long as it is told. Only what a command needs is
//! passed, so that an older kernel refuses only what it does not know (E2BIG).
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const PROG_TEST_RUN: i32 = 10;
const PROG_GET_NEXT_ID: i32 = 11;
const RAW_TRACEPOINT_OPEN: i32 = 17;
const MAP_LOOKUP_BATCH: i32 = 24;
const LINK_CREATE: i32 = 28;
const ITER_CREATE: i32 = 33;

const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SYSCALL: u32 = 31;
const F_SLEEPABLE: u32 = 1 << 4;
const TRACE_ITER: u32 = 28;

/// At least one of the lines of a verifier's log.
const LOG_BRIEF: u32 = 1;

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    /// `map_ifindex`, up to the next 64 bits.
    unused: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapElement {
    map_fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    /// Device, attach type, types and lines: the loader has none.
    unused: [u64; 7],
    fd_array: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u64,
}

#[repr(C)]
#[derive(Default)]
struct RawTracepoint {
    /// Null: the program itself knows where it belongs (`tp_btf`).
    name: u64,
    prog_fd: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Error::from_raw_os_error(libc::E2BIG))
}

/// # Safety
/// `T` is what the command reads, and every address in it is that of as many bytes as the command reads or writes there.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> Result<i32> {
    // SAFETY: the caller's; the kernel reads and writes no more of `attributes` than the length says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(Error::last_os_error)
}

/// # Safety
/// As [`bpf`], of a command that returns a new descriptor.
unsafe fn descriptor<T>(command: i32, attributes: &mut T) -> Result<OwnedFd> {
    // SAFETY: the caller's; nobody else knows a new descriptor. The kernel makes those of bpf(2) close-on-exec.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(command, attributes)?)) }
}

/// A map of one value: the loader's data.
pub(crate) fn loader_map(data: &[u8]) -> Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: length(data.len())?,
        max_entries: 1,
        map_name: *b"__loader.map\0\0\0\0",
        ..MapCreate::default()
    };
    // SAFETY: no address in it.
    let map = unsafe { descriptor(MAP_CREATE, &mut attributes) }?;
    let key = 0_u32;
    let mut attributes = MapElement {
        map_fd: number(map.as_fd()),
        key: std::ptr::from_ref(&key).expose_provenance() as u64,
        value: data.as_ptr().expose_provenance() as u64,
        ..MapElement::default()
    };
    // SAFETY: the key is of four bytes, the value of as many as the map was made for.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }?;
    Ok(map)
}

/// The program that creates and loads the others. An empty log asks for none.
pub(crate) fn loader_program(insns: &[u8], map: BorrowedFd<'_>, log: &mut [u8]) -> Result<OwnedFd> {
    let maps = [map.as_raw_fd()];
    let mut attributes = ProgLoad {
        prog_type: PROG_TYPE_SYSCALL,
        insn_cnt: length(insns.len() / 8)?,
        insns: insns.as_ptr().expose_provenance() as u64,
        // What libbpf's generator, whose code this is, asks for.
        license: c"Dual BSD/GPL".as_ptr().expose_provenance() as u64,
        prog_flags: F_SLEEPABLE,
        prog_name: *b"__loader.prog\0\0\0",
        fd_array: maps.as_ptr().expose_provenance() as u64,
        ..ProgLoad::default()
    };
    if !log.is_empty() {
        attributes.log_level = LOG_BRIEF;
        attributes.log_size = length(log.len())?;
        attributes.log_buf = log.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: the instructions are eight bytes each, the licence ends in a NUL, the loader has one map, and the log is
    // as long as said.
    unsafe { descriptor(PROG_LOAD, &mut attributes) }
}

/// What the loader made, in the skeleton's order.
pub(crate) struct Made {
    pub(crate) maps: Vec<OwnedFd>,
    pub(crate) programs: Vec<OwnedFd>,
}

/// Runs the loader. The inner error is its own: it has closed what it had made by then (`emit_check_err` of libbpf's
/// gen_loader.c).
pub(crate) fn run_loader(
    program: BorrowedFd<'_>,
    maps: usize,
    programs: usize,
    log: &mut [u8],
) -> Result<std::result::Result<Made, Error>> {
    // struct bpf_loader_ctx { u32 sz, flags, log_level, log_size; u64 log_buf }, then for each map { i32 fd;
    // u32 max_entries; u64 initial_value }, then for each program { i32 fd }.
    const HEAD: usize = 6;
    const MAP: usize = 4;
    let words = HEAD + MAP * maps + programs;
    // Of 64 bits, for the kernel aligns its copy and the address is one.
    let mut context = vec![0_u32; words.next_multiple_of(2)];
    context[0] = length(words * 4)?;
    if !log.is_empty() {
        let address = log.as_mut_ptr().expose_provenance() as u64;
        let halves: [[u8; 4]; 2] = zip_halves(address);
        context[2] = LOG_BRIEF;
        context[3] = length(log.len())?;
        context[4] = u32::from_ne_bytes(halves[0]);
        context[5] = u32::from_ne_bytes(halves[1]);
    }
    let mut attributes = TestRun {
        prog_fd: number(program),
        ctx_size_in: length(words * 4)?,
        ctx_in: context.as_mut_ptr().expose_provenance() as u64,
        ..TestRun::default()
    };
    // SAFETY: the context has at least `words` words, which the kernel reads and writes back; the log is as long as the
    // context says.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    let returned = attributes.retval.cast_signed();
    if returned < 0 {
        return Ok(Err(Error::from_raw_os_error(-returned)));
    }
    let adopt = |slot: usize| {
        let fd = context[slot].cast_signed();
        // Zero is an empty slot: the standard library keeps descriptors 0 to 2 open.
        // SAFETY: the loader ended well, so that what it put there is a new descriptor of this process that nobody else knows.
        (fd > 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    };
    let made_maps: Vec<_> = (0..maps).filter_map(|n| adopt(HEAD + MAP * n)).collect();
    let made_programs: Vec<_> = (0..programs).filter_map(|n| adopt(HEAD + MAP * maps + n)).collect();
    if made_maps.len() < maps || made_programs.len() < programs {
        return Ok(Err(Error::from_raw_os_error(libc::EBADF)));
    }
    Ok(Ok(Made { maps: made_maps, programs: made_programs }))
}

fn zip_halves(word: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [[a, b, c, d], [e, f, g, h]]
}

/// Runs a program of a raw tracepoint in this thread, with these arguments, and returns what it does.
pub(crate) fn run(program: BorrowedFd<'_>, arguments: &[u64]) -> Result<u32> {
    let mut attributes = TestRun {
        prog_fd: number(program),
        ctx_size_in: length(size_of_val(arguments))?,
        ctx_in: arguments.as_ptr().expose_provenance() as u64,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads as many bytes of the arguments as there are.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    Ok(attributes.retval)
}

/// A file that an iterator writes as it is read. It holds the program; nothing else is attached to anything.
pub(crate) fn iterate(program: BorrowedFd<'_>) -> Result<File> {
    let mut attributes = LinkCreate { prog_fd: number(program), attach_type: TRACE_ITER, ..LinkCreate::default() };
    // SAFETY: no address in it that is not null.
    let link = unsafe { descriptor(LINK_CREATE, &mut attributes) }?;
    let mut attributes = IterCreate { link_fd: number(link.as_fd()), ..IterCreate::default() };
    // SAFETY: no address in it.
    Ok(unsafe { descriptor(ITER_CREATE, &mut attributes) }?.into())
}

/// Attaches a program to its tracepoint, until the descriptor is closed.
pub(crate) fn attach(program: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attributes = RawTracepoint { prog_fd: number(program), ..RawTracepoint::default() };
    // SAFETY: no address in it that is not null.
    unsafe { descriptor(RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// All entries of a hash map of at most `most`, one behind the other: keys, values, and how many.
pub(crate) fn entries(
    map: BorrowedFd<'_>,
    most: usize,
    key_bytes: usize,
    value_bytes: usize,
) -> Result<(Vec<u8>, Vec<u8>, usize)> {
    let (mut keys, mut values, mut next) = (vec![0; most * key_bytes], vec![0; most * value_bytes], 0_u32);
    let mut attributes = Batch {
        out_batch: std::ptr::from_mut(&mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: length(most)?,
        map_fd: number(map),
        ..Batch::default()
    };
    // SAFETY: the kernel writes at most `count` keys and values, for which there is room if they are as long as the map's;
    // and the number of a bucket, four bytes (`__htab_map_lookup_and_delete_batch`, kernel/bpf/hashtab.c).
    match unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) } {
        Ok(_) => {}
        // That was all.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    Ok((keys, values, (attributes.count as usize).min(most)))
}

/// The ids of all programs in this kernel: what is left behind is among them.
///
/// # Errors
/// EPERM without `CAP_SYS_ADMIN`.
pub fn loaded_programs() -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        let mut attributes = NextId { start_id: ids.last().copied().unwrap_or(0), ..NextId::default() };
        // SAFETY: no address in it.
        match unsafe { bpf(PROG_GET_NEXT_ID, &mut attributes) } {
            Ok(_) => ids.push(attributes.next_id),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// The memory of one value of an array map (`BPF_F_MMAPABLE`), which programs write.
#[derive(Debug)]
pub(crate) struct View {
    at: *mut AtomicU64,
    words: usize,
}

// SAFETY: the memory belongs to the value, is read by atomic operations alone, and is there until it is dropped.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Of value number `index`; `bytes` is the size of one, a multiple of every page size.
    pub(crate) fn new(map: BorrowedFd<'_>, index: usize, bytes: usize) -> Result<Self> {
        let (flags, from) = (MapFlags::SHARED, (index * bytes) as u64);
        // SAFETY: new memory where the kernel likes it.
        let at = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, flags, map, from) }?;
        Ok(Self { at: at.cast(), words: bytes / 8 })
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: as many words are mapped, at a page's start, until `self` is dropped. Nothing of them is written by Rust,
        // and what a program writes meanwhile is read word by word.
        unsafe { std::slice::from_raw_parts(self.at, self.words) }
    }

    pub(crate) fn word(&self, index: usize) -> u64 {
        self.words().get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: just what was mapped; no slice of it outlives `self`.
        // Nothing is to be done about a failure, and there is none for memory that was mapped.
        let _ = unsafe { munmap(self.at.cast(), self.words * 8) };
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// As in include/uapi/linux/bpf.h.
    #[test]
    fn attributes_are_laid_out_as_the_kernel_reads_them() {
        assert_eq!(offset_of!(MapCreate, map_name), 28);
        assert_eq!(offset_of!(MapElement, value), 16);
        assert_eq!(offset_of!(ProgLoad, prog_name), 48);
        assert_eq!(offset_of!(ProgLoad, fd_array), 120);
        assert_eq!(offset_of!(TestRun, ctx_size_in), 40);
        assert_eq!(offset_of!(TestRun, ctx_in), 48);
        assert_eq!(offset_of!(LinkCreate, iter_info), 16);
        assert_eq!(offset_of!(RawTracepoint, prog_fd), 8);
        assert_eq!(offset_of!(Batch, count), 32);
        let sizes = [size_of::<MapCreate>(), size_of::<ProgLoad>(), size_of::<TestRun>(), size_of::<LinkCreate>()];
        assert_eq!(sizes, [48, 128, 80, 32]);
        assert_eq!([size_of::<RawTracepoint>(), size_of::<Batch>()], [16, 56]);
    }
}

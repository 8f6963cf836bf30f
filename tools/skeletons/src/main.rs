//! Makes a light skeleton of a compiled eBPF program: `tcproof-skeletons OBJECT OUT`.
//!
//! Writes `OUT.data` and `OUT.insns`, what `bpf_object__gen_loader` of libbpf makes of it: a program that itself creates the
//! maps, relocates and loads the other programs, in the kernel. Prints the names of its maps and programs, in the order
//! of its context's slots. Development only: who builds tcproof needs the files, not libbpf.

use std::error::Error;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;
use std::{env, fs, slice};

use libbpf_sys as libbpf;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [object, out] = &arguments[..] else { return Err("usage: tcproof-skeletons OBJECT OUT".into()) };
    let skeleton = Skeleton::of(object)?;
    let write = |extension: &str, bytes: &[u8]| {
        let mut file = out.clone();
        file.push(extension);
        fs::write(file, bytes)
    };
    write(".data", &skeleton.data)?;
    write(".insns", &skeleton.insns)?;
    for map in &skeleton.maps {
        println!("map {map}");
    }
    for program in &skeleton.programs {
        println!("program {program}");
    }
    Ok(())
}

struct Skeleton {
    data: Vec<u8>,
    insns: Vec<u8>,
    maps: Vec<String>,
    programs: Vec<String>,
}

impl Skeleton {
    fn of(object: &OsStr) -> Result<Self, Box<dyn Error>> {
        let path = CString::new(object.as_bytes())?;
        // SAFETY: the object is closed only after everything that is read of it has been copied; the names and buffers of
        // libbpf live as long as it, and each pointer is checked where libbpf may give none.
        unsafe {
            let object = libbpf::bpf_object__open_file(path.as_ptr(), std::ptr::null());
            if object.is_null() {
                return Err(io::Error::last_os_error().into());
            }
            let mut made: libbpf::gen_loader_opts = std::mem::zeroed();
            made.sz = size_of::<libbpf::gen_loader_opts>() as libbpf::size_t;
            check("bpf_object__gen_loader", libbpf::bpf_object__gen_loader(object, &mut made))?;
            check("bpf_object__load", libbpf::bpf_object__load(object))?;
            let bytes = |from: *const c_char, size: u32| slice::from_raw_parts(from.cast::<u8>(), size as usize).to_vec();
            let (data, insns) = (bytes(made.data, made.data_sz), bytes(made.insns, made.insns_sz));
            let mut maps = Vec::new();
            let mut map = null_mut();
            loop {
                map = libbpf::bpf_object__next_map(object, map);
                if map.is_null() {
                    break;
                }
                let name = text(libbpf::bpf_map__name(map));
                if name.contains('.') {
                    // Global variables would need their first values at load, which tcproof's loader does not give.
                    return Err(format!("{name}: pass arguments, not global variables").into());
                }
                maps.push(name);
            }
            let mut programs = Vec::new();
            let mut program = null_mut();
            loop {
                program = libbpf::bpf_object__next_program(object, program);
                if program.is_null() {
                    break;
                }
                programs.push(text(libbpf::bpf_program__name(program)));
            }
            libbpf::bpf_object__close(object);
            Ok(Self { data, insns, maps, programs })
        }
    }
}

fn check(what: &str, result: i32) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("{what}: {}", io::Error::from_raw_os_error(-result))) }
}

/// # Safety
/// `name` ends in a NUL and lives through the call.
unsafe fn text(name: *const c_char) -> String {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

//! libpcap's compiler of filters: the other module of the capture with unsafe code.
#![expect(unsafe_code, reason = "libpcap is a library of C")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{io, slice};

use libloading::Library;

use super::LinkType;
use super::program::{BpfInstruction, MAX_INSTRUCTIONS, too_long};
use crate::{Error, ErrorKind, Result};

/// As Debian names it, and as others do. Both are the same interface.
const NAMES: [&str; 2] = ["libpcap.so.0.8", "libpcap.so.1"];
/// `DLT_RAW` of Linux, which is not the number in files.
const DLT_RAW: c_int = 12;
/// `PCAP_NETMASK_UNKNOWN`: a filter that needs a netmask is refused.
const NETMASK_UNKNOWN: u32 = u32::MAX;

/// `struct bpf_program` of pcap/bpf.h; `BpfInstruction` is laid out as its `struct bpf_insn`.
#[repr(C)]
struct BpfProgram {
    length: c_uint,
    instructions: *mut BpfInstruction,
}

/// pcap/pcap.h. `pcap_t` is opaque.
struct Functions {
    open_dead: unsafe extern "C" fn(c_int, c_int) -> *mut c_void,
    compile: unsafe extern "C" fn(*mut c_void, *mut BpfProgram, *const c_char, c_int, u32) -> c_int,
    geterr: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    freecode: unsafe extern "C" fn(*mut BpfProgram),
    close: unsafe extern "C" fn(*mut c_void),
    /// What they are in.
    _library: Library,
}

pub(super) fn compile(text: &str, link_type: LinkType, snap_length: u32) -> Result<Vec<BpfInstruction>> {
    /// Before libpcap 1.8 the compiler had variables that are everybody's.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let functions = functions()?;
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let c_text = CString::new(text)
        .map_err(|nul| Error::new(ErrorKind::Filter, "a filter has no NUL in it".into(), io::Error::from(nul)))?;
    let compiler = Compiler::new(functions, link_type, snap_length)?;
    let mut program = BpfProgram { length: 0, instructions: ptr::null_mut() };
    // SAFETY: the pointers are to what libpcap made, to a program to be filled in, and to a text that ends with a NUL.
    let outcome =
        unsafe { (functions.compile)(compiler.pcap.as_ptr(), &raw mut program, c_text.as_ptr(), 1, NETMASK_UNKNOWN) };
    if outcome != 0 {
        let source = io::Error::other(compiler.message());
        return Err(Error::new(ErrorKind::Filter, format!("{text:?} is not a filter here"), source));
    }
    let length = program.length as usize;
    let copied = if length > MAX_INSTRUCTIONS || program.instructions.is_null() {
        Err(too_long(length))
    } else {
        // SAFETY: libpcap said that it compiled, so that there are so many instructions, until `freecode`.
        Ok(unsafe { slice::from_raw_parts(program.instructions, length) }.to_vec())
    };
    // SAFETY: it is what `compile` filled in, and is not used after this.
    unsafe { (functions.freecode)(&raw mut program) };
    copied
}

fn functions() -> Result<&'static Functions> {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    if let Some(functions) = FUNCTIONS.get() {
        return Ok(functions);
    }
    let loaded = Functions::load().map_err(|e| {
        let what = "a filter needs libpcap, which cannot be loaded: install libpcap0.8 (Debian, Ubuntu) or libpcap, or use no filter";
        Error::new(ErrorKind::Library, what.into(), io::Error::other(e))
    })?;
    Ok(FUNCTIONS.get_or_init(|| loaded))
}

impl Functions {
    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: libpcap's initialisation does nothing that others could notice, and the functions are those that pcap/pcap.h declares
        // under these names since version 0.8. They are not used without the library, which stays loaded.
        unsafe {
            let library = Library::new(NAMES[0]).or_else(|_not_there| Library::new(NAMES[1]))?;
            Ok(Self {
                open_dead: *library.get(b"pcap_open_dead\0")?,
                compile: *library.get(b"pcap_compile\0")?,
                geterr: *library.get(b"pcap_geterr\0")?,
                freecode: *library.get(b"pcap_freecode\0")?,
                close: *library.get(b"pcap_close\0")?,
                _library: library,
            })
        }
    }
}

/// A `pcap_t` that captures nothing.
struct Compiler {
    functions: &'static Functions,
    pcap: NonNull<c_void>,
}

impl Compiler {
    fn new(functions: &'static Functions, link_type: LinkType, snap_length: u32) -> Result<Self> {
        let link_type = if link_type == LinkType::RAW { DLT_RAW } else { c_int::from(link_type.0) };
        let snap_length = c_int::try_from(snap_length).unwrap_or(c_int::MAX);
        // SAFETY: any numbers will do.
        let pcap = unsafe { (functions.open_dead)(link_type, snap_length) };
        let none = || Error::new(ErrorKind::Filter, "libpcap has no memory to compile a filter".into(), None);
        Ok(Self { functions, pcap: NonNull::new(pcap).ok_or_else(none)? })
    }

    fn message(&self) -> String {
        // SAFETY: libpcap answers with a text that ends with a NUL, and changes it with the next call only.
        let message = unsafe { CStr::from_ptr((self.functions.geterr)(self.pcap.as_ptr())) };
        message.to_string_lossy().into_owned()
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // SAFETY: it is what libpcap made, and is not used after this.
        unsafe { (self.functions.close)(self.pcap.as_ptr()) };
    }
}

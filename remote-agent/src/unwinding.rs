//! Nobody walks this program's stack: a panic aborts, and the tables that a walk would read are left out
//! (`no-unwind.ld`). The standard library comes compiled with calls into an unwinder all the same, and with all that prints
//! what a walk finds: names, files and lines, decompressed and demangled, a quarter of the program. Here are the unwinder's
//! functions, as they are at the end of a stack; the compiler sees that no walk finds anything, and leaves out the rest.
//!
//! Only the attributes that give a function its name for the linker are unsafe here: no other program part is called so.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::process::abort;

/// `_URC_END_OF_STACK`
const END: c_int = 5;

/// The stack is at its end.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _context: *mut c_void) -> c_int {
    END
}

/// Where a frame is: there is none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIP(_context: *mut c_void) -> usize {
    0
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(_context: *mut c_void, _before: *mut c_int) -> usize {
    0
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetCFA(_context: *mut c_void) -> usize {
    0
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_FindEnclosingFunction(_pc: *mut c_void) -> *mut c_void {
    std::ptr::null_mut()
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetLanguageSpecificData(_context: *mut c_void) -> *mut c_void {
    std::ptr::null_mut()
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetRegionStart(_context: *mut c_void) -> usize {
    0
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
    0
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
    0
}

/// Nothing is ever to be set in a frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(_context: *mut c_void, _register: c_int, _value: usize) {
    abort()
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(_context: *mut c_void, _value: usize) {
    abort()
}

/// Nothing is ever thrown.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_RaiseException(_exception: *mut c_void) -> c_int {
    abort()
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    abort()
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_DeleteException(_exception: *mut c_void) {}

/// The same; of a thread that is cancelled, which none is.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_ForcedUnwind(
    _exception: *mut c_void,
    _stop: *const c_void,
    _parameter: *mut c_void,
) -> c_int {
    abort()
}

/// What a frame of the C library's would have to be cleaned by.
#[unsafe(no_mangle)]
extern "C" fn __gcc_personality_v0() -> c_int {
    END
}

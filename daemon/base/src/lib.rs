//! # What the manager and whoever asks it have in common on this machine
//!
//! * [`paths`]: where everything is, from the environment · [`files`]: our files, in places where others may have been first
//! * [`instance_lock`]: who is the manager, and where it listens · [`config`]: `config.toml`
//! * [`asking`]: what of the environment of whoever asks counts · [`named`]: the variables and files that an ssh config names
//! * [`process`]: what a process inherits, and leaves behind · [`out`]: the one way to print · [`clock`]: the wall clock
//! * [`prompt`]: what is asked of a person, and who can be asked · [`askpass`]: the same for the system's ssh
//! * [`turn`]: how long one task may have the thread that all of them share

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod asking;
pub mod askpass;
pub mod clock;
pub mod config;
pub mod files;
pub mod instance_lock;
pub mod named;
pub mod out;
pub mod paths;
pub mod process;
pub mod prompt;
pub mod turn;

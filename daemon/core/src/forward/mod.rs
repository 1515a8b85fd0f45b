//! What is forwarded for a session, beside its terminal.
//!
//! * [`spec`]: what is asked for, as it is written for `ssh`
//! * [`mux`]: the channels of one session, over whatever path there is to its holder
//! * [`socks`]: the words of a SOCKS proxy

pub mod mux;
pub mod socks;
pub mod spec;

//! # sessd: shells that live on the host, not in your window
//!
//! The one program a person uses: the command line, the view on a terminal, and the manager, which is a process of its own.
//!
//! * [`cli`]: flags, verbs, how answers look · [`view`]: one terminal that shows a session
//!
//! The manager is `sessd-manager`, what it takes to ask it `sessd-client`, what both have in common on this machine
//! `sessd-base`. The command line and the view know what `sessd_proto::docs` and the client know, and nothing of the manager's
//! rooms: it is started here, and that is all.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]
// Every module is private: `pub` in one is for the others.
#![allow(unreachable_pub)]

mod cli;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    // What ssh wants to know is not a verb.
    if let Some(asked) = sessd_base::askpass::be_asked() {
        return asked;
    }
    sessd_client::connect::manager_is_in_this_program();
    cli::main()
}

//! Looks at the processes of a job, and signals them.

use crate::machine::ending::{Ending, Step};
use crate::machine::idle::{Depth, Processes};
use crate::machine::process::{Ident, is_prompt};
use crate::platform;
use rustix::process::{Pid, Signal};
use sessd_proto::messages::EndReason;

/// What the job's first process does, and whether it is alone; none: it cannot be seen.
pub(super) fn look(leader: Ident, depth: Depth) -> Option<Processes> {
    let first = platform::process(leader.0)?;
    let at_prompt = first.waits && platform::arguments(leader.0).is_some_and(|a| is_prompt(&a));
    let alone = match depth {
        _ if !at_prompt => false,
        // Where the system does not list children, the thorough look decides.
        Depth::Shell => platform::childless(leader.0) != Some(false),
        Depth::Session => {
            let all = platform::family(leader, &[])?;
            Ending::new(EndReason::Reaped, false, 0).victims(&all, leader) == [leader.0]
        }
    };
    Some(Processes { cpu: first.cpu, bare_prompt: at_prompt && alone })
}

/// Takes a step of an ending with a process.
pub(super) fn signal(pid: u32, step: Step) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that is gone already is what we want.
    let _ = match step {
        Step::Hangup => {
            let _ = rustix::process::kill_process(pid, Signal::HUP);
            // A stopped job must run to take its signal.
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Terminate => {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Kill => rustix::process::kill_process(pid, Signal::KILL),
    };
}

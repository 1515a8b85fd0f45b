//! One job's stream of a link, and the connection to its holder that it is joined to.

use crate::io::conn::{Conn, Read};
use sessd_proto::messages::{Close, CloseReason};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Input bytes that may wait for one holder.
const TO_HOLDER_MAX: usize = 4 << 20;

/// A connection to a holder.
pub type Down = Conn<Rc<UnixStream>, Rc<UnixStream>>;

/// A stream, from the moment it was asked for.
#[derive(Debug)]
pub enum Relay {
    /// The holder is being connected to; what came for it meanwhile.
    Opening {
        /// The task that does it.
        task: u64,
        /// Frames.
        held: Vec<u8>,
    },
    /// It is joined.
    Joined(Down),
}

impl Relay {
    /// One whose holder `task` connects to; 0: none yet.
    pub fn opening(task: u64) -> Self {
        Self::Opening { task, held: Vec::new() }
    }

    /// `task` connects to its holder.
    pub fn begin(&mut self, id: u64) {
        if let Self::Opening { task, .. } = self {
            *task = id;
        }
    }

    /// Is it this task that it waits for?
    pub fn waits_for(&self, id: u64) -> bool {
        matches!(self, Self::Opening { task, .. } if *task == id)
    }

    /// Joins it to its holder, which gets what came meanwhile.
    ///
    /// # Errors
    /// When the connection cannot be used.
    pub fn join(&mut self, socket: UnixStream) -> io::Result<()> {
        let socket = Rc::new(socket);
        let mut down = Conn::new(socket.clone(), socket)?;
        if let Self::Opening { held, .. } = self {
            down.out().append(held);
        }
        *self = Self::Joined(down);
        Ok(())
    }

    /// The connection, once there is one.
    pub fn down(&self) -> Option<&Down> {
        match self {
            Self::Opening { .. } => None,
            Self::Joined(down) => Some(down),
        }
    }

    /// The connection, once there is one.
    pub fn down_mut(&mut self) -> Option<&mut Down> {
        match self {
            Self::Opening { .. } => None,
            Self::Joined(down) => Some(down),
        }
    }

    /// Where frames for the holder are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Opening { held, .. } => held,
            Self::Joined(down) => down.out(),
        }
    }

    /// The stream is closed: the last frames may still be worth something to the holder.
    pub fn leave(&mut self) {
        if let Self::Joined(down) = self {
            let _ = down.flush();
        }
    }

    /// Writes what can be written now; true when the holder has not taken its input for too long.
    pub fn flush_is_stuck(&mut self) -> bool {
        match self {
            Self::Opening { held, .. } => held.len() > TO_HOLDER_MAX,
            // A broken one is reported when it is read; a stuck one never would be.
            Self::Joined(down) => matches!(down.flush(), Ok(Read::Open)) && down.waiting() > TO_HOLDER_MAX,
        }
    }
}

/// The holder cannot be reached now, which says nothing about its job.
pub fn unreachable(detail: String) -> Close {
    Close { reason: CloseReason::HolderUnreachable as i32, detail }
}

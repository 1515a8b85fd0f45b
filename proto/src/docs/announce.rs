//! What the manager says on its stdout to whoever started it, one line each.

/// It answers on its socket.
pub const READY: &str = "ready";
/// Another manager answers there.
pub const BUSY: &str = "busy";
/// Followed by a sentence a person should see.
pub const NOTE: &str = "note ";
/// Followed by why there is no manager: a failure as JSON.
pub const FAILED: &str = "failed ";

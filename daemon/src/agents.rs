//! The agents this binary carries, one per target it could be built for.

use crate::ssh::AgentImage;

/// All of them; `build.rs` writes the table.
pub static IMAGES: &[AgentImage] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// The one that runs on this machine.
pub fn for_this_machine() -> Option<&'static AgentImage> {
    IMAGES.iter().find(|image| image.triple.starts_with(std::env::consts::ARCH))
}

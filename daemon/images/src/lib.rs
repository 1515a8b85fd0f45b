//! The agents that `sessd` carries, one per target it could be built for. A crate of its own, so that building them is waited
//! for by the program that carries them and by nobody else.

use sessd_ssh::AgentImage;

/// All of them; `build.rs` writes the table.
pub static IMAGES: &[AgentImage] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));

#[cfg(test)]
mod tests {
    use super::IMAGES;

    #[test]
    fn what_is_carried_to_a_host_stays_small() {
        for image in IMAGES {
            let most = if image.triple.ends_with("-musl") { 700_000 } else { 1_500_000 };
            let size = image.bytes.len();
            assert!(size <= most, "the agent for {} is {size} bytes long, and may be {most}", image.triple);
        }
    }
}

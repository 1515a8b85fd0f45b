//! What touches the world: descriptors, files, programs, the loops of `serve` and `hold`.

mod acts;
pub mod channels;
pub mod conn;
pub mod copy;
pub mod detach;
pub mod disk;
pub mod folder;
pub mod hold;
pub mod inherit;
pub mod inventory;
pub mod keep;
pub mod listing;
pub mod places;
mod processes;
pub mod pty;
pub mod readiness;
pub mod relay;
mod remains;
pub mod report;
pub mod serve;
pub mod upkeep;

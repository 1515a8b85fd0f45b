//! # Files on their way
//!
//! `sessd put` and `sessd get` are a job on the host with its input or its output as a stream of files; the same stream either
//! way. The job outlives a lost link as every job does, so a copy goes on where it was.
//!
//! * [`wire`]: the stream, as bytes
//! * [`tree`]: files and folders → stream
//! * [`landing`]: stream → files and folders, each under its name only once it is whole

pub mod landing;
pub mod tree;
pub mod wire;

pub use landing::{Landed, Landing};
pub use tree::{Source, Tree};

/// What the system says of a failure, without its number.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        std::io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        std::io::ErrorKind::ReadOnlyFilesystem => "its disk is read-only".to_owned(),
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}

//! Files and folders of the manager's own, in places where somebody else may have put something first: a folder that others
//! can write, a link of another user, a pipe where a file should be. Nothing here waits for anybody, and nothing changes the
//! permissions of a folder that it did not make.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Permissions of everything that is written here.
const PRIVATE: u32 = 0o600;
/// Others may write.
const WRITABLE: u32 = 0o022;

/// The user we are, as a number.
pub fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn other(why: impl Into<String>) -> io::Error {
    io::Error::other(why.into())
}

/// A user by number, as far as it tells a person something.
fn user(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("another user (uid {uid})") }
}

/// The first part of `path` that is a link of somebody else's: whoever owns it chooses where it leads. Root's are trusted, as
/// root needs no link.
fn foreign_link(path: &Path) -> Option<(PathBuf, u32)> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        if !matches!(part, Component::Normal(_)) {
            continue;
        }
        match std::fs::symlink_metadata(&so_far) {
            Ok(meta) if meta.is_symlink() && meta.uid() != 0 && meta.uid() != own_uid() => {
                return Some((so_far, meta.uid()));
            }
            Ok(_) => {}
            // What does not exist leads nowhere.
            Err(_) => return None,
        }
    }
    None
}

/// Is this folder one in which nobody else can have put anything? A folder that does not exist is [`io::ErrorKind::NotFound`].
///
/// # Errors
/// Why not, for a person.
pub fn check_folder(folder: &Path) -> io::Result<()> {
    if let Some((link, uid)) = foreign_link(folder) {
        return Err(other(format!("{} is a link of {}", link.display(), user(uid))));
    }
    let meta = std::fs::metadata(folder)?;
    if !meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    if meta.uid() != own_uid() {
        return Err(other(format!("it belongs to {}", user(meta.uid()))));
    }
    if meta.mode() & WRITABLE != 0 {
        return Err(other("others may write in it"));
    }
    Ok(())
}

/// Makes a folder, ours alone, or takes one that is there as it is.
///
/// # Errors
/// When it cannot be made, or is not ours alone to write in.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    match check_folder(folder) {
        Ok(()) => return Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Somebody may have been quicker.
    check_folder(folder)
}

/// Neither a pipe nor a device nor a folder, but for the one device that stands for nothing.
fn check_kind(meta: &Metadata) -> io::Result<()> {
    let null = rustix::fs::makedev(1, 3);
    let kind = meta.file_type();
    if kind.is_file() || kind.is_char_device() && meta.rdev() == null {
        return Ok(());
    }
    let what = match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(other(format!("it is {what}, not a file")))
}

/// Opens a file of ours, made with permissions for us alone where `options` make one. Never waits, as opening a pipe would.
///
/// # Errors
/// When it is no file, a link of somebody else's, or cannot be opened.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if let Some((link, uid)) = foreign_link(path) {
        return Err(other(format!("{} is a link of {}", link.display(), user(uid))));
    }
    if let Ok(meta) = std::fs::metadata(path) {
        check_kind(&meta)?;
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = options.mode(PRIVATE).custom_flags(flags.bits() as i32).open(path)?;
    // What was looked at may not be what was opened.
    check_kind(&file.metadata()?)?;
    Ok(file)
}

/// The same for a file that must be nobody else's to read: one that an earlier version left readable is closed to others.
///
/// # Errors
/// As [`open`].
pub fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open(path, options)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.uid() == own_uid() && meta.mode() & 0o077 != 0 {
        file.set_permissions(PermissionsExt::from_mode(PRIVATE))?;
    }
    Ok(file)
}

/// Reads a file of text, of at most `max` bytes.
///
/// # Errors
/// As [`open`], and for one that is longer or is no text.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    open(path, File::options().read(true))?.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(other(format!("it is longer than {max} bytes")));
    }
    Ok(text)
}

/// Who else may change what stands in a file, if anybody: what is done because of it is done as its reader. Devices are nobody's, and
/// what cannot be looked at is said by whoever opens it.
pub fn changed_by_others(path: &Path) -> Option<&'static str> {
    let meta = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let written_by_group = meta.mode() & 0o020 != 0 && meta.gid() != group;
    if meta.uid() != user && meta.uid() != 0 {
        Some("it belongs to another user")
    } else if meta.mode() & 0o002 != 0 || written_by_group {
        Some("others can write it")
    } else {
        None
    }
}

/// Which file this is, whatever it is called.
pub fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_others_can_write_is_known() {
        let all = tempfile::tempdir().unwrap();
        let file = all.path().join("file");
        fs::write(&file, "x").unwrap();
        // A group of one's own is the rule where the umask lets it write.
        for (mode, others) in [(0o600, false), (0o644, false), (0o664, false), (0o666, true), (0o602, true)] {
            chmod(&file, mode);
            assert_eq!(changed_by_others(&file).is_some(), others, "{mode:o}");
        }
        assert_eq!(changed_by_others(Path::new("/dev/null")), None);
        assert_eq!(changed_by_others(&all.path().join("none")), None);
    }

    #[test]
    fn a_folder_that_was_there_keeps_its_permissions_whether_it_is_taken_or_not() {
        let all = tempfile::tempdir().unwrap();
        for (given, taken) in [(0o700, true), (0o755, true), (0o775, false), (0o1777, false), (0o757, false)]
        {
            let folder = all.path().join(format!("{given:o}"));
            fs::create_dir(&folder).unwrap();
            chmod(&folder, given);
            assert_eq!(private_folder(&folder).is_ok(), taken, "{given:o}");
            assert_eq!(mode(&folder), given);
        }
        let made = all.path().join("a/b");
        private_folder(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
    }

    #[test]
    fn a_pipe_or_a_device_is_said_at_once() {
        let all = tempfile::tempdir().unwrap();
        let pipe = all.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for (path, what) in
            [(pipe.as_path(), "pipe"), (Path::new("/dev/zero"), "device"), (all.path(), "folder")]
        {
            for options in [File::options().read(true), File::options().append(true)] {
                assert!(open(path, options).unwrap_err().to_string().contains(what), "{}", path.display());
            }
        }
        assert_eq!(read_text(Path::new("/dev/null"), 100).unwrap(), "");
        assert!(open_private(Path::new("/dev/null"), File::options().append(true)).is_ok());
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them_and_a_long_one_is_not_read() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("file");
        fs::write(&path, "x".repeat(100)).unwrap();
        chmod(&path, 0o644);
        open_private(&path, File::options().append(true)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_text(&path, 100).unwrap().len(), 100);
        assert!(read_text(&path, 99).is_err());
    }

    #[test]
    fn a_link_of_ours_is_followed_and_one_of_another_user_is_not() {
        let all = tempfile::tempdir().unwrap();
        let (real, link) = (all.path().join("real"), all.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        private_folder(&link).unwrap();
        if own_uid() != 0 {
            return; // Only root can make a link for somebody else.
        }
        std::os::unix::fs::lchown(&link, Some(12345), Some(12345)).unwrap();
        for path in [link.clone(), link.join("below")] {
            let why = private_folder(&path).unwrap_err().to_string();
            assert!(why.contains("is a link of another user (uid 12345)"), "{why}");
        }
        assert!(open(&link.join("file"), File::options().append(true).create(true)).is_err());
        assert!(!real.join("file").exists());
        let theirs = all.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12345), Some(12345)).unwrap();
        assert!(check_folder(&theirs).unwrap_err().to_string().contains("belongs to another user"));
    }
}

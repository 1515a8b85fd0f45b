//! Every path of the manager, from the environment: the same for a terminal and for cron, however they differ in it.

use crate::files;
use sessd_proto::docs::{Error, Result};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Longest path a unix socket's address holds on every system we run on, in bytes.
const SOCKET_PATH_MAX: usize = 103;
/// Name of the manager's socket in its folder.
const SOCKET: &str = "sessd.sock";
/// Variables that name a file or folder, which may be relative to where the caller is.
const NAMES_A_PATH: [&str; 3] = ["SESSD_HOME", "SESSD_CONFIG", "SESSD_SSH_CONFIG"];

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The user's home.
    pub home: PathBuf,
    /// `config.toml`.
    pub config: PathBuf,
    /// `sessd.db`.
    pub database: PathBuf,
    /// `sessd.log`.
    pub log: PathBuf,
    /// Where a manager that is started now has its socket. One that runs may have another: see [`crate::seat`].
    pub socket: PathBuf,
    /// Locked by the manager as long as it lives, and says who that is and where its socket is: the state folder is what
    /// makes two callers mean the same manager.
    pub lock: PathBuf,
    /// Locked as well, beside the socket, which two managers of different state folders would share.
    pub socket_lock: PathBuf,
    /// What in the environment was not used, one sentence each.
    pub notes: Vec<String>,
}

/// What the paths are made from.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    cwd: Option<PathBuf>,
    /// The home by the password database.
    home: &'a dyn Fn() -> Option<PathBuf>,
}

impl Paths {
    /// From the environment.
    ///
    /// # Errors
    /// Without any home, or for a relative path where there is no folder it could be relative to.
    pub fn from_environment() -> Result<Self> {
        Self::from(&Surroundings {
            variable: &|name| env::var_os(name),
            cwd: env::current_dir().ok(),
            home: &home_by_the_password_database,
        })
    }

    fn from(around: &Surroundings<'_>) -> Result<Self> {
        let variable = |name: &str| (around.variable)(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let absolute = |name: &str| variable(name).filter(|p| p.is_absolute());
        let from_here = |name: &str| -> Result<Option<PathBuf>> {
            let Some(path) = variable(name) else { return Ok(None) };
            made_absolute(&path, around.cwd.as_deref()).map(Some).ok_or_else(|| {
                Error::failed(
                    format!("{name}={} is relative to a folder that is gone", path.display()),
                    "make it absolute, or go to another folder",
                )
            })
        };
        let home = absolute("HOME").or_else(around.home).ok_or_else(|| {
            Error::failed(
                "HOME is not set, and the password database has no home for you",
                "set it to your home folder",
            )
        })?;
        let mut notes = Vec::new();
        let (config, state, run) = match from_here("SESSD_HOME")? {
            Some(all) => (all.join("config.toml"), all.clone(), all),
            None => {
                let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
                let state =
                    absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("sessd");
                let mut run = state.clone();
                if let Some(runtime) = absolute("XDG_RUNTIME_DIR").filter(|p| p.is_dir()) {
                    match files::check_folder(&runtime) {
                        Ok(()) => run = runtime.join("sessd"),
                        Err(why) => notes.push(format!(
                            "XDG_RUNTIME_DIR={} is not used, {why}: the socket is in {}",
                            runtime.display(),
                            state.display()
                        )),
                    }
                }
                (config.join("sessd/config.toml"), state, run)
            }
        };
        Ok(Self {
            config: from_here("SESSD_CONFIG")?.unwrap_or(config),
            database: state.join("sessd.db"),
            log: state.join("sessd.log"),
            lock: state.join("sessd.db.lock"),
            socket: run.join(SOCKET),
            socket_lock: run.join("sessd.lock"),
            home,
            notes,
        })
    }

    /// The folder of the records, by which a manager is known.
    pub fn state(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new("/"))
    }

    /// Makes the folders, ours alone.
    ///
    /// # Errors
    /// When one cannot be made, belongs to somebody else, or is open to others.
    pub fn make(&self) -> Result<()> {
        let home = if self.state().starts_with(&self.home) { self.home.try_exists() } else { Ok(true) };
        let (why, which) = match home {
            Ok(true) => (String::new(), ""),
            Ok(false) => ("does not exist".to_owned(), "one that does"),
            // That it cannot be looked at says nothing of whether it is there.
            Err(error) => (format!("cannot be reached: {error}"), "one that can"),
        };
        if !why.is_empty() {
            return Err(Error::failed(
                format!("the home folder {} {why}", self.home.display()),
                format!("set HOME to {which}, or SESSD_HOME to a folder"),
            ));
        }
        for file in [&self.database, &self.socket] {
            let Some(folder) = file.parent() else { continue };
            files::private_folder(folder).map_err(|why| {
                Error::failed(
                    format!("the folder {} cannot be used: {why}", folder.display()),
                    "make it writable for you alone, or set SESSD_HOME to another folder",
                )
            })?;
        }
        Ok(())
    }
}

/// Can a socket have this path?
pub fn fits_a_socket(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_MAX
}

/// Why it cannot.
pub fn too_long_for_a_socket(path: &Path) -> Error {
    Error::failed(
        format!("the socket's path {} is longer than {SOCKET_PATH_MAX} bytes", path.display()),
        "set XDG_RUNTIME_DIR or SESSD_HOME to a shorter folder",
    )
}

/// Variables that name a path, made absolute: whoever is handed the environment may be in another folder.
pub fn absolute_variables() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let cwd = env::current_dir().ok();
    NAMES_A_PATH.into_iter().filter_map(move |name| {
        let path = env::var_os(name).filter(|v| !v.is_empty())?;
        Some((name, made_absolute(Path::new(&path), cwd.as_deref())?))
    })
}

fn made_absolute(path: &Path, cwd: Option<&Path>) -> Option<PathBuf> {
    if path.is_absolute() { Some(path.to_owned()) } else { cwd.map(|cwd| cwd.join(path)) }
}

/// A path as a person writes it in a file: `~` is the home, and a relative one is beside the file.
pub fn in_a_file(written: &Path, home: &Path, file: &Path) -> PathBuf {
    if let Ok(rest) = written.strip_prefix("~") {
        return home.join(rest);
    }
    made_absolute(written, file.parent()).unwrap_or_else(|| written.to_owned())
}

/// As ssh and git do without HOME.
fn home_by_the_password_database() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
    Some(user.dir).filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn paths(variables: &[(&str, &str)]) -> Result<Paths> {
        Paths::from(&Surroundings {
            variable: &|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()),
            cwd: Some("/where/i/am".into()),
            home: &|| Some("/from/passwd".into()),
        })
    }

    #[test]
    fn relative_folders_are_relative_to_the_caller_and_home_is_what_the_password_database_says() {
        for (variables, database, config, socket) in [
            (
                &[("SESSD_HOME", "rel"), ("HOME", "/h")][..],
                "/where/i/am/rel/sessd.db",
                "/where/i/am/rel/config.toml",
                "/where/i/am/rel/sessd.sock",
            ),
            (
                &[("HOME", "/h"), ("SESSD_CONFIG", "my.toml")],
                "/h/.local/state/sessd/sessd.db",
                "/where/i/am/my.toml",
                "/h/.local/state/sessd/sessd.sock",
            ),
            (
                &[],
                "/from/passwd/.local/state/sessd/sessd.db",
                "/from/passwd/.config/sessd/config.toml",
                "/from/passwd/.local/state/sessd/sessd.sock",
            ),
            (
                &[("HOME", ""), ("XDG_STATE_HOME", "relative"), ("XDG_RUNTIME_DIR", "/no/such")],
                "/from/passwd/.local/state/sessd/sessd.db",
                "/from/passwd/.config/sessd/config.toml",
                "/from/passwd/.local/state/sessd/sessd.sock",
            ),
        ] {
            let paths = paths(variables).unwrap();
            assert_eq!(paths.database, Path::new(database), "{variables:?}");
            assert_eq!(paths.config, Path::new(config), "{variables:?}");
            assert_eq!(paths.socket, Path::new(socket), "{variables:?}");
            assert_eq!(paths.notes, Vec::<String>::new());
        }
    }

    #[test]
    fn a_runtime_folder_that_others_can_write_is_not_used_and_said() {
        let runtime = tempfile::tempdir().unwrap();
        let name = runtime.path().to_str().unwrap();
        let with = |mode: u32| {
            std::fs::set_permissions(runtime.path(), PermissionsExt::from_mode(mode)).unwrap();
            paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", name)]).unwrap()
        };
        let ours = with(0o700);
        assert_eq!((ours.socket, ours.notes), (runtime.path().join("sessd/sessd.sock"), vec![]));
        let shared = with(0o1777);
        assert_eq!(shared.socket, Path::new("/h/.local/state/sessd/sessd.sock"));
        assert!(shared.notes[0].contains(name) && shared.notes[0].contains("others may write"), "{shared:?}");
    }

    #[test]
    fn a_path_in_a_file_is_beside_the_file_or_in_the_home() {
        let of = |written: &str| in_a_file(Path::new(written), Path::new("/h"), Path::new("/etc/c.toml"));
        assert_eq!(of("~/.ssh/config"), Path::new("/h/.ssh/config"));
        assert_eq!(of("~"), Path::new("/h"));
        assert_eq!(of("ssh"), Path::new("/etc/ssh"));
        assert_eq!(of("/a"), Path::new("/a"));
    }

    #[test]
    fn a_home_that_cannot_be_looked_at_is_not_said_not_to_exist() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("loops", root.path().join("loops")).unwrap();
        for (name, said) in [("none", "does not exist"), ("loops", "cannot be reached: ")] {
            let home = root.path().join(name);
            let error = paths(&[("HOME", home.to_str().unwrap())]).unwrap().make().unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

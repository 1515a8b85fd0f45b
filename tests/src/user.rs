//! A user of this machine: a login of its own, with a password and a home.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The password of each.
pub const SECRET: &str = "not a word 7";

/// A user of this machine, made for one test and gone with it.
#[derive(Debug)]
pub struct User {
    name: String,
    home: PathBuf,
}

impl User {
    /// One with this login shell and [`SECRET`] for a password. None: only root can make one.
    ///
    /// # Panics
    /// When it can be made in part only.
    pub fn new(shell: &str) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sessdt{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let home = PathBuf::from("/tmp").join(&name);
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let made = Command::new("useradd").args(["-M", "-s", shell, "-d"]).arg(&home).arg(&name).output();
        if !made.is_ok_and(|out| out.status.success()) {
            return None;
        }
        let user = Self { name, home };
        fs::create_dir(&user.home).expect("a home");
        user.owns_its_home();
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd");
        let line = format!("{}:{SECRET}\n", user.name);
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), line.as_bytes())
            .expect("chpasswd");
        assert!(child.wait().expect("chpasswd").success());
        Some(user)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Gives it what was put into its home.
    pub fn owns_its_home(&self) {
        self.run("chown", &["-R", &self.name, self.home.to_str().expect("text")]);
    }

    /// Its account ends on that day since 1970; `-1`: never.
    pub fn expires(&self, day: &str) {
        self.run("chage", &["-E", day, &self.name]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let _ = Command::new(program).args(args).output();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.run("pkill", &["-KILL", "-U", &self.name]);
        self.run("userdel", &["-f", &self.name]);
        let _ = fs::remove_dir_all(&self.home);
    }
}

//! Opens the page in the person's browser.

use sessd_base::files;
use sessd_base::out;
use sessd_base::paths::Paths;
use std::env;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Opens `address`, if there is a screen it would be seen on. A program's arguments are seen by everybody on the machine, and
/// the address lets in: so a file of ours leads there.
pub(crate) fn open(paths: &Paths, address: &str) {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let sees = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    if !sees || is_set("SSH_CONNECTION") {
        return;
    }
    let path = paths.state().join("web.html");
    let page = format!(
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={address}\"><title>sessd</title>"
    );
    let written = files::open_private(&path, File::options().write(true).create(true).truncate(true))
        .and_then(|mut file| file.write_all(page.as_bytes()));
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = written.and_then(|()| {
        Command::new(opener)
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    match opened {
        // It is waited for, else it would stay as a zombie as long as we do.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(_) => out::note("no browser could be opened: open the address yourself"),
    }
}

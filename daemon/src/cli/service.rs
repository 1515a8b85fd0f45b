//! `sessd daemon install`: the manager as a systemd user service. It starts by itself without that, too; a service only
//! makes the links come up at login instead of at the first verb.

use crate::error::{Error, Result};
use crate::paths::Paths;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const UNIT: &str = "sessd.service";

fn unit_file(paths: &Paths) -> PathBuf {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|v| !v.is_empty())
        .map_or_else(|| paths.home.join(".config"), PathBuf::from);
    config.join("systemd/user").join(UNIT)
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let hint = "without a systemd user manager the manager still starts by itself when a verb needs it";
    let output = Command::new("systemctl")
        .arg("--user")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::failed(format!("systemctl cannot be run ({e})"), hint))?;
    if output.status.success() {
        return Ok(());
    }
    let said = crate::ssh::clean(&String::from_utf8_lossy(&output.stderr), 200);
    Err(Error::failed(format!("systemctl --user {} failed ({said})", arguments.join(" ")), hint))
}

/// Writes the unit and enables it.
///
/// # Errors
/// When it cannot be written, or there is no systemd user manager.
pub fn install(paths: &Paths) -> Result<()> {
    let file = unit_file(paths);
    let trouble = |e: std::io::Error| {
        Error::failed(format!("{} cannot be written ({e})", file.display()), "check its folder")
    };
    let exe = std::env::current_exe().map_err(trouble)?;
    let unit = format!(
        "[Unit]\nDescription=sessd, the manager of sessions\n\n[Service]\nExecStart=\"{}\" daemon --foreground\nRestart=on-failure\n\
         # Jobs on this machine are not the manager's to end.\nKillMode=process\n\n[Install]\nWantedBy=default.target\n",
        exe.display()
    );
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(trouble)?;
    }
    std::fs::write(&file, unit).map_err(trouble)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT])
}

/// Disables the unit and removes it.
///
/// # Errors
/// When it cannot be removed, or there is no systemd user manager.
pub fn uninstall(paths: &Paths) -> Result<()> {
    let file = unit_file(paths);
    if !file.exists() {
        return Ok(());
    }
    systemctl(&["disable", UNIT])?;
    std::fs::remove_file(&file)
        .map_err(|e| Error::failed(format!("{} cannot be removed ({e})", file.display()), ""))?;
    systemctl(&["daemon-reload"])
}

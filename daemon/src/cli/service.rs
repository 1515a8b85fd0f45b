//! `sessd daemon install`: the manager as a systemd user service. It starts by itself without that, too; a service only
//! makes the links come up at login instead of at the first verb.

use sessd_base::paths::{self, Paths};
use sessd_client::connect::own_program;
use sessd_proto::docs::{Error, Result};
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
    let said = sessd_proto::docs::text::clean(&String::from_utf8_lossy(&output.stderr), 200);
    Err(Error::failed(format!("systemctl --user {} failed ({said})", arguments.join(" ")), hint))
}

/// Places that the manager is to have as a service, too: they are the caller's, and not those of the service's environment.
const PLACES: [&str; 5] =
    ["SESSD_HOME", "SESSD_CONFIG", "SESSD_SSH_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// A word of a unit file: quoted, with what systemd would expand written so that it does not.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn unit(program: &str, places: &[(String, String)]) -> String {
    let places: String = places
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))))
        .collect();
    format!(
        "[Unit]\nDescription=sessd, the manager of sessions\n\n[Service]\nExecStart={} daemon --foreground\n{places}Restart=on-failure\n\
         # Jobs on this machine are not the manager's to end.\nKillMode=process\n\n[Install]\nWantedBy=default.target\n",
        // Here a dollar sign would be a variable, too.
        quoted(program).replace('$', "$$")
    )
}

/// The caller's places, absolute.
fn places() -> Vec<(String, String)> {
    let absolute: Vec<_> = paths::absolute_variables().collect();
    PLACES
        .into_iter()
        .filter_map(|name| {
            let made = absolute.iter().find(|(known, _)| *known == name).map(|(_, path)| path.clone());
            let value =
                made.or_else(|| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))?;
            Some((name.to_owned(), value.into_os_string().into_string().ok()?))
        })
        .collect()
}

/// Writes the unit and enables it. What cannot be enabled leaves nothing behind.
///
/// # Errors
/// When it cannot be written, or there is no systemd user manager.
pub fn install(paths: &Paths) -> Result<()> {
    let file = unit_file(paths);
    let trouble = |e: std::io::Error| {
        Error::failed(format!("{} cannot be written ({e})", file.display()), "check its folder")
    };
    let program = own_program().map_err(trouble)?;
    let before = std::fs::read(&file).ok();
    let mut made = Vec::new();
    if let Some(folder) = file.parent() {
        made = folder.ancestors().take_while(|folder| !folder.exists()).map(PathBuf::from).collect();
        std::fs::create_dir_all(folder).map_err(trouble)?;
    }
    let written = std::fs::write(&file, unit(&program.to_string_lossy(), &places())).map_err(trouble);
    let enabled =
        written.and_then(|()| systemctl(&["daemon-reload"])).and_then(|()| systemctl(&["enable", UNIT]));
    if enabled.is_err() {
        match before {
            Some(before) => drop(std::fs::write(&file, before)),
            None => drop(std::fs::remove_file(&file)),
        }
        for folder in made {
            // Only while nobody else has put something there.
            let _ = std::fs::remove_dir(folder);
        }
    }
    enabled
}

/// Disables the unit and removes it.
///
/// # Errors
/// When it cannot be removed.
pub fn uninstall(paths: &Paths) -> Result<()> {
    let file = unit_file(paths);
    if !file.exists() {
        return Ok(());
    }
    // Without a systemd there is nothing to be disabled; without the file nothing is enabled.
    let _ = systemctl(&["disable", UNIT]);
    std::fs::remove_file(&file).map_err(|e| {
        Error::failed(format!("{} cannot be removed ({e})", file.display()), "remove it by hand")
    })?;
    let _ = systemctl(&["daemon-reload"]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_callers_places_and_expands_nothing() {
        let text = unit("/o p/s%t\"$x", &[("SESSD_HOME".into(), "/a b/50%".into())]);
        assert!(text.contains("ExecStart=\"/o p/s%%t\\\"$$x\" daemon --foreground\n"), "{text}");
        assert!(text.contains("Environment=\"SESSD_HOME=/a b/50%%\"\n"), "{text}");
    }
}

//! `sessd report` and `sessd hooks`: what is said inside a job, and by whom.

use crate::cli::args::{HooksArgs, ReportArgs};
use sessd_base::out;
use sessd_proto::docs::{Error, Result};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Says what the job is doing: by the agent of the job's host, or through the terminal where that is not at hand (in a
/// container, as another user, over another ssh).
///
/// # Errors
/// When it is said outside of a job.
pub fn report(args: &ReportArgs) -> Result<u8> {
    let note = args.note.as_deref().unwrap_or_default();
    if let Some(agent) = std::env::var_os("SESSD_AGENT").filter(|agent| std::path::Path::new(agent).is_file())
    {
        let mut command = Command::new(agent);
        command.args(["report", &args.state, "--note", note]);
        // It takes our place; where it cannot be run we go on.
        let _ = command.exec();
    }
    let outside =
        || Error::failed("this is no job of sessd, and there is no terminal", "say it inside a session");
    let mut terminal = std::fs::OpenOptions::new().write(true).open("/dev/tty").map_err(|_| outside())?;
    let note: String = note.chars().filter(|c| !c.is_control()).collect();
    let sequence = format!("\x1b]777;sessd;{};{note}\x1b\\", args.state);
    terminal.write_all(sequence.as_bytes()).map_err(|_| outside())?;
    Ok(0)
}

/// What calls `sessd report` on whatever host the job is, and does nothing outside of one.
fn command(state: &str) -> String {
    format!("[ -z \"$SESSD_SESSION\" ] || \"${{SESSD_AGENT:-sessd}}\" report {state} >/dev/null 2>&1 || true")
}

fn hooks(events: &[(&str, &str)]) -> String {
    let one = |state: &str| serde_json::json!([{"hooks": [{"type": "command", "command": command(state)}]}]);
    let all: serde_json::Map<_, _> =
        events.iter().map(|(event, state)| ((*event).to_owned(), one(state))).collect();
    serde_json::to_string_pretty(&serde_json::json!({"hooks": all})).unwrap_or_default()
}

fn on_a_line(document: &str) -> String {
    serde_json::from_str::<serde_json::Value>(document).unwrap_or_default().to_string()
}

/// Prints the lines that make an agent say what it does.
///
/// # Errors
/// When they could not be printed.
pub fn print_hooks(args: &HooksArgs, json: bool) -> Result<u8> {
    let claude = hooks(&[
        ("UserPromptSubmit", "working"),
        ("PreToolUse", "working"),
        ("PostToolUse", "working"),
        ("Notification", "waiting"),
        ("Stop", "done"),
    ]);
    let codex = hooks(&[
        ("UserPromptSubmit", "working"),
        ("PostToolUse", "working"),
        ("PermissionRequest", "waiting"),
        ("Stop", "done"),
    ]);
    match args.agent.as_deref() {
        None if json => {
            out::json(&format!("{{\"claude\":{},\"codex\":{}}}", on_a_line(&claude), on_a_line(&codex)))?
        }
        Some("claude") => out::lines(&(claude + "\n"))?,
        Some("codex") => out::lines(&(codex + "\n"))?,
        _ => out::lines(&format!(
            "Claude Code, in ~/.claude/settings.json on the host (`sessd hooks claude` prints these lines alone):\n\n{claude}\n\n\
             Codex, in ~/.codex/hooks.json on the host, with `hooks` on under [features] (`sessd hooks codex`):\n\n{codex}\n\n\
             Anything else: run `sessd report working|waiting|done`, or print the sequence ESC ] 777 ; sessd ; waiting ; NOTE BEL.\n"
        ))?,
    };
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_the_agents_read_and_say_nothing_outside_of_a_job() {
        let lines = hooks(&[("Stop", "done")]);
        let read: serde_json::Value = serde_json::from_str(&lines).unwrap();
        let line = read["hooks"]["Stop"][0]["hooks"][0]["command"].as_str().unwrap();
        assert_eq!(line, command("done"));
        let outside = Command::new("sh").args(["-c", line]).env_remove("SESSD_SESSION").output().unwrap();
        assert!(outside.status.success() && outside.stdout.is_empty() && outside.stderr.is_empty());
    }
}

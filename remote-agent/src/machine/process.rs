//! What is known of one process. Values only: the platform looks, the machine decides.

/// A process, told apart from a later one with the same number: process id, and start time in the system's own units.
pub type Ident = (u32, u64);

/// One process as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// The program's name, as far as the system keeps it.
    pub name: String,
    /// It waits for something; false while it runs or is stopped.
    pub waits: bool,
    /// It has ended, and only waits for its parent to notice.
    pub dead: bool,
    /// Parent.
    pub parent: u32,
    /// POSIX session.
    pub session: u32,
    /// CPU time used, own and of children waited for, in the system's own units.
    pub cpu: u64,
    /// Start time in the system's own units.
    pub start: u64,
}

impl Process {
    /// By number and start time.
    pub fn ident(&self) -> Ident {
        (self.pid, self.start)
    }
}

/// Is this a shell that reads its commands from the terminal? One that runs a script or `-c` is somebody's work.
pub fn is_prompt(arguments: &[String]) -> bool {
    const SHELLS: &[&str] = &[
        "sh", "bash", "zsh", "fish", "dash", "ksh", "mksh", "ash", "csh", "tcsh", "nu", "elvish", "xonsh",
        "pwsh", "busybox",
    ];
    let Some((program, rest)) = arguments.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or(program).trim_start_matches('-');
    const HARMLESS: &[&str] =
        &["--login", "--interactive", "--norc", "--noprofile", "--posix", "--no-config"];
    let harmless = |a: &String| {
        HARMLESS.contains(&a.as_str()) || (a.starts_with('-') && !a.starts_with("--") && !a.contains('c'))
    };
    SHELLS.contains(&name) && rest.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_shell_without_a_script() {
        let prompt = |words: &[&str]| is_prompt(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(prompt(&["-bash"]));
        assert!(prompt(&["/usr/bin/zsh", "-i", "--login"]));
        assert!(!prompt(&["bash", "-c", "make"]));
        assert!(!prompt(&["bash", "-lc", "make"]));
        assert!(!prompt(&["nu", "--commands=make"]));
        assert!(!prompt(&["sh", "build.sh"]));
        assert!(!prompt(&["vim"]));
        assert!(!prompt(&[]));
    }
}

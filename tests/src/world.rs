//! One user's machine for one test: a home, a manager, and nothing of the machine the test runs on.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde_json::Value;

use crate::procs;
use crate::pty;
use crate::view::View;
use crate::wait::until_or;

/// The time a verb has when a test does not say otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code, 128 + N for signal N.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// A home, a manager and a runtime folder of their own, in one folder with a short path. Dropping it ends every
/// process that was started in it; the folder is kept, and named, when the test failed.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    env: Vec<(String, String)>,
}

impl World {
    /// A new, empty world.
    ///
    /// # Panics
    /// When its folders cannot be made.
    pub fn new() -> World {
        // Not TMPDIR: the path of a unix socket has 104 bytes at most, and a long temporary folder is not what is
        // tested here.
        let root =
            tempfile::Builder::new().prefix("sx.").tempdir_in("/tmp").expect("a folder in /tmp").keep();
        let world = World { root, env: Vec::new() };
        for dir in [world.home(), world.sessd_home(), world.root.join("run"), world.fallback()] {
            fs::create_dir(&dir).expect("a folder of the world");
            set_mode(&dir, 0o700);
        }
        world
    }

    /// The folder everything is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The home of the user on this machine.
    pub fn home(&self) -> PathBuf {
        self.root.join("h")
    }

    /// `SESSD_HOME`: the manager's configuration, database, socket and log.
    pub fn sessd_home(&self) -> PathBuf {
        self.root.join("s")
    }

    /// Where what the home has no room for goes, instead of this machine's own `/var/tmp` and `/tmp`.
    pub fn fallback(&self) -> PathBuf {
        self.root.join("f")
    }

    /// The manager's configuration file.
    pub fn config(&self) -> PathBuf {
        self.sessd_home().join("config.toml")
    }

    /// Sets an environment variable for everything started from now on.
    pub fn set_env(&mut self, key: &str, value: impl Into<String>) {
        self.env.retain(|(known, _)| known != key);
        self.env.push((key.to_owned(), value.into()));
    }

    /// A command in this world's environment, and in no other.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
            .env("HOME", self.home())
            .env("SESSD_HOME", self.sessd_home())
            .env("XDG_RUNTIME_DIR", self.root.join("run"))
            .env("SESSD_FALLBACK_DIR", self.fallback())
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("PS1", "$ ")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir(self.home());
        command
    }

    /// `sessd` with these arguments.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.program(sessd_binary());
        command.args(args);
        command
    }

    /// Runs `sessd` to its end.
    ///
    /// # Panics
    /// When it takes longer than [`DEADLINE`].
    pub fn sessd<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.sessd_within(args, DEADLINE)
    }

    /// Runs `sessd` to its end.
    ///
    /// # Panics
    /// When it takes longer than `within`.
    pub fn sessd_within<S: AsRef<OsStr>>(&self, args: &[S], within: Duration) -> Output {
        self.finish(self.command(args), b"", within)
    }

    /// Runs a command to its end, with `input` on its standard input.
    ///
    /// # Panics
    /// When it takes longer than `within`, or when what it started holds on to its output.
    pub fn finish(&self, mut command: Command, input: &[u8], within: Duration) -> Output {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));

        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map(|fd| pty::ready(&fd, PollFlags::IN, within));
        let running = ended == Ok(false);
        if running {
            let _ = child.kill();
        }
        let status = child.wait().expect("the state of our child");
        let left = within.saturating_sub(begun.elapsed()).max(Duration::from_secs(2));
        let (out, out_open) = stdout.take(left);
        let (err, err_open) = stderr.take(left);
        let said = format!("--- stdout ---\n{out}\n--- stderr ---\n{err}\n{}", self.log_tail());
        assert!(!running, "killed after {within:?}: {command:?}\n{said}");
        assert!(
            !out_open && !err_open,
            "{command:?} ended, but a process it started still holds its output open\n{said}"
        );
        Output { code: pty::code(status), stdout: out, stderr: err, took: begun.elapsed() }
    }

    /// Runs `sessd` and expects success.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        let output = self.sessd(args);
        assert_eq!(output.code, 0, "{}: {output:#?}\n{}", words(args), self.log_tail());
        output
    }

    /// Runs `sessd` and expects this failure: nothing on standard output, one line on standard error, beginning with
    /// `sessd: `. Gives that line.
    ///
    /// # Panics
    /// When it succeeds, or fails in another way.
    pub fn fails<S: AsRef<OsStr>>(&self, args: &[S], code: i32) -> String {
        let output = self.sessd(args);
        self.one_error(&words(args), &output, code)
    }

    /// Checks that `output` is a failure as the contract wants it, and gives its one line.
    ///
    /// # Panics
    /// When it is not.
    pub fn one_error(&self, what: &str, output: &Output, code: i32) -> String {
        let context = || format!("{what}: {output:#?}\n{}", self.log_tail());
        assert_eq!(output.code, code, "exit code of {}", context());
        assert_eq!(output.stdout.trim(), "", "an error is not printed as a result: {}", context());
        let line = output.stderr.trim_end();
        assert!(line.starts_with("sessd: "), "the error begins with `sessd: `: {}", context());
        assert_eq!(line.lines().count(), 1, "the error is one line: {}", context());
        assert!(
            line["sessd: ".len()..].contains(": "),
            "the error says what to do next, after `: `: {}",
            context()
        );
        line.to_owned()
    }

    /// Runs `sessd ARGS --json` and reads what it prints.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.ok(&json_args(args));
        serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: not JSON: {error}: {output:#?}", words(args)))
    }

    /// Runs `sessd ARGS --json`, which has to fail with `code`, and gives the error object.
    ///
    /// # Panics
    /// When it does not fail so.
    pub fn json_error(&self, args: &[&str], code: i32) -> Value {
        let args = json_args(args);
        let output = self.sessd(&args);
        assert_eq!(output.code, code, "{}: {output:#?}\n{}", words(&args), self.log_tail());
        // The contract does not say which stream; exactly one of them carries exactly the object.
        let text = format!("{}{}", output.stdout, output.stderr);
        let object: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: not one JSON object: {error}: {output:#?}", words(&args)));
        for key in ["kind", "message", "hint"] {
            assert!(object["error"][key].is_string(), "error.{key} is text: {object}");
        }
        object["error"].clone()
    }

    /// The session as `sessd info` knows it; `None` when there is no such session.
    ///
    /// # Panics
    /// When `info` fails in another way.
    pub fn info(&self, session: &str) -> Option<Value> {
        let output = self.sessd(&["info", session, "--json"]);
        match output.code {
            0 => Some(serde_json::from_str(&output.stdout).expect("info --json prints JSON")),
            3 => None,
            code => panic!("info {session} ended with {code}: {output:#?}\n{}", self.log_tail()),
        }
    }

    /// Waits until the session says that it has so many views.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_views(&self, session: &str, count: usize) {
        self.wait_session(session, &format!("{count} views"), crate::SOON, |info| {
            info["views"].as_array().is_some_and(|views| views.len() == count)
        });
    }

    /// Asks for the session until `fact` holds, and gives it.
    ///
    /// # Panics
    /// When it does not hold in time.
    pub fn wait_session(
        &self,
        session: &str,
        what: &str,
        within: Duration,
        fact: impl Fn(&Value) -> bool,
    ) -> Value {
        let last = std::cell::RefCell::new(None);
        until_or(
            &format!("session {session}: {what}"),
            within,
            || {
                let info = self.info(session);
                last.replace(info.clone());
                info.filter(|info| fact(info))
            },
            || format!("it is {:#?}\n{}", last.borrow(), self.log_tail()),
        )
    }

    /// Waits until the session's state is this one.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_state(&self, session: &str, state: &str, within: Duration) -> Value {
        self.wait_session(session, &format!("state {state}"), within, |info| info["state"] == state)
    }

    /// Every session, done and anonymous ones too.
    ///
    /// # Panics
    /// When `list` fails.
    pub fn list(&self) -> Vec<Value> {
        match self.json(&["list", "--all"]) {
            Value::Array(sessions) => sessions,
            other => panic!("list --json is an array, not {other}"),
        }
    }

    /// Creates a named session on this machine that runs a script.
    ///
    /// # Panics
    /// When that fails.
    pub fn create(&self, name: &str, script: &str) {
        self.ok(&["create", "--name", name, "--", "sh", "-c", script]);
    }

    /// Creates a named session on `host` that runs a script.
    ///
    /// # Panics
    /// When that fails.
    pub fn create_on(&self, host: &str, name: &str, script: &str) {
        self.ok(&["create", "--name", name, "--host", host, "--", "sh", "-c", script]);
    }

    /// Creates a session on `host` and talks to it.
    ///
    /// # Panics
    /// When that fails.
    pub fn works_on(&self, host: &str, name: &str) {
        self.create_on(
            host,
            name,
            "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done",
        );
        let view = self.attach(name);
        view.wait_text("ready", crate::SOON);
        view.type_("hello\r");
        view.wait_text("got <hello>", crate::SOON);
    }

    /// A view: `sessd` with these arguments in a PTY of 80 by 24.
    pub fn view(&self, args: &[&str]) -> View {
        self.view_sized(args, 80, 24)
    }

    /// A view of another size.
    pub fn view_sized(&self, args: &[&str], cols: u16, rows: u16) -> View {
        View::spawn(self.command(args), cols, rows).with_log(self.log())
    }

    /// Attaches to a session.
    pub fn attach(&self, session: &str) -> View {
        self.view(&["attach", session])
    }

    /// The manager's process, as it says itself.
    ///
    /// # Panics
    /// When no manager answers.
    pub fn manager_pid(&self) -> i32 {
        let status = self.json(&["daemon", "status"]);
        let pid =
            status["pid"].as_i64().unwrap_or_else(|| panic!("daemon status names no process: {status}"));
        i32::try_from(pid).expect("a process id")
    }

    /// Processes of this world that are managers, whether they answer or not.
    pub fn managers(&self) -> Vec<i32> {
        let is_manager = |pid: &i32| {
            let line = procs::command_line(*pid);
            line.split_whitespace().any(|word| word == "daemon") && !line.contains("sessd-agent")
        };
        procs::mentioning(&self.root).into_iter().filter(is_manager).collect()
    }

    /// Kills the manager without warning, waits until it is gone, and gives the process it was.
    ///
    /// # Panics
    /// When what calls itself the manager is no process of this world, or does not go.
    pub fn kill_manager(&self) -> i32 {
        let pid = self.manager_pid();
        assert!(procs::mentioning(&self.root).contains(&pid), "process {pid} is none of this world's");
        procs::signal(pid, Signal::KILL);
        procs::wait_gone(pid, Duration::from_secs(10));
        pid
    }

    /// The manager's log.
    pub fn log(&self) -> PathBuf {
        self.sessd_home().join("sessd.log")
    }

    /// The end of the manager's log, for a message.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    /// The files below `SESSD_HOME` whose name ends with `suffix`.
    pub fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files_below(&self.sessd_home(), &mut |path| {
            if path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes()) {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// Agent processes that work in `home`, by their command line or environment, and whose command line holds
    /// `role` (`hold` or `serve`).
    pub fn agents(&self, home: &Path, role: &str) -> Vec<i32> {
        let entry = format!("HOME={}", home.display()).into_bytes();
        let folder = format!(" {}/", home.display());
        procs::mentioning(&self.root)
            .into_iter()
            .filter(|&pid| {
                let line = format!(" {}", procs::command_line(pid));
                let lives_here = || {
                    fs::read(format!("/proc/{pid}/environ"))
                        .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|found| found == entry))
                };
                line.contains("sessd-agent")
                    && line.split_whitespace().any(|word| word == role)
                    && (line.contains(&folder) || lives_here())
            })
            .collect()
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // By evidence and at once: deleting sessions first would be kinder, but a test that fails because deleting
        // does not work must clean up all the same.
        procs::kill_all_mentioning(&self.root);
        if thread::panicking() {
            eprintln!("kept for a look: {} (manager: {})", self.root.display(), self.sessd_home().display());
            eprintln!("{}", self.log_tail());
        } else {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// The program under test: `SESSD_BIN`, or the `sessd` beside the folder of this test's own binary.
///
/// # Panics
/// When there is none; the message says how to build it.
pub fn sessd_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("SESSD_BIN") {
            let path = PathBuf::from(path);
            let path = fs::canonicalize(&path)
                .unwrap_or_else(|error| panic!("SESSD_BIN={}: {error}: name a built sessd", path.display()));
            return path;
        }
        let test = std::env::current_exe().expect("the path of this test");
        let found = test.ancestors().skip(1).take(2).map(|dir| dir.join("sessd")).find(|path| path.is_file());
        found.unwrap_or_else(|| {
            panic!("no sessd beside {}: build it first with `cargo build`, or set SESSD_BIN", test.display())
        })
    })
}

/// The last lines of a log, under a heading; nothing when there is no log.
pub fn log_tail(path: &Path) -> String {
    // A test may have put a pipe there, which would be waited for.
    let read = || if fs::metadata(path)?.is_file() { fs::read(path) } else { Ok(Vec::new()) };
    let Ok(bytes) = read() else { return format!("(no log at {})", path.display()) };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    format!("--- end of {} ---\n{}\n", path.display(), lines[lines.len().saturating_sub(40)..].join("\n"))
}

/// Sets the permissions of a file or folder.
///
/// # Panics
/// When that is refused.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions of a file of ours");
}

/// Shows every file below `dir`, following no links.
pub fn files_below(dir: &Path, look: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), look),
            Ok(_) => look(&entry.path()),
            Err(_) => {}
        }
    }
}

/// `--json` belongs to sessd, not to the command behind `--`.
fn json_args<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let end = args.iter().position(|&arg| arg == "--").unwrap_or(args.len());
    let mut all = args.to_vec();
    all.insert(end, "--json");
    all
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    format!("sessd {}", args.join(" "))
}

/// Reads a stream to its end on a thread of its own.
struct Collected(std::sync::mpsc::Receiver<Option<Vec<u8>>>);

fn collect(mut stream: impl Read + Send + 'static) -> Collected {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n) = stream.read(&mut buffer) {
            let end = n == 0;
            let _ = sender.send((!end).then(|| buffer[..n].to_vec()));
            if end {
                return;
            }
        }
    });
    Collected(receiver)
}

impl Collected {
    /// What came, and whether somebody still holds the stream open after `within`.
    fn take(self, within: Duration) -> (String, bool) {
        let end = Instant::now() + within;
        let mut all = Vec::new();
        let open = loop {
            match self.0.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Some(bytes)) => all.extend(bytes),
                Ok(None) => break false,
                Err(error) => break error == std::sync::mpsc::RecvTimeoutError::Timeout,
            }
        };
        (String::from_utf8_lossy(&all).into_owned(), open)
    }
}

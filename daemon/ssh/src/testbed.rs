//! What the tests stand on: a real OpenSSH sshd as our own child on 127.0.0.1, keys, an ssh config, and a shell that
//! poses as a connection. Everything lives in one temporary folder and ends with it.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::*;

/// Where distributions put the daemon.
pub(super) fn sshd_binary() -> PathBuf {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
        .iter()
        .map(PathBuf::from)
        .find(|p| p.exists())
        .expect("sshd is missing: install openssh-server")
}

pub(super) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is missing: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One test's folder: keys, configs, a home for the far side.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) user: String,
    config: String,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder, user: run("id", &["-un"]), config: String::new() };
        for name in ["user", "stranger"] {
            world.keygen(name, &["-t", "ed25519", "-N", ""]);
        }
        std::fs::create_dir(world.path("home")).unwrap();
        std::fs::copy(world.path("user.pub"), world.path("authorized")).unwrap();
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn show(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(super) fn keygen(&self, name: &str, args: &[&str]) {
        let mut all = vec!["-q", "-C", name];
        all.extend(args);
        let file = self.show(name);
        all.extend(["-f", &file]);
        run("ssh-keygen", &all);
    }

    pub(super) fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// `SHA256:…` by ssh-keygen.
    pub(super) fn print_of(&self, name: &str) -> String {
        run("ssh-keygen", &["-l", "-f", &self.show(&format!("{name}.pub"))])
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    }

    /// Starts an sshd with a host key `hostkey-NAME`, made on first use, and `extra` lines in its config.
    pub(super) fn sshd(&self, name: &str, extra: &str) -> Sshd {
        let key = format!("hostkey-{name}");
        if !self.path(&key).exists() {
            self.keygen(&key, &["-t", "ed25519", "-N", ""]);
        }
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = self.try_sshd(name, &key, port, extra) {
                return Sshd { child, port };
            }
        }
        panic!("sshd does not start on five free ports");
    }

    /// Writes the config of an sshd and says where.
    pub(super) fn sshd_config(&self, name: &str, key: &str, port: u16, extra: &str) -> PathBuf {
        if rustix::process::getuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let file = self.path(&format!("sshd-{name}-{port}"));
        std::fs::write(
            &file,
            format!(
                "{extra}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\n\
                 LogLevel VERBOSE\n{}\n",
                self.show(key),
                self.show("authorized"),
                if extra.contains("SetEnv") { String::new() } else { format!("SetEnv HOME={} SESSD_FALLBACK_DIR=/dev/null", self.show("home")) },
            ),
        )
        .unwrap();
        file
    }

    fn try_sshd(&self, name: &str, key: &str, port: u16, extra: &str) -> Option<Child> {
        let file = self.sshd_config(name, key, port, extra);
        let mut child = Command::new(sshd_binary())
            .args(["-D", "-e", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.by_ref() {
            if line.unwrap().contains("Server listening on 127.0.0.1") {
                let log = self.path(&format!("sshd-{name}-{port}.log"));
                std::thread::spawn(move || {
                    let mut text = String::new();
                    for line in lines.map_while(Result::ok) {
                        writeln!(text, "{line}").unwrap();
                        std::fs::write(&log, &text).ok();
                    }
                });
                return Some(child);
            }
        }
        child.wait().unwrap();
        None
    }

    /// Adds a `Host` to the ssh config, with what every test host has.
    pub(super) fn host(&mut self, alias: &str, port: u16, extra: &str) {
        // In ssh the first value wins: what a test says comes first.
        write!(
            self.config,
            "Host {alias}\n  HostName 127.0.0.1\n  Port {port}\n{extra}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  ConnectTimeout 5\n",
            self.user,
            self.show("user"),
            self.show("known_hosts"),
        )
        .unwrap();
        std::fs::write(self.path("config"), &self.config).unwrap();
    }

    /// Notes the host key of an sshd as known.
    pub(super) fn trust(&self, sshd: &Sshd, key: &str) {
        self.note(&format!("[127.0.0.1]:{} {}", sshd.port, self.public(key)));
    }

    pub(super) fn note(&self, line: &str) {
        let mut text = self.known();
        writeln!(text, "{line}").unwrap();
        std::fs::write(self.path("known_hosts"), text).unwrap();
    }

    pub(super) fn known(&self) -> String {
        std::fs::read_to_string(self.path("known_hosts")).unwrap_or_default()
    }

    pub(super) async fn resolve(&self, alias: &str) -> HostConfig {
        let mut environment = Environment::from_process(Some(self.path("config")));
        environment.variables.remove("SSH_AUTH_SOCK");
        HostConfig::resolve(&Destination::parse(alias).unwrap(), &environment).await.unwrap()
    }

    /// One sshd and one alias `box` for it, known.
    pub(super) fn with_box(extra: &str) -> (Self, Sshd) {
        let mut world = Self::new();
        let sshd = world.sshd("box", extra);
        world.host("box", sshd.port, "");
        world.trust(&sshd, "hostkey-box");
        (world, sshd)
    }
}

/// An sshd of ours; ends when dropped.
pub(super) struct Sshd {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Both transports, by name.
pub(super) fn transports() -> [(&'static str, Box<dyn Transport>); 2] {
    [("russh", Box::new(RusshTransport)), ("openssh", Box::new(OpensshTransport))]
}

/// Dials and runs one command; its stdout and exit.
pub(super) async fn once(
    transport: &dyn Transport,
    host: &HostConfig,
    command: &str,
) -> Result<(String, Exit), Failure> {
    let mut conn = transport.dial(host).await?;
    let (mut reader, _writer) = conn.exec(command).await?.into_parts();
    let mut out = Vec::new();
    while let Ok(Some(chunk)) = reader.chunk().await {
        out.extend_from_slice(&chunk);
    }
    let exit = reader.exit().await;
    conn.close().await;
    Ok((String::from_utf8_lossy(&out).into_owned(), exit))
}

/// A login shell of this machine, posing as a connection: `SHELL -c COMMAND`, as sshd runs it.
pub(super) struct Shell {
    pub(super) shell: &'static str,
    /// Words before the shell, such as a change of file systems.
    pub(super) within: Vec<&'static str>,
    pub(super) home: PathBuf,
    pub(super) variables: Vec<(&'static str, PathBuf)>,
    /// Commands run so far.
    pub(super) execs: usize,
}

impl Shell {
    pub(super) fn new(shell: &'static str, home: &Path) -> Self {
        Self { shell, home: home.to_owned(), within: Vec::new(), variables: Vec::new(), execs: 0 }
    }
}

impl Connection for Shell {
    fn exec<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        self.execs += 1;
        Box::pin(async move {
            let mut words = self.within.iter().copied().chain([self.shell, "-c"]);
            let mut child = tokio::process::Command::new(words.next().unwrap())
                .args(words)
                .arg(command)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", &self.home)
                // Nothing of this machine's own folders.
                .env("SESSD_FALLBACK_DIR", "/dev/null")
                .envs(self.variables.iter().cloned())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap_or_else(|e| panic!("{} is missing: {e}", self.shell));
            let (stdin, stdout, stderr) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            Ok(openssh::process_stream(child, stdin, stdout, stderr, b""))
        })
    }

    fn host(&self) -> String {
        self.shell.to_owned()
    }

    fn asks_a_person(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        self.shell.to_owned()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A stand-in for the agent: says where it is, then echoes.
pub(super) fn stand_in(extra: &str) -> AgentImage {
    let text = format!(
        "#!/bin/sh\ncase $1 in version) echo 1;; serve) echo \"agent ${{0%/bin/*}}\"; exec cat;; esac\n# {extra}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    std::fs::write(&file, &text).unwrap();
    let hash = run("sha256sum", &[&file.display().to_string()]).split(' ').next().unwrap().to_owned();
    let machine = run("uname", &["-m"]);
    let triple = format!("{machine}-unknown-linux-musl");
    AgentImage { triple: triple.leak(), hash: hash.leak(), bytes: text.leak().as_bytes() }
}

pub(super) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

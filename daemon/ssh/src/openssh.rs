//! The system's `ssh` over stdio, behind the same traits: for hardware keys without an agent, GSSAPI, PKCS#11, key
//! revocation lists, and whatever else our own connection lacks.
//!
//! One `ssh` process per exec, so [`Transport::dial`] cannot fail: what would fail there fails in `exec`, with the same
//! kinds. What it asks goes to a person where there is one (`SSH_ASKPASS`), and `BatchMode` keeps it from asking where
//! there is none; a LocalCommand, which ssh runs once it is logged in, is how we learn
//! that it is. Until then its stderr is ssh's own and is sorted into a [`Failure`]; after that it is the remote
//! command's. Where the user has a ControlMaster running (logged in by hand, with a token perhaps), it is shared; ours
//! never becomes one.

use std::{
    convert::Infallible,
    future::Future as _,
    io,
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::oneshot,
    time::timeout,
};

use super::{
    BoxFuture, Connection, ExecStream, Exit, Failure, HostKeyProblem, OnFile, Transport, agent_has_keys,
    askpass::{Given, Questions},
    auth::{self, no_agent},
    clean,
    config::{HostConfig, destination_args},
    known_hosts,
    prompt::Asker,
    stream::{Source, Tail},
};

/// Bytes read from ssh at once.
const CHUNK: usize = 128 << 10;
/// What is read of ssh's own stderr before the login, in bytes.
const MAX_SAID: usize = 64 << 10;
/// The login: as for our own connection.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a ControlMaster may take to say that it is there.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of chance in what ssh prints on stderr, by our LocalCommand, once it is logged in: a banner must not know it.
const MARK: usize = 16;

/// The transport that runs the system's `ssh`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpensshTransport;

impl Transport for OpensshTransport {
    fn dial<'a>(&'a self, host: &'a HostConfig) -> BoxFuture<'a, Result<Box<dyn Connection>, Failure>> {
        Box::pin(async move {
            if host.environment.ssh.is_none() {
                return Err(Failure::Config {
                    detail: "transport \"openssh\" needs ssh, which is not installed".to_owned(),
                });
            }
            Ok(Box::new(OpensshConnection {
                host: host.clone(),
                asker: Asker::new(host),
                given: Given::default(),
                wants_a_touch: false,
                entered: None,
            }) as Box<dyn Connection>)
        })
    }
}

/// No connection, but the right to make one per exec.
struct OpensshConnection {
    host: HostConfig,
    asker: Arc<Asker>,
    /// What a person answered in this dial.
    given: Given,
    /// A key on a device may have been used, or there is no login of our own.
    wants_a_touch: bool,
    /// Whoever waits for the first login.
    entered: Option<oneshot::Sender<()>>,
}

impl OpensshConnection {
    /// An ssh to that host, which asks nobody.
    fn command(&self, extra: &[&str]) -> Command {
        self.command_that(&[&["-o", "BatchMode=yes"], extra].concat())
    }

    fn command_that(&self, extra: &[&str]) -> Command {
        let host = &self.host;
        let binary = host.environment.ssh.clone().unwrap_or_else(|| "ssh".into());
        let mut command = host.environment.command(binary);
        command.args(["-T", "-o", "EscapeChar=none", "-o", "ClearAllForwardings=yes"]);
        // Set even where the config has one: the value is the config's, or our default where it has none.
        command.arg("-o").arg(format!("ConnectTimeout={}", host.connect_timeout.as_secs().max(1)));
        command.args(["-o", "RemoteCommand=none", "-o", "RequestTTY=no"]);
        for option in &host.policy.shields {
            command.args(["-o", option]);
        }
        command.args(extra);
        command.args(destination_args(&host.destination, host.environment.ssh_config.as_deref()));
        command.arg("--").arg(&host.destination.host);
        // What ssh prints is sorted by its words. Not LC_ALL: SendEnv may pass that on to the jobs.
        command.env("LANGUAGE", "C");
        command.kill_on_drop(true);
        // In a group of its own: what a terminal or a signal does to it, it does not do to the manager.
        command.process_group(0);
        command
    }

    fn has_entered(&mut self) {
        if let Some(waiting) = self.entered.take() {
            // Whoever waited may be gone.
            let _ = waiting.send(());
        }
    }

    /// Whether there is a connection of the user's own to share.
    async fn master_runs(&self) -> bool {
        if !self.host.control_path {
            return false;
        }
        let mut command = self.command(&["-O", "check"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        matches!(timeout(CHECK_TIMEOUT, command.status()).await, Ok(Ok(status)) if status.success())
    }

    async fn start(&mut self, remote: &str) -> Result<ExecStream, Failure> {
        let shared = self.master_runs().await;
        self.wants_a_touch = shared || has_device_key(&self.host).await;
        // Any local shell understands these words; `echo` into stderr is sh's own doing.
        let mark = mark()?;
        let mut local = format!("LocalCommand=/bin/sh -c \"echo {mark} >&2\"");
        if let Some(command) = &self.host.policy.local_command {
            // ssh expands it once more.
            local = format!("{local}; {}", command.replace('%', "%%"));
        }
        let mut questions = if shared { None } else { Questions::new(&self.host, &self.asker) };
        let mut command = if shared {
            self.command(&["-o", "ControlMaster=no"])
        } else {
            self.command_that(&[
                "-o",
                if questions.is_some() { "BatchMode=no" } else { "BatchMode=yes" },
                "-o",
                "ControlPath=none",
                "-o",
                "LogLevel=INFO",
                "-o",
                "PermitLocalCommand=yes",
                "-o",
                &local,
            ])
        };
        command.arg(remote).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(questions) = &questions {
            questions.of(&mut command);
        }
        let config = |what: String| Failure::Config { detail: what };
        let mut child = command.spawn().map_err(|e| config(format!("ssh does not start: {e}")))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(config("ssh has no pipes".to_owned()));
        };
        if shared {
            self.has_entered();
            // Logged in already; a shared connection runs no LocalCommand.
            return Ok(process_stream(child, stdin, stdout, stderr, b""));
        }
        let hops = u32::try_from(self.host.jumps.len() + 1).unwrap_or(1);
        let bound = self.host.connect_timeout * hops + LOGIN_TIMEOUT;
        let asker = self.asker.clone();
        let logged_in = async {
            let (host, given) = (&self.host, &mut self.given);
            let asked = async {
                match &mut questions {
                    Some(questions) => questions.answer(host, &asker, given).await,
                    None => std::future::pending::<Infallible>().await,
                }
            };
            tokio::select! {
                logged_in = until_logged_in(&mut stderr, &mark) => logged_in,
                never = asked => match never {},
            }
        };
        let logged_in = asker.within(bound, logged_in).await;
        drop(questions);
        match logged_in {
            Some(Ok(rest)) => {
                self.has_entered();
                Ok(process_stream(child, stdin, stdout, stderr, &rest))
            }
            Some(Err(said)) => {
                // Reaped here, so that no zombie waits for the runtime's next look.
                child.wait().await.ok();
                Err(self.failure(&said).await)
            }
            // It has its own limit for the connection: what is left is the login.
            None => Err(Failure::NeedsLogin {
                host: self.host.name(),
                detail: format!(
                    "ssh was not logged in within {} s: a key may wait for a touch or a confirmation",
                    bound.as_secs()
                ),
            }),
        }
    }

    /// Sorts what ssh said before it gave up.
    async fn failure(&self, said: &str) -> Failure {
        let host = self.host.name();
        let detail = clean(said, 300);
        let has = |needle: &str| said.contains(needle);
        if has("marked as revoked") || has("REVOKED HOST KEY") {
            return self.host_key(HostKeyProblem::Revoked).await;
        }
        if has("HOST IDENTIFICATION HAS CHANGED") {
            let (file, line) = offending(said).unwrap_or_default();
            let fingerprints = match tokio::fs::read_to_string(&file).await {
                Ok(text) => known_hosts::fingerprint_at(&text, line).into_iter().collect(),
                Err(_) => Vec::new(),
            };
            return self
                .host_key(HostKeyProblem::Changed(Box::new(OnFile { fingerprints, file, line })))
                .await;
        }
        if has("Host key verification failed") {
            return self.host_key(HostKeyProblem::Unknown).await;
        }
        if has("Permission denied")
            || has("Too many authentication failures")
            || has("No more authentication methods")
        {
            if let Some(socket) = self.host.identity_agent.clone()
                && has("publickey")
                && !agent_has_keys(&socket).await
            {
                let detail =
                    format!("the ssh-agent at {} does not answer or has no key; {detail}", socket.display());
                return no_agent(&self.host, detail);
            }
            return Failure::NeedsLogin { host, detail };
        }
        if has("Bad configuration option")
            || has("Bad owner or permissions")
            || has("terminating, ")
            || has("unsupported option")
            || has("keyword ")
        {
            return Failure::Config { detail: format!("ssh refuses its config: {detail}") };
        }
        if has("no matching ") || has("Unable to negotiate") || has("Protocol major versions differ") {
            return Failure::Protocol { host, detail };
        }
        if has("onnection closed by") && auth::of_the_account(said) {
            return Failure::NeedsLogin { host, detail };
        }
        if has("connect to host ") && self.host.jumps.is_empty() && self.host.proxy_command.is_none() {
            return Failure::Refused { host, detail };
        }
        // Nothing that it reached has said that it is ssh; or a jump host's, or a ProxyCommand's, way ends before it.
        if ["connect to host ", "kex_exchange_identification: ", "banner exchange: ", "connect failed"]
            .into_iter()
            .any(has)
        {
            return Failure::HungUp { host, detail };
        }
        if detail.is_empty() {
            return Failure::Unreachable { host, detail: "ssh ended without a word".to_owned() };
        }
        Failure::Unreachable { host, detail }
    }

    /// A refused key: ssh does not print an unknown one's fingerprint in batch mode, so it is asked again, aloud. That
    /// attempt ends before any login.
    async fn host_key(&self, kind: HostKeyProblem) -> Failure {
        let mut command = self.command(&[
            "-v",
            "-o",
            "ControlPath=none",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "UpdateHostKeys=no",
        ]);
        command.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let fingerprint = match timeout(LOGIN_TIMEOUT, command.output()).await {
            Ok(Ok(output)) => shown_key(&String::from_utf8_lossy(&output.stderr)),
            Ok(Err(_)) | Err(_) => None,
        };
        Failure::HostKey {
            name: self.host.name(),
            host: self.host.host_key_alias.clone().unwrap_or_else(|| self.host.hostname.clone()),
            port: if self.host.host_key_alias.is_some() { 22 } else { self.host.port },
            fingerprint: fingerprint.unwrap_or_else(|| "fingerprint not shown by ssh".to_owned()),
            kind,
        }
    }
}

/// Whether a key that lies on a device is among those of the config.
async fn has_device_key(host: &HostConfig) -> bool {
    for file in &host.identity_files {
        let mut public = file.clone().into_os_string();
        public.push(".pub");
        if tokio::fs::read_to_string(&public).await.is_ok_and(|text| text.trim_start().starts_with("sk-")) {
            return true;
        }
    }
    false
}

/// A running process as a stream; `said` is what of its stderr was read already.
pub(super) fn process_stream(
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    said: &[u8],
) -> ExecStream {
    let mut tail = Tail::default();
    tail.push(said);
    let source = ProcessSource {
        child,
        stdout: Some(stdout),
        stderr: Some(stderr),
        buffer: BytesMut::new(),
        tail,
        status: None,
    };
    ExecStream::new(Box::new(source), Box::new(Stdin(Some(stdin))))
}

/// `debug1: Server host key: ssh-ed25519 SHA256:…` (the last one: with jumps, the inner host's) as `ED25519 SHA256:…`.
fn shown_key(said: &str) -> Option<String> {
    let line = said.lines().rev().find_map(|l| l.split_once("Server host key: ").map(|(_, r)| r))?;
    let (kind, print) = line.trim().split_once(' ')?;
    let kind = match kind {
        k if k.starts_with("ssh-ed25519") => "ED25519",
        k if k.starts_with("ecdsa-") => "ECDSA",
        k if k.starts_with("ssh-rsa") || k.starts_with("rsa-") => "RSA",
        other => other,
    };
    Some(clean(&format!("{kind} {print}"), 120))
}

/// `Offending ED25519 key in /home/me/.ssh/known_hosts:3`.
fn offending(said: &str) -> Option<(String, usize)> {
    let line =
        said.lines().find_map(|l| l.strip_prefix("Offending ").and_then(|l| l.split_once(" key in ")))?.1;
    let (file, number) = line.trim().rsplit_once(':')?;
    Some((file.to_owned(), number.parse().ok()?))
}

/// A word that nobody can have said before.
fn mark() -> Result<String, Failure> {
    let mut bytes = [0u8; MARK];
    getrandom::fill(&mut bytes).map_err(|e| Failure::Config { detail: format!("no random numbers: {e}") })?;
    Ok(format!("sessd-{}", data_encoding::HEXLOWER.encode(&bytes)))
}

/// Reads ssh's stderr up to our mark: the bytes after it, or everything said when it ended before.
async fn until_logged_in(stderr: &mut (impl AsyncRead + Unpin), mark: &str) -> Result<Vec<u8>, String> {
    let mark = format!("{mark}\n");
    let mut said = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let n = stderr.read(&mut buffer).await.unwrap_or(0);
        if n == 0 {
            return Err(String::from_utf8_lossy(&said).into_owned());
        }
        said.extend_from_slice(&buffer[..n]);
        if let Some(at) = said.windows(mark.len()).position(|w| w == mark.as_bytes()) {
            return Ok(said.split_off(at + mark.len()));
        }
        if said.len() > MAX_SAID {
            said.drain(..said.len() - MAX_SAID / 2);
        }
    }
}

impl Connection for OpensshConnection {
    fn exec<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        Box::pin(self.start(command))
    }

    fn host(&self) -> String {
        self.host.name()
    }

    fn entering(&mut self) -> Option<oneshot::Receiver<()>> {
        let (sender, receiver) = oneshot::channel();
        self.entered = Some(sender);
        Some(receiver)
    }

    fn asks_a_person(&self) -> bool {
        self.wants_a_touch || self.asker.has_asked()
    }

    fn is_settled(&mut self) {
        self.given.clear();
    }

    fn describe(&self) -> String {
        format!("ssh {}", self.host.name())
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A running ssh. Dropping it kills the process.
struct ProcessSource {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    buffer: BytesMut,
    tail: Tail,
    status: Option<Exit>,
}

impl ProcessSource {
    /// Takes in what stderr has, so that it never blocks ssh.
    fn drain_stderr(&mut self, cx: &mut Context<'_>) {
        let mut space = [0u8; 4096];
        while let Some(stderr) = &mut self.stderr {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(stderr).poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.tail.push(buffer.filled()),
                Poll::Ready(_) => self.stderr = None,
            }
        }
    }
}

impl Source for ProcessSource {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.drain_stderr(cx);
        let Some(stdout) = &mut self.stdout else { return Poll::Ready(Ok(None)) };
        if self.buffer.capacity() < CHUNK / 4 {
            self.buffer.reserve(CHUNK);
        }
        let n = ready!(tokio_poll_read_buf(stdout, cx, &mut self.buffer))?;
        if n == 0 {
            self.stdout = None;
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(self.buffer.split().freeze())))
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        if let Some(status) = &self.status {
            return Poll::Ready(status.clone());
        }
        while self.stdout.is_some() {
            if !matches!(ready!(self.poll_chunk(cx)), Ok(Some(_))) {
                self.stdout = None;
            }
        }
        self.drain_stderr(cx);
        let waited = ready!(std::pin::pin!(self.child.wait()).poll(cx));
        self.drain_stderr(cx);
        let exit = match waited.ok().and_then(|s| s.code()).and_then(|c| u32::try_from(c).ok()) {
            // ssh's own word for "the connection broke", or the command's: nobody can tell.
            Some(255) | None => Exit::Unknown,
            Some(code) => Exit::Code(code),
        };
        self.status = Some(exit.clone());
        Poll::Ready(exit)
    }

    fn stderr(&self) -> &[u8] {
        self.tail.bytes()
    }
}

/// ssh's stdin; a pipe's end-of-file is its close.
struct Stdin(Option<ChildStdin>);

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(stdin) => Pin::new(stdin).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// One read straight into the buffer's spare room, no zeroing and no copy.
fn tokio_poll_read_buf(
    stdout: &mut ChildStdout,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    std::pin::pin!(stdout.read_buf(buffer)).poll(cx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ssh_are_taken_apart() {
        let said = "debug1: Server host key: ssh-rsa SHA256:outer\r\ndebug1: Server host key: ecdsa-sha2-nistp256 SHA256:x\r\n";
        assert_eq!(shown_key(said).as_deref(), Some("ECDSA SHA256:x"));
        assert_eq!(shown_key("nothing"), None);
        let said = "@@@\nOffending ED25519 key in /a/known_hosts:12\n  remove with:\n";
        assert_eq!(offending(said), Some(("/a/known_hosts".to_owned(), 12)));
    }
}

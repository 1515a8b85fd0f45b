//! A host: a real OpenSSH `sshd` of our own, with its own keys, its own home and an address nobody else has.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::procs;
use crate::wait::until_or;
use crate::world::{World, log_tail, set_mode};

/// An `sshd` in the foreground. Whoever logs in gets this host's own home.
#[derive(Debug)]
pub struct Sshd {
    dir: PathBuf,
    addr: SocketAddr,
    host_key: String,
    child: Option<Child>,
    /// The network that it is in, where that is another than ours.
    network: Option<String>,
}

impl Sshd {
    /// Starts a host called `name` in the world.
    ///
    /// # Panics
    /// When there is no `sshd`, or it does not come up.
    pub fn start_in(world: &World, name: &str) -> Sshd {
        Sshd::start_with(world, name, &[])
    }

    /// Starts a host with extra lines in its configuration; they come first, and the first value counts.
    ///
    /// # Panics
    /// When there is no `sshd`, or it does not come up.
    pub fn start_with(world: &World, name: &str, options: &[&str]) -> Sshd {
        // An address of the loopback network that is ours alone: another test cannot take the port while this host
        // is stopped.
        let ip = private_address();
        let free = TcpListener::bind(SocketAddr::new(ip, 0)).expect("a free port");
        let addr = free.local_addr().expect("the address of a listener");
        drop(free);
        Sshd::start_at(world, name, options, None, addr)
    }

    /// Starts a host in a network of its own (`ip netns`), at an address there.
    ///
    /// # Panics
    /// When there is no `sshd`, or it does not come up.
    pub fn start_within(world: &World, name: &str, network: &str, addr: SocketAddr) -> Sshd {
        Sshd::start_at(world, name, &[], Some(network.to_owned()), addr)
    }

    fn start_at(
        world: &World,
        name: &str,
        options: &[&str],
        network: Option<String>,
        addr: SocketAddr,
    ) -> Sshd {
        let ip = addr.ip();
        let dir = world.root().join(name);
        let home = dir.join("home");
        for dir in [&dir, &home, &dir.join("fallback")] {
            fs::create_dir(dir).expect("a folder of the host");
            set_mode(dir, 0o700);
        }
        let host_key = make_key(&dir.join("host_key"));
        let user_key = make_key(&dir.join("user_key"));
        fs::write(dir.join("authorized_keys"), user_key + "\n").expect("the authorized keys");

        let mut config = String::new();
        for option in options {
            config.push_str(option);
            config.push('\n');
        }
        // Later versions shut out an address after a few refused logins, which tests produce on purpose.
        let calm = ["-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no", "-h"];
        let key_file = dir.join("host_key");
        if Command::new(sshd_binary())
            .args(calm)
            .arg(&key_file)
            .output()
            .is_ok_and(|out| out.status.success())
        {
            config.push_str("PerSourcePenalties no\n");
        }
        config.push_str(&format!(
            "ListenAddress {ip}:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
             SetEnv HOME={home} SESSD_FALLBACK_DIR={dir}/fallback\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\nPrintLastLog no\nUseDNS no\n\
             MaxStartups 500:30:1000\nLogLevel VERBOSE\n",
            port = addr.port(),
            dir = dir.display(),
            home = home.display(),
        ));
        fs::write(dir.join("sshd_config"), config).expect("the configuration of sshd");
        let mut sshd = Sshd { dir, addr, host_key, child: None, network };
        sshd.start();
        sshd
    }

    /// Starts it again at the same address.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "sshd runs already");
        if rustix::process::geteuid().is_root() {
            // sshd puts its unprivileged half there; packages make it only when the service starts.
            let _ = fs::create_dir_all("/run/sshd");
        }
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("the log of sshd");
        let mut command = match &self.network {
            None => Command::new(sshd_binary()),
            Some(network) => {
                // `ip` becomes what it runs.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", network]).arg(sshd_binary());
                command
            }
        };
        let child = command
            .args(["-D", "-e", "-f"])
            .arg(self.dir.join("sshd_config"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        self.child = Some(child);
        until_or(
            &format!("sshd at {}", self.addr),
            Duration::from_secs(15),
            || {
                let mut stream = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
                let mut banner = [0; 4];
                stream.read_exact(&mut banner).ok()?;
                (&banner == b"SSH-").then_some(())
            },
            || log_tail(&self.log()),
        );
    }

    /// Kills the listener and everything that serves a connection, at once and without a word to either side. What
    /// left the login, as a job's holder does, lives on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("sshd runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        let all = procs::family(pid);
        // The listener first, so that it takes no new connection meanwhile.
        for pid in all {
            if procs::name(pid).starts_with("sshd") {
                procs::signal(pid, Signal::KILL);
            }
        }
        let _ = child.wait();
    }

    /// Processes of `sshd` that serve a connection now.
    pub fn connections(&self) -> usize {
        let Some(child) = &self.child else { return 0 };
        let listener = i32::try_from(child.id()).expect("a process id");
        procs::family(listener)
            .into_iter()
            .filter(|&pid| pid != listener && procs::name(pid).starts_with("sshd"))
            .count()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The home of everybody who logs in.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Where what that home has no room for goes.
    pub fn fallback(&self) -> PathBuf {
        self.dir.join("fallback")
    }

    /// The private key it lets in.
    pub fn user_key(&self) -> PathBuf {
        self.dir.join("user_key")
    }

    /// The public host key: type and base64.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The fingerprint of the host key, as `ssh-keygen -l` prints it.
    ///
    /// # Panics
    /// When `ssh-keygen` fails.
    pub fn fingerprint(&self) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.dir.join("host_key.pub"))
            .output()
            .expect("ssh-keygen");
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        line.split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }

    /// Lets nobody in from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn refuse_keys(&self) {
        fs::write(self.dir.join("authorized_keys"), "").expect("the authorized keys");
    }

    /// A new host key, as after a new installation; it counts from the next start.
    ///
    /// # Panics
    /// When the key cannot be made.
    pub fn change_host_key(&mut self) {
        let path = self.dir.join("host_key");
        fs::remove_file(&path).expect("the old key");
        self.host_key = make_key(&path);
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("sshd.log")
    }

    /// The end of its log, for a message.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    /// How often somebody was let in since the host exists.
    pub fn logins(&self) -> usize {
        fs::read_to_string(self.log()).unwrap_or_default().matches("Accepted publickey for").count()
    }

    /// How often somebody was let in by a way of this name since the host exists.
    pub fn accepted(&self, how: &str) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.matches(&format!("Accepted {how}")).count()
    }

    /// How often a key was refused since the host exists.
    pub fn refusals(&self) -> usize {
        fs::read_to_string(self.log()).unwrap_or_default().matches("Failed publickey").count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
    }
}

/// A host that greets every command with noise on both streams, none of it ended by a newline.
pub const NOISY: &[&str] =
    &["ForceCommand printf 'welcome %s' $(seq 2000); seq -s , 2000 >&2; sh -c \"$SSH_ORIGINAL_COMMAND\""];

/// A host on which new files are nobody else's business.
pub const TIGHT_UMASK: &[&str] = &["ForceCommand umask 077; exec sh -c \"$SSH_ORIGINAL_COMMAND\""];

/// A host that allows one channel and nothing else.
pub const STRICT: &[&str] = &[
    "MaxSessions 1",
    "AllowTcpForwarding no",
    "AllowStreamLocalForwarding no",
    "X11Forwarding no",
    "AllowAgentForwarding no",
    "PermitTTY no",
];

/// Login shells of this machine that users are known to have: name and path.
pub fn login_shells() -> Vec<(&'static str, String)> {
    let known = ["dash", "bash", "zsh", "fish", "tcsh", "ksh", "nu"];
    let places = ["/bin", "/usr/bin", "/usr/local/bin"];
    let find =
        |name: &str| places.iter().map(|dir| format!("{dir}/{name}")).find(|path| Path::new(path).exists());
    known.into_iter().filter_map(|name| Some((name, find(name)?))).collect()
}

/// What sshd does for a user whose login shell is `path`.
pub fn with_login_shell(path: &str) -> String {
    format!("ForceCommand exec {path} -c \"$SSH_ORIGINAL_COMMAND\"")
}

/// The name we log in with: our own, the only one an unprivileged `sshd` can serve.
pub fn user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let output = Command::new("id").arg("-un").output().expect("id");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn sshd_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let usual = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from);
        usual.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
            panic!("no sshd on this machine: install it with `apt-get install openssh-server`")
        })
    })
}

/// Makes a key pair at `path`; gives the public half, type and base64.
fn make_key(path: &Path) -> String {
    let _ = fs::remove_file(path.with_extension("pub"));
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .output()
        .unwrap_or_else(|error| {
            panic!("ssh-keygen: {error}: install it with `apt-get install openssh-client`")
        });
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(path.with_extension("pub")).expect("a public key");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// An address of 127.0.0.0/8 by chance, one of sixteen million.
pub fn private_address() -> IpAddr {
    let mut bytes = [0; 3];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    IpAddr::V4(Ipv4Addr::new(127, bytes[0] | 1, bytes[1], bytes[2].clamp(1, 254)))
}

//! The ssh configuration and known hosts of a world.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::sshd::{Sshd, user};
use crate::world::World;

/// A client's configuration file, grown host by host; `sessd` and `ssh` are pointed at the same file.
#[derive(Debug)]
pub struct SshConfig {
    path: PathBuf,
    known_hosts: PathBuf,
    /// Ours, where each host's transport is named.
    config: PathBuf,
    text: String,
}

impl SshConfig {
    /// An empty configuration, named to everything the world starts by `SESSD_SSH_CONFIG`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(world: &mut World) -> SshConfig {
        let config = SshConfig {
            path: world.root().join("ssh_config"),
            known_hosts: world.root().join("known_hosts"),
            config: world.config(),
            text: String::new(),
        };
        world.set_env("SESSD_SSH_CONFIG", config.path.display().to_string());
        fs::write(&config.known_hosts, "").expect("the known hosts");
        config.write();
        config
    }

    /// The configuration file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The known hosts file.
    pub fn known_hosts(&self) -> &PathBuf {
        &self.known_hosts
    }

    /// Adds `sshd` under an alias, its host key known.
    pub fn host(&mut self, alias: &str, sshd: &Sshd) -> &mut SshConfig {
        self.host_at(alias, sshd, sshd.addr(), &[])
    }

    /// Adds `sshd` under an alias, reached at `addr` (a proxy's), with extra option lines; its host key is known.
    pub fn host_at(
        &mut self,
        alias: &str,
        sshd: &Sshd,
        addr: SocketAddr,
        options: &[&str],
    ) -> &mut SshConfig {
        self.know(addr, sshd.host_key());
        self.stranger_at(alias, sshd, addr, options)
    }

    /// Adds `sshd` under an alias without knowing its host key.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn stranger_at(
        &mut self,
        alias: &str,
        sshd: &Sshd,
        addr: SocketAddr,
        options: &[&str],
    ) -> &mut SshConfig {
        let (ip, port) = (addr.ip(), addr.port());
        let _ = write!(
            self.text,
            "Host {alias}\n  HostName {ip}\n  Port {port}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  ConnectTimeout 5\n",
            user(),
            sshd.user_key().display(),
            self.known_hosts.display(),
        );
        for option in options {
            let _ = writeln!(self.text, "  {option}");
        }
        self.write();
        self.by_transport(alias);
        self
    }

    /// Any test runs over the other transport as well: `SESSD_TEST_TRANSPORT=openssh`.
    fn by_transport(&self, alias: &str) {
        let Ok(transport) = std::env::var("SESSD_TEST_TRANSPORT") else { return };
        let mut text = fs::read_to_string(&self.config).unwrap_or_default();
        let _ = write!(text, "[hosts.'{alias}']\ntransport = '{transport}'\n");
        fs::write(&self.config, text).expect("the configuration");
    }

    /// Adds a server of any kind under an alias, its host key known, for this user's key.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn login_at(
        &mut self,
        alias: &str,
        addr: SocketAddr,
        host_key: &str,
        user: &str,
        key: &str,
    ) -> &mut SshConfig {
        self.know(addr, host_key);
        let (ip, port) = (addr.ip(), addr.port());
        let _ = write!(
            self.text,
            "Host {alias}\n  HostName {ip}\n  Port {port}\n  User {user}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  ConnectTimeout 5\n",
            self.known_hosts.display(),
        );
        self.write();
        self
    }

    /// Adds `sshd` under an alias, its host key known, with option lines that go before all others: the first value counts.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn host_at_first(&mut self, alias: &str, sshd: &Sshd, options: &[&str]) -> &mut SshConfig {
        let _ = writeln!(self.text, "Host {alias}");
        for option in options {
            let _ = writeln!(self.text, "  {option}");
        }
        self.host(alias, sshd)
    }

    /// Writes down that the host at `addr` has this key.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn know(&mut self, addr: SocketAddr, key: &str) {
        let mut text = fs::read_to_string(&self.known_hosts).expect("the known hosts");
        let _ = writeln!(text, "[{}]:{} {key}", addr.ip(), addr.port());
        fs::write(&self.known_hosts, text).expect("the known hosts");
    }

    fn write(&self) {
        fs::write(&self.path, &self.text).expect("the ssh configuration");
    }
}

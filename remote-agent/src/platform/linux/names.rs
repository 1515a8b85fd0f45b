//! What a name is called by, as an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a name, the best first; none: there is no such name. It may take a name server's time.
///
/// # Errors
/// When names cannot be looked up here.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if name == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    look_up(name)
}

/// The C library of our own asks the servers itself.
#[cfg(not(target_env = "gnu"))]
fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    use std::net::ToSocketAddrs;
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// glibc looks names up by what is configured on this host (files, DNS, directories), with libraries of the very version that
/// this host has: no program that brings glibc along can. The host's own `getent` does.
#[cfg(target_env = "gnu")]
fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    use std::io::Read;
    use std::process::{Command, Stdio};
    // Not to be taken for an option.
    if name.starts_with('-') {
        return Ok(Vec::new());
    }
    let mut asked = Command::new("getent");
    asked.args(["ahosts", name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let none = |_| io::Error::other("there is no getent to look names up with: give an address");
    let (mut child, mut text) = (asked.spawn().map_err(none)?, Vec::new());
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_end(&mut text)?;
    }
    child.wait()?;
    Ok(listed(&String::from_utf8_lossy(&text)))
}

/// Each address once, in the order of what `getent` lists.
#[cfg(any(test, target_env = "gnu"))]
fn listed(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_as_the_host_does_and_an_address_is_one() {
        assert_eq!(addresses("::1").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("localhost").unwrap()[0], IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(addresses("no-such-name.invalid").unwrap_or_default(), [] as [IpAddr; 0]);
        let text = "10.0.0.1 STREAM db\n10.0.0.1 DGRAM\nfe80::1 STREAM\nrubbish\n";
        assert_eq!(listed(text), [IpAddr::from([10, 0, 0, 1]), "fe80::1".parse().unwrap()]);
    }
}

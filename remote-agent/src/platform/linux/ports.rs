//! Which ports processes listen on: `/proc/net/tcp` has them by the socket's inode, `/proc/PID/fd` who has that socket.

use super::process::{family, process};
use crate::machine::process::Ident;
use sessd_proto::messages::JobPort;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// State of a socket that listens.
const LISTEN: &str = "0A";

/// One line of such a table: the socket's inode, and where it listens.
fn listening(line: &str) -> Option<(u64, IpAddr, u16)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let words: Vec<u32> = (0..address.len() / 8)
        .filter_map(|n| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok())
        .collect();
    // Each word as it lies in memory.
    let address = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [_, _, _, _] => {
            let mut bytes = [0; 16];
            words
                .iter()
                .zip(bytes.chunks_mut(4))
                .for_each(|(word, to)| to.copy_from_slice(&word.to_ne_bytes()));
            let address = Ipv6Addr::from(bytes);
            address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
        }
        _ => return None,
    };
    Some((fields.get(9)?.parse().ok()?, address, u16::from_str_radix(port, 16).ok()?))
}

/// The ports that processes of the job listen on; `None`: that cannot be seen.
pub fn ports(leader: Ident) -> Option<Vec<JobPort>> {
    let tables: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/net/{name}")).ok())
        .collect();
    if tables.is_empty() {
        return None;
    }
    let lines = tables.iter().flat_map(|table| table.lines());
    let sockets: Vec<(u64, IpAddr, u16)> = lines.filter_map(listening).collect();
    if sockets.is_empty() {
        return Some(Vec::new());
    }
    let mut ports = Vec::new();
    for pid in descendants(leader)? {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for link in open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let is = |inode: u64| sockets.iter().find(|(known, ..)| *known == inode);
            let Some((_, address, port)) = inode.and_then(is) else { continue };
            let program = process(pid).map(|process| process.name).unwrap_or_default();
            ports.push(JobPort { port: (*port).into(), address: address.to_string(), program });
        }
    }
    Some(ports)
}

/// The processes of the job: where the kernel does not list children, every process is looked at.
fn descendants(leader: Ident) -> Option<Vec<u32>> {
    let family = family(leader, &[leader])?;
    let mut ours = vec![leader.0];
    loop {
        let before = ours.len();
        for process in &family {
            let belongs = process.session == leader.0 || ours.contains(&process.parent);
            if belongs && !ours.contains(&process.pid) {
                ours.push(process.pid);
            }
        }
        if ours.len() == before {
            return Some(ours);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_sockets_is_read_as_the_kernel_writes_it() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0";
        let is = if cfg!(target_endian = "little") { [127, 0, 0, 1] } else { [1, 0, 0, 127] };
        assert_eq!(listening(line), Some((4242, IpAddr::from(is), 8080)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None, "connected");
        let six = line.replace("0100007F", "00000000000000000000000000000000");
        assert_eq!(listening(&six), Some((4242, IpAddr::from([0u8; 16]), 8080)));
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn our_own_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();
        let ports = ports((own, process(own).unwrap().start)).unwrap();
        assert!(ports.iter().any(|p| p.port == u32::from(port) && p.address == "127.0.0.1"), "{ports:?}");
    }
}

//! Where a host is asked for from: the environments that people asked from, by number, and the ssh-agents they had.

use sessd_base::asking::Asking;
use sessd_core::dialling::Origin;
use sessd_ssh::agent_has_keys;
use std::path::PathBuf;
use std::rc::Rc;

/// The manager's own environment.
pub const OWN: Origin = 0;
/// Environments of one host that are remembered, and agents of all of them.
const KNOWN: usize = 16;

/// The environments one host was asked for from, the latest at the end.
#[derive(Debug, Default)]
pub struct Origins {
    known: Vec<(Origin, Rc<Asking>)>,
    last: Origin,
}

impl Origins {
    /// The number of an environment. One that is as the manager's own is the manager's own.
    pub fn number(&mut self, asking: Option<&Rc<Asking>>, own: impl Fn(&str) -> Option<String>) -> Origin {
        let Some(asking) = asking else { return OWN };
        if asking.changes(own).is_empty() {
            return OWN;
        }
        if let Some(at) = self.known.iter().position(|(_, known)| known == asking) {
            let known = self.known.remove(at);
            self.known.push(known);
        } else {
            if self.known.len() >= KNOWN {
                self.known.remove(0);
            }
            self.last += 1;
            self.known.push((self.last, asking.clone()));
        }
        self.known.last().map_or(OWN, |(number, _)| *number)
    }

    /// The environment of that number; none: the manager's own, or forgotten.
    pub fn get(&self, number: Origin) -> Option<Rc<Asking>> {
        self.known.iter().find(|(known, _)| *known == number).map(|(_, asking)| asking.clone())
    }
}

/// The ssh-agents of everybody who asked for anything, the latest first.
#[derive(Debug, Default)]
pub struct Agents(Vec<PathBuf>);

impl Agents {
    /// Somebody has this one.
    pub fn heard(&mut self, socket: PathBuf) {
        self.0.retain(|known| *known != socket);
        self.0.insert(0, socket);
        self.0.truncate(KNOWN);
    }

    /// All of them.
    pub fn all(&self) -> Vec<PathBuf> {
        self.0.clone()
    }
}

/// The first of these agents that answers and has a key.
pub async fn first_with_keys<'a>(sockets: impl IntoIterator<Item = &'a PathBuf>) -> Option<&'a PathBuf> {
    for socket in sockets {
        if agent_has_keys(socket).await {
            return Some(socket);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::messages::Environment;

    fn asking(agent: &str) -> Rc<Asking> {
        let variables = [("SSH_AUTH_SOCK".to_owned(), agent.to_owned())].into();
        Rc::new(Asking::from(Environment { variables, unset: Vec::new(), answers: false }))
    }

    #[test]
    fn the_same_environment_has_the_same_number_and_the_managers_own_is_known() {
        let own = |name: &str| (name == "SSH_AUTH_SOCK").then(|| "/own".to_owned());
        let mut origins = Origins::default();
        assert_eq!(origins.number(None, own), OWN);
        assert_eq!(origins.number(Some(&asking("/own")), own), OWN);
        let one = origins.number(Some(&asking("/a")), own);
        assert_ne!(one, OWN);
        assert_ne!(origins.number(Some(&asking("/b")), own), one);
        assert_eq!(origins.number(Some(&asking("/a")), own), one);
        assert_eq!(origins.get(one), Some(asking("/a")));
        for n in 0..100 {
            origins.number(Some(&asking(&n.to_string())), own);
        }
        assert_eq!((origins.known.len(), origins.get(one)), (KNOWN, None));
        assert_ne!(origins.number(Some(&asking("/a")), own), one, "a number is not used again");
    }

    #[test]
    fn the_latest_agent_is_tried_first() {
        let mut agents = Agents::default();
        for name in ["/a", "/b", "/a"] {
            agents.heard(name.into());
        }
        assert_eq!(agents.all(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}

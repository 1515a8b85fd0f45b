//! The ports that a job begins to listen on, and are to be the same numbers here.

use super::{Auto, Forwards, bind};
use sessd_core::forward::spec::{Kind, Listen, Target};
use sessd_proto::messages as m;
use std::rc::Rc;

impl Forwards {
    /// The ports that the job listens on are listened on here, where that can be.
    pub(super) fn look_at_ports(self: &Rc<Self>) {
        let listened: Vec<m::JobPort> =
            self.mux.borrow().told().map(|told| told.ports.clone()).unwrap_or_default();
        if self.auto.get().is_none() {
            return self.ports.borrow_mut().clear();
        }
        let port_of = |port: &m::JobPort| u16::try_from(port.port).unwrap_or(0);
        self.ports.borrow_mut().retain(|known, auto| {
            listened.iter().any(|port| port_of(port) == *known && port.address == auto.address)
        });
        for is in listened {
            let port = port_of(&is);
            let by_hand = self.forwards.borrow().values().any(|forward| {
                forward.spec.kind != Kind::Remote
                    && matches!(&forward.spec.listen, Listen::Port(_, p) if *p == port)
            });
            if by_hand || self.ports.borrow().contains_key(&port) {
                continue;
            }
            // One that listens on all its addresses listens on its own.
            let everywhere = matches!(is.address.as_str(), "0.0.0.0" | "::" | "127.0.0.1" | "::1");
            let host = match is.address.as_str() {
                "::1" => "::1",
                address if everywhere && address != "::" => "127.0.0.1",
                _ if everywhere => "localhost",
                address => address,
            };
            let listening = bind::listen(&Listen::Port(None, port));
            let target = Target::Port(host.to_owned(), port);
            let (task, failed) = match listening {
                Ok(listening) => (Some(self.accept(listening, Some(target))), None),
                Err(error) => (None, Some(error)),
            };
            let who = if is.program.is_empty() { "its job".to_owned() } else { is.program.clone() };
            let (title, body) = match &failed {
                None => (format!("port {port} is here"), format!("{who} listens: http://localhost:{port}")),
                Some(why) => {
                    let label =
                        self.context.upgrade().map(|context| context.label(self.session)).unwrap_or_default();
                    (
                        format!("port {port} is not forwarded"),
                        format!("{why}: `sessd forward {label} -L PORT:localhost:{port}` has it at another"),
                    )
                }
            };
            self.notice(title, body);
            self.ports
                .borrow_mut()
                .insert(port, Auto { program: is.program, address: is.address, task, failed });
        }
    }

    fn notice(&self, title: String, body: String) {
        let Some(context) = self.context.upgrade() else { return };
        let notice = m::Notice { kind: "forward".to_owned(), title, body, age_ms: 0 };
        context.notice(self.session, &notice);
    }
}

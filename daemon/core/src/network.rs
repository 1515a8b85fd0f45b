//! What Linux tells of a network that changes (rtnetlink(7)): which of it may have cut a link, or have made a way to a host.
//!
//! Containers come and go on a machine all day: addresses that are of use on their own cable only, and their routes, say
//! nothing about the way to anywhere else.

/// The groups to listen to (`RTMGRP_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`).
pub const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

const HEADER: usize = 16;
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;
/// `RT_SCOPE_LINK` and what is narrower.
const ONE_CABLE: u8 = 253;
/// `IFA_F_TENTATIVE`: of no use yet; it is told again when it is.
const TENTATIVE: u8 = 0x40;
const IPV6: u8 = 10;
const ADDRESS_BODY: usize = 8;
const ROUTE_BODY: usize = 12;
const MAIN_TABLE: u8 = 254;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
/// `RTM_F_CLONED`: a note of the kernel's about one destination.
const CLONED: u32 = 0x200;
/// `RTA_DST`.
const DESTINATION: u16 = 1;

/// May the way to a host be another, by these messages? What cannot be read may be anything.
pub fn may_matter(mut messages: &[u8]) -> bool {
    while !messages.is_empty() {
        let Some(length) = number(messages, 0).map(|length| length as usize) else { return true };
        if length < HEADER || length > messages.len() {
            return true;
        }
        let kind = u16::from_ne_bytes([messages[4], messages[5]]);
        let body = &messages[HEADER..length];
        if match kind {
            NEW_ADDRESS | DELETED_ADDRESS => address_matters(body),
            NEW_ROUTE | DELETED_ROUTE => route_matters(body),
            _ => false,
        } {
            return true;
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn address_matters(body: &[u8]) -> bool {
    let Some([_family, _prefix, flags, scope]) = body.get(..4) else { return true };
    body.len() >= ADDRESS_BODY && *scope < ONE_CABLE && flags & TENTATIVE == 0
}

fn route_matters(body: &[u8]) -> bool {
    let (Some([family, .., table, _protocol, _scope, kind]), Some(flags)) = (body.get(..8), number(body, 8))
    else {
        return true;
    };
    if *table != MAIN_TABLE || *kind != UNICAST || flags & CLONED != 0 {
        return false;
    }
    // fe80::/10 and ff00::/8.
    let destination = attribute(&body[ROUTE_BODY..], DESTINATION);
    let one_cable = destination.is_some_and(|to| to[0] == 0xff || (to[0] == 0xfe && to[1] & 0xc0 == 0x80));
    *family != IPV6 || !one_cable
}

/// The first bytes of an attribute, two of them at the least.
fn attribute(mut all: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes([*all.first()?, *all.get(1)?]));
        let kind = u16::from_ne_bytes([*all.get(2)?, *all.get(3)?]);
        if kind == wanted {
            return all.get(4..length).filter(|value| value.len() >= 2);
        }
        all = all.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut all = (u32::try_from(HEADER + body.len()).unwrap()).to_ne_bytes().to_vec();
        all.extend(kind.to_ne_bytes());
        all.extend([0; 10]);
        all.extend(body);
        all.resize(all.len().next_multiple_of(4), 0);
        all
    }

    fn address(family: u8, flags: u8, scope: u8) -> Vec<u8> {
        message(NEW_ADDRESS, &[family, 24, flags, scope, 2, 0, 0, 0])
    }

    fn route(family: u8, table: u8, kind: u8, flags: u32, to: &[u8]) -> Vec<u8> {
        let mut body = vec![family, 64, 0, 0, table, 2, 0, kind];
        body.extend(flags.to_ne_bytes());
        // An attribute of another kind goes first.
        body.extend([8, 0, 15, 0, 254, 0, 0, 0]);
        if !to.is_empty() {
            body.extend(u16::try_from(4 + to.len()).unwrap().to_ne_bytes());
            body.extend(DESTINATION.to_ne_bytes());
            body.extend(to);
        }
        message(NEW_ROUTE, &body)
    }

    #[test]
    fn what_leads_somewhere_matters_and_what_a_container_does_to_its_own_cable_does_not() {
        let (fe80, ff00, global) = ([[0xfe, 0x80], [0; 2]].concat(), [0xff, 0, 0, 0], [0x20, 1, 0xd, 0xb8]);
        for (what, bytes, matters) in [
            ("an address", address(2, 0, 0), true),
            ("of this machine only", address(2, 0, 254), false),
            ("link-local", address(IPV6, 0, 253), false),
            ("not yet of use", address(IPV6, TENTATIVE, 0), false),
            ("a default route", route(2, MAIN_TABLE, UNICAST, 0, &[]), true),
            ("a route to a network", route(IPV6, MAIN_TABLE, UNICAST, 0, &global), true),
            ("a network of ours that begins like that", route(2, MAIN_TABLE, UNICAST, 0, &fe80), true),
            ("link-local", route(IPV6, MAIN_TABLE, UNICAST, 0, &fe80), false),
            ("multicast", route(IPV6, MAIN_TABLE, UNICAST, 0, &ff00), false),
            ("local table", route(2, 255, 2, 0, &[10, 0, 0, 1]), false),
            ("cloned", route(IPV6, MAIN_TABLE, UNICAST, CLONED, &global), false),
            ("a link", message(16, &[0; 16]), false),
            ("nothing", Vec::new(), false),
            ("cut short", address(2, 0, 254)[..20].to_vec(), true),
            ("no length", vec![0; 16], true),
        ] {
            assert_eq!(may_matter(&bytes), matters, "{what}");
        }
        let both = [address(IPV6, 0, 253), address(2, 0, 0)].concat();
        assert!(may_matter(&both), "one of several");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_gone_through(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200)) {
            may_matter(&bytes);
        }
    }
}

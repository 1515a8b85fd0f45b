//! Channels: who is joined to whom, and who is turned away.

use super::*;
use crate::machine::channels::AGENT;
use sessd_proto::messages::ChannelFailure;

fn sync(world: &mut World, link: LinkId, instance: u64, channels: &[(u64, u64)]) {
    let channels =
        channels.iter().map(|(channel, received)| m::ChannelAt { channel: *channel, received: *received });
    let manager_id = manager(link.0 as u8);
    world.frame(
        link,
        Frame::ChannelSync(m::ChannelSync { manager_id, instance, channels: channels.collect() }),
    );
}

fn wants(world: &mut World, link: LinkId, listeners: &[m::Listener], agent: bool) {
    let listeners = listeners.to_vec();
    world.frame(link, Frame::Forwards(m::Forwards { listeners, agent, ports: false }));
}

fn open(world: &mut World, link: LinkId, channel: u64) {
    let open = m::ChannelOpen { channel, host: "db".into(), port: 5432, ..m::ChannelOpen::default() };
    world.frame(link, Frame::ChannelOpen(open));
}

fn socket(world: &mut World, id: u64, event: SocketEvent<'_>) {
    world.handle(Event::Socket(SocketId(id), event));
}

/// What was to be done, of that kind, and not looked at before.
fn done(world: &mut World, what: &str) -> Vec<String> {
    let (found, rest): (Vec<_>, Vec<_>) =
        std::mem::take(&mut world.done).into_iter().partition(|(_, word)| word.starts_with(what));
    world.done = rest;
    found.into_iter().map(|(_, word)| word).collect()
}

/// The number of the socket in an effect.
fn id_of(effect: &str) -> u64 {
    effect.split(['(', ')']).nth(2).unwrap().parse().unwrap()
}

fn world() -> World {
    let mut world = World::new(JobSpec { agent: true, ..JobSpec::default() });
    world.manager(ONE, 0);
    sync(&mut world, ONE, 1, &[]);
    world
}

#[test]
fn a_channel_is_joined_and_goes_on_over_another_path() {
    let mut world = world();
    open(&mut world, ONE, 2);
    let connect = done(&mut world, "Connect");
    assert!(connect[0].contains("Tcp(\"db\", 5432)"), "{connect:?}");
    let id = id_of(&connect[0]);
    world.frame(ONE, Frame::ChannelData { channel: 2, offset: 0, bytes: b"early" });
    assert_eq!(world.machine.socket_writes(SocketId(id)), b"", "not before it is there");
    socket(&mut world, id, SocketEvent::Connected(Ok(())));
    assert_eq!(world.machine.socket_writes(SocketId(id)), b"early");
    socket(&mut world, id, SocketEvent::Wrote(5));
    // The path goes; what is said meanwhile is kept, and comes over the next, from where that manager is.
    world.handle(Event::Closed(ONE));
    socket(&mut world, id, SocketEvent::Read(b"0123456789"));
    world.manager(TWO, 0);
    world.sent.clear();
    world.frame(
        TWO,
        Frame::ChannelSync(m::ChannelSync {
            manager_id: manager(1),
            instance: 1,
            channels: vec![m::ChannelAt { channel: 2, received: 0 }],
        }),
    );
    assert_eq!(done(&mut world, "HangUp"), [""; 0]);
    assert_eq!(world.said_to(TWO, "ChannelSync"), 1);
    assert_eq!(
        world.said_to(TWO, "ChannelData { channel: 2, offset: 0, bytes: [48, 49"),
        1,
        "{:?}",
        world.sent
    );
    // An older word of the path before means nothing, and another run of the manager knows none of it.
    sync(&mut world, TWO, 9, &[]);
    open(&mut world, TWO, 2);
    assert_eq!(done(&mut world, "HangUp"), [""; 0], "another manager's are its own");
    world.frame(
        TWO,
        Frame::ChannelSync(m::ChannelSync { manager_id: manager(1), instance: 7, channels: vec![] }),
    );
    assert_eq!(done(&mut world, "HangUp"), [format!("HangUp(SocketId({id}))")]);
}

#[test]
fn a_refused_channel_ends_alone_and_says_why() {
    let mut world = world();
    open(&mut world, ONE, 2);
    open(&mut world, ONE, 4);
    let ids: Vec<u64> = done(&mut world, "Connect").iter().map(|effect| id_of(effect)).collect();
    socket(&mut world, ids[0], SocketEvent::Connected(Err((ChannelFailure::Refused, "db: refused".into()))));
    socket(&mut world, ids[1], SocketEvent::Connected(Ok(())));
    assert_eq!(world.said_to(ONE, "ChannelClose"), 1);
    assert_eq!(world.said_to(ONE, "ChannelOpened(ChannelName { channel: 4 })"), 1);
    // One that breaks the rules of its channel loses that.
    world.frame(ONE, Frame::ChannelData { channel: 4, offset: 9, bytes: b"x" });
    assert_eq!(done(&mut world, "HangUp").len(), 2);
    assert_eq!(world.said_to(ONE, "close"), 0);
    for n in 0..200 {
        open(&mut world, ONE, 100 + 2 * n);
    }
    assert_eq!(done(&mut world, "Connect").len(), sessd_proto::limits::CHANNELS_MAX);
}

#[test]
fn whoever_connects_while_nobody_is_there_is_turned_away_at_once() {
    let mut world = world();
    let listener = m::Listener { id: 3, port: 9000, ..m::Listener::default() };
    wants(&mut world, ONE, &[listener], false);
    let listens = done(&mut world, "Listen");
    let number: u64 = listens[0].split(['(', ',']).nth(1).unwrap().parse().unwrap();
    world.handle(Event::Listening(number, Ok(9000)));
    assert_eq!(world.said_to(ONE, "Forwarded"), 3, "on a new path, of what is asked, of what came of it");
    socket(&mut world, 1, SocketEvent::Accepted(number));
    assert_eq!(world.said_to(ONE, "ChannelOpen(ChannelOpen { channel"), 1);
    // Nobody offers an ssh-agent.
    socket(&mut world, 3, SocketEvent::Accepted(AGENT));
    socket(&mut world, 3, SocketEvent::Read(b"a request"));
    assert_eq!(world.machine.socket_writes(SocketId(3)), [0, 0, 0, 1, 5]);
    socket(&mut world, 3, SocketEvent::Wrote(5));
    assert_eq!(done(&mut world, "HangUp"), [""; 0], "whoever asks may ask once more");
    socket(&mut world, 3, SocketEvent::Read(b""));
    assert_eq!(done(&mut world, "HangUp"), ["HangUp(SocketId(3))"]);
    let listener = m::Listener { id: 3, port: 9000, ..m::Listener::default() };
    wants(&mut world, ONE, &[listener], true);
    assert_eq!(done(&mut world, "Listen"), [""; 0], "what is listened on already stays");
    socket(&mut world, 5, SocketEvent::Accepted(AGENT));
    assert_eq!(world.said_to(ONE, "ChannelOpen(ChannelOpen { channel"), 2);
    // No answer comes: it is not waited for.
    socket(&mut world, 5, SocketEvent::Read(b"a request"));
    world.pass(3_000);
    assert_eq!(world.said_to(ONE, "ChannelClose"), 1);
    assert_eq!(world.machine.socket_writes(SocketId(5)), [0, 0, 0, 1, 5]);
    world.pass(3_000);
    assert_eq!(done(&mut world, "HangUp"), ["HangUp(SocketId(5))"]);
    socket(&mut world, 7, SocketEvent::Accepted(AGENT));
    socket(&mut world, 7, SocketEvent::Read(b"a request"));
    world.handle(Event::Closed(ONE));
    assert_eq!(world.machine.socket_writes(SocketId(7)), [0, 0, 0, 1, 5], "nor is another path");
    socket(&mut world, 9, SocketEvent::Accepted(number));
    assert_eq!(done(&mut world, "HangUp"), ["HangUp(SocketId(9))"]);
    // The next manager takes the port of one that is away.
    world.manager(TWO, 0);
    sync(&mut world, TWO, 1, &[]);
    let listener = m::Listener { id: 8, port: 9000, ..m::Listener::default() };
    wants(&mut world, TWO, &[listener], false);
    assert_eq!(done(&mut world, "Unlisten"), [format!("Unlisten({number})")]);
    world.exits(0);
    assert_eq!(done(&mut world, "Unlisten").len(), 2, "and all goes with the job");
}

#[test]
fn the_ssh_agent_is_that_of_who_came_last_or_types() {
    let mut world = world();
    world.manager(TWO, 1);
    sync(&mut world, TWO, 1, &[]);
    wants(&mut world, ONE, &[], true);
    wants(&mut world, TWO, &[], true);
    world.sent.clear();
    socket(&mut world, 1, SocketEvent::Accepted(AGENT));
    assert_eq!((world.said_to(ONE, "ChannelOpen"), world.said_to(TWO, "ChannelOpen")), (0, 1));
    world.presence(ONE, 1);
    world.type_(ONE, 0, b"git push\r");
    socket(&mut world, 3, SocketEvent::Accepted(AGENT));
    assert_eq!(world.said_to(ONE, "ChannelOpen"), 1);
}

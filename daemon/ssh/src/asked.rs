//! Logins that ask: passphrases, passwords, keyboard-interactive, the key of a new host; by whoever is there, or nobody.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::russh::{
    Channel, ChannelId, MethodKind, MethodSet,
    keys::PrivateKey,
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, Response, Session},
};
use zeroize::Zeroizing;

use super::{testbed::*, *};

/// A person who gives these answers, one after the other, and then would not answer; keeps what was asked.
#[derive(Default)]
struct Scripted {
    answers: Mutex<Vec<&'static str>>,
    asked: Mutex<Vec<Question>>,
    /// Never answers at all.
    sits: bool,
}

impl Scripted {
    fn new(answers: &[&'static str]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().rev().copied().collect());
        Arc::new(Self { answers, ..Self::default() })
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

impl Prompter for Scripted {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        self.asked.lock().unwrap().push(question);
        let next = self.answers.lock().unwrap().pop();
        Box::pin(async move {
            if self.sits {
                std::future::pending::<()>().await;
            }
            next.map_or(Answer::Declined, |text| Answer::Given(Zeroizing::new(text.to_owned())))
        })
    }

    fn is_there(&self) -> bool {
        true
    }
}

async fn by(world: &World, alias: &str, person: &Arc<Scripted>) -> HostConfig {
    let mut host = world.resolve(alias).await;
    host.environment.person = Some(person.clone());
    host
}

async fn log_in(world: &World, alias: &str, person: &Arc<Scripted>) -> Result<String, Failure> {
    once(&RusshTransport, &by(world, alias, person).await, "echo ok").await.map(|(out, _)| out)
}

#[tokio::test]
async fn keys_in_every_format_are_opened_by_their_passphrase() {
    let (mut world, sshd) = World::with_box("");
    for (n, args) in [
        vec!["-t", "ed25519"],
        vec!["-t", "ecdsa"],
        vec!["-t", "rsa", "-b", "2048"],
        vec!["-t", "rsa", "-b", "2048", "-m", "PEM"],
        vec!["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        vec!["-t", "ecdsa", "-m", "PKCS8"],
    ]
    .into_iter()
    .enumerate()
    {
        for beside in [true, false] {
            let name = format!("locked{n}{beside}");
            world.keygen(&name, &[args.as_slice(), &["-N", "a secret"]].concat());
            std::fs::write(world.path("authorized"), world.public(&name)).unwrap();
            if !beside {
                // Nothing but the private half says what its public one is.
                std::fs::remove_file(world.path(&format!("{name}.pub"))).unwrap();
            }
            world.host(&name, sshd.port, &format!("  IdentityFile {}", world.show(&name)));
            let person = Scripted::new(&["wrong", "a secret"]);
            let mut host = by(&world, &name, &person).await;
            host.identity_files.truncate(1);
            let (out, _) = once(&RusshTransport, &host, "echo ok")
                .await
                .unwrap_or_else(|e| panic!("{args:?} {beside}: {e}"));
            assert_eq!(out, "ok\n", "{args:?} {beside}");
            let asked = person.asked();
            assert_eq!(asked.len(), 2, "{args:?} {beside}");
            assert!(asked[0].prompt.contains(&world.show(&name)) && !asked[0].echo);
            assert_eq!((asked[0].text.as_str(), asked[1].text.as_str()), ("", "Bad passphrase, try again."));
            // With nobody there, the key is named, and nobody is asked.
            let mut host = world.resolve(&name).await;
            host.identity_files.truncate(1);
            let e = once(&RusshTransport, &host, "true").await.unwrap_err();
            let said = e.to_string();
            assert!(
                matches!(e, Failure::NeedsLogin { .. }) && said.contains("needs its passphrase"),
                "{args:?}: {e}"
            );
        }
    }
}

/// As ssh: only a key that the host would take is worth a passphrase.
#[tokio::test]
async fn a_passphrase_is_asked_for_only_where_the_host_wants_the_key() {
    let (mut world, sshd) = World::with_box("");
    world.keygen("locked", &["-t", "ed25519", "-N", "a secret"]);
    world.host("box", sshd.port, "");
    world.host("both", sshd.port, &format!("  IdentityFile {}", world.show("locked")));
    let person = Scripted::new(&[]);
    assert_eq!(log_in(&world, "both", &person).await.unwrap(), "ok\n");
    assert_eq!(person.asked(), []);
}

#[tokio::test]
async fn the_key_of_a_new_host_is_asked_about_and_noted() {
    let (world, sshd) = World::with_box("");
    let forget = || std::fs::write(world.path("known_hosts"), "").unwrap();
    let print = world.print_of("hostkey-box");
    forget();
    let person = Scripted::new(&["what?", "no"]);
    let e = log_in(&world, "box", &person).await.unwrap_err();
    assert!(matches!(e, Failure::HostKey { kind: HostKeyProblem::Unknown, .. }), "{e}");
    let asked = person.asked();
    assert!(asked[0].text.contains(&print) && asked[0].text.contains(&format!("[127.0.0.1]:{}", sshd.port)));
    assert!(asked[0].prompt.contains("(yes/no/[fingerprint])") && asked[0].echo);
    assert!(asked[1].prompt.contains("type 'yes', 'no' or the fingerprint"));
    assert_eq!(world.known(), "");
    for answer in ["yes", Box::leak(print.clone().into_boxed_str())] {
        forget();
        let person = Scripted::new(&[answer]);
        assert_eq!(log_in(&world, "box", &person).await.unwrap(), "ok\n");
        assert!(world.known().contains(&world.public("hostkey-box")));
        // Known from now on.
        assert_eq!(log_in(&world, "box", &Scripted::new(&[])).await.unwrap(), "ok\n");
    }
    // Where the config asks nobody, nobody is asked.
    forget();
    let mut host = by(&world, "box", &person).await;
    let before = person.asked().len();
    host.strictness = config::Strictness::Yes;
    assert!(once(&RusshTransport, &host, "true").await.is_err());
    (host.strictness, host.policy.asks) = (config::Strictness::Ask, false);
    assert!(once(&RusshTransport, &host, "true").await.is_err());
    assert_eq!(person.asked().len(), before);
}

/// A host that hangs up over an open question is a person's matter: by itself it would ask again and again.
#[tokio::test]
async fn a_question_that_is_left_open_is_not_asked_again_by_itself() {
    let mut world = World::new();
    world.keygen("locked", &["-t", "ed25519", "-N", "a secret"]);
    std::fs::copy(world.path("locked.pub"), world.path("authorized")).unwrap();
    let sshd = world.sshd("box", "LoginGraceTime 1");
    world.trust(&sshd, "hostkey-box");
    world.host("box", sshd.port, &format!("  IdentityFile {}", world.show("locked")));
    let person = Arc::new(Scripted { sits: true, ..Scripted::default() });
    let e = log_in(&world, "box", &person).await.unwrap_err();
    assert!(
        matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("before its question")),
        "{e}"
    );
    assert_eq!(person.asked().len(), 1);
    // Nor is one that was declined.
    let sshd = world.sshd("other", "");
    world.trust(&sshd, "hostkey-other");
    world.host("other", sshd.port, &format!("  IdentityFile {}", world.show("locked")));
    let person = Scripted::new(&[]);
    let e = log_in(&world, "other", &person).await.unwrap_err();
    assert!(matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("not answered")), "{e}");
}

/// What a server of ours wants, one after the other, and how often it was tried.
#[derive(Clone)]
struct Wants {
    steps: Arc<Mutex<Vec<MethodKind>>>,
    tries: Arc<AtomicUsize>,
}

impl Wants {
    fn now(&self) -> MethodSet {
        MethodSet::from(self.steps.lock().unwrap().first().copied().as_slice())
    }

    /// A step was done: in, or on to the next.
    fn done(&self) -> Auth {
        self.steps.lock().unwrap().remove(0);
        let left = self.now();
        if left.is_empty() {
            return Auth::Accept;
        }
        Auth::Reject { proceed_with_methods: Some(left), partial_success: true }
    }

    fn no(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.now()), partial_success: false }
    }
}

impl Handler for Wants {
    type Error = ::russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        Ok(self.no())
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        Ok(if password == "pässword" { self.done() } else { self.no() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let Some(response) = response else {
            return Ok(Auth::Partial {
                name: "Two things\u{1b}[2J".into(),
                instructions: "say both".into(),
                prompts: vec![("Code:".into(), true), ("PIN\u{7}:".into(), false)].into(),
            });
        };
        let said: Vec<Vec<u8>> = response.map(|bytes| bytes.to_vec()).collect();
        Ok(if said == [b"123".to_vec(), b"".to_vec()] { self.done() } else { self.no() })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        session.data(channel, b"ok\n".to_vec())?;
        session.exit_status_request(channel, 0)?;
        session.eof(channel)?;
        session.close(channel)?;
        Ok(())
    }
}

/// A server that wants these ways to log in, one after the other.
async fn server_that_wants(
    world: &mut World,
    alias: &str,
    steps: &[MethodKind],
    extra: &str,
) -> Arc<AtomicUsize> {
    let key = format!("hostkey-{alias}");
    world.keygen(&key, &["-t", "ed25519", "-N", ""]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world.host(alias, port, extra);
    world.note(&format!("[127.0.0.1]:{port} {}", world.public(&key)));
    let key = PrivateKey::from_openssh(std::fs::read(world.path(&key)).unwrap()).unwrap();
    let config = Arc::new(server::Config {
        keys: vec![key],
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        ..server::Config::default()
    });
    let tries = Arc::new(AtomicUsize::new(0));
    let (steps, counted) = (steps.to_vec(), tries.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let wants = Wants { steps: Arc::new(Mutex::new(steps.clone())), tries: counted.clone() };
            let config = config.clone();
            tokio::spawn(async move {
                if let Ok(session) = server::run_stream(config, stream, wants).await {
                    session.await.ok();
                }
            });
        }
    });
    tries
}

#[tokio::test]
async fn a_password_is_asked_for_a_few_times_and_never_without_a_person() {
    let mut world = World::new();
    let tries =
        server_that_wants(&mut world, "box", &[MethodKind::Password], "  NumberOfPasswordPrompts 2").await;
    let person = Scripted::new(&["wrong", "pässword"]);
    assert_eq!(log_in(&world, "box", &person).await.unwrap(), "ok\n");
    let asked = person.asked();
    assert_eq!(asked[0].prompt, format!("{}@127.0.0.1's password: ", world.user));
    assert!(!asked[0].echo && asked[1].text == "Permission denied, please try again.");
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    let person = Scripted::new(&["wrong", "wrong", "pässword"]);
    let e = log_in(&world, "box", &person).await.unwrap_err();
    assert!(
        matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("refused the password")),
        "{e}"
    );
    assert_eq!((person.asked().len(), tries.load(Ordering::Relaxed)), (2, 4));
    let e = once(&RusshTransport, &world.resolve("box").await, "true").await.unwrap_err();
    assert!(
        matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("accepts only password")),
        "{e}"
    );
    assert_eq!(tries.load(Ordering::Relaxed), 4, "no try is wasted that could lock the user out");
}

#[tokio::test]
async fn several_questions_and_several_ways_are_gone_through_in_turn() {
    let mut world = World::new();
    let both = [MethodKind::KeyboardInteractive, MethodKind::Password];
    server_that_wants(&mut world, "box", &both, "").await;
    let person = Scripted::new(&["123", "", "pässword"]);
    assert_eq!(log_in(&world, "box", &person).await.unwrap(), "ok\n");
    let asked = person.asked();
    assert_eq!(asked[0].text, "Two things[2J\nsay both");
    assert!(asked[0].prompt.ends_with(") Code: ") && asked[0].echo, "{asked:?}");
    assert!(asked[1].prompt.ends_with(") PIN: ") && !asked[1].echo && asked[1].text.is_empty());
    assert!(asked[2].prompt.ends_with("'s password: "));
    // Not the way that the config wants not.
    let mut host = by(&world, "box", &Scripted::new(&["123", ""])).await;
    host.policy.methods.retain(|method| method != "password");
    let e = once(&RusshTransport, &host, "true").await.unwrap_err().to_string();
    assert!(e.contains("it also wants password"), "{e}");
}

/// As ssh: with another key on file than the host shows, no password goes there, whatever the config says of keys.
#[tokio::test]
async fn a_host_whose_key_has_changed_gets_no_password() {
    let mut world = World::new();
    let tries =
        server_that_wants(&mut world, "box", &[MethodKind::Password], "  StrictHostKeyChecking no").await;
    let known = world.known().replace(&world.public("hostkey-box"), &world.public("stranger"));
    std::fs::write(world.path("known_hosts"), known).unwrap();
    let person = Scripted::new(&["pässword"]);
    let e = log_in(&world, "box", &person).await.unwrap_err();
    assert!(
        matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("no password is sent")),
        "{e}"
    );
    assert_eq!((person.asked().len(), tries.load(Ordering::Relaxed)), (0, 0));
}

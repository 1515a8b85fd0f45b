//! Logins that ask a person: a password, what PAM asks, a passphrase, the key of a new host; over our own connection and
//! over the system's ssh. Asked once, of whoever is there, in the view or the command that wants the host; and of nobody
//! where nobody is.

use std::fs;
use std::process::Command;

use sessd_tests::user::SECRET;
use sessd_tests::{LATER, SOON, SshConfig, Sshd, User, View, World, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";
const TRANSPORTS: [&str; 2] = ["russh", "openssh"];

/// A host that asks for a password, or whatever else its PAM asks, and the user whom it lets in.
fn asking(world: &mut World, transport: &str, method: &str) -> Option<(Sshd, User)> {
    let user = User::new("/bin/sh")?;
    let environment = format!("SetEnv HOME={home} SESSD_FALLBACK_DIR={home}", home = user.home().display());
    let options =
        ["UsePAM yes", "PasswordAuthentication yes", "KbdInteractiveAuthentication yes", &environment];
    let host = Sshd::start_with(world, "h1", &options);
    let name = format!("User {}", user.name());
    let preferred = format!("PreferredAuthentications {method}");
    SshConfig::new(world).host_at_first("box", &host, &[&name, &preferred]);
    by(world, transport);
    Some((host, user))
}

fn by(world: &World, transport: &str) {
    let text = format!("[hosts.box]\ntransport = \"{transport}\"\n");
    fs::write(world.config(), text).expect("the configuration");
}

fn answer(view: &View, question: &str, text: &str) {
    view.wait_text(question, SOON);
    view.type_(format!("{text}\r"));
}

fn said(view: &View) -> String {
    String::from_utf8_lossy(&view.raw()).into_owned()
}

#[test]
fn a_password_is_asked_for_once_however_many_wait_and_nowhere_kept() {
    for transport in TRANSPORTS {
        let mut world = World::new();
        let Some((host, _user)) = asking(&mut world, transport, "password") else {
            return println!("no user can be made here: not run");
        };
        let first =
            world.view(&["create", "--name", "one", "--host", "box", "--attach", "--", "sh", "-c", ANSWER]);
        first.wait_text("password:", SOON);
        // Two more want the host meanwhile, from where nobody could answer.
        let waiting: Vec<_> = ["two", "three"]
            .map(|name| {
                let mut command =
                    world.command(&["create", "--name", name, "--host", "box", "--", "sh", "-c", ANSWER]);
                command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
                command.spawn().expect("sessd starts")
            })
            .into();
        answer(&first, "password:", SECRET);
        first.wait_text("ready", LATER);
        for mut child in waiting {
            assert!(child.wait().expect("our child").success(), "{transport}\n{}", world.log_tail());
        }
        assert_eq!(said(&first).matches("password:").count(), 1, "{transport}: asked once");
        assert!(!said(&first).contains(SECRET), "{transport}: shown");
        let log = fs::read_to_string(world.log()).expect("the manager's log");
        assert!(!log.contains(SECRET), "{transport}: in the log");
        if transport == "russh" {
            assert_eq!(host.accepted("password"), 1);
        }
        world.ok(&["delete", "--all", "--force"]);
    }
}

#[test]
fn what_pam_asks_is_answered_by_host_connect_and_without_a_person_nobody_is_asked() {
    for transport in TRANSPORTS {
        let mut world = World::new();
        let Some((host, _user)) = asking(&mut world, transport, "keyboard-interactive") else {
            return println!("no user can be made here: not run");
        };
        let line = world.fails(&["create", "--name", "dev", "--host", "box", "--", "sh", "-c", ANSWER], 6);
        assert!(line.contains("sessd host connect box"), "{transport}: {line}");
        assert_eq!(host.accepted("keyboard-interactive"), 0);
        let mut person = world.view(&["host", "connect", "box"]);
        answer(&person, "Password:", "a wrong one");
        until("the question again", LATER, || {
            (said(&person).matches("Password:").count() >= 2).then_some(())
        });
        person.type_(format!("{SECRET}\r"));
        assert_eq!(person.wait_exit(LATER), 0, "{transport}\n{}", person.describe());
        // The link is there: nothing is asked of anybody.
        world.create_on("box", "dev", ANSWER);
        world.wait_state("dev", "running", SOON);
        world.ok(&["delete", "--all", "--force"]);
    }
}

#[test]
fn a_passphrase_and_the_key_of_a_new_host_are_asked_for_in_turn() {
    for transport in TRANSPORTS {
        let mut world = World::new();
        let host = Sshd::start_in(&world, "h1");
        let key = host.user_key();
        let changed =
            Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", SECRET, "-f"]).arg(&key).output();
        assert!(changed.is_ok_and(|out| out.status.success()), "ssh-keygen");
        let mut config = SshConfig::new(&mut world);
        config.stranger_at("box", &host, host.addr(), &[]);
        by(&world, transport);
        let mut person = world.view(&["host", "connect", "box"]);
        person.wait_text("(yes/no/[fingerprint])", SOON);
        assert!(said(&person).contains(&host.fingerprint()), "{transport}\n{}", person.describe());
        person.type_("yes\r");
        answer(&person, "assphrase", SECRET);
        assert_eq!(person.wait_exit(LATER), 0, "{transport}\n{}", person.describe());
        let known = fs::read_to_string(config.known_hosts()).expect("the known hosts");
        assert!(known.contains(host.host_key()), "{transport}: {known}");
        assert!(!said(&person).contains(SECRET), "{transport}: shown");
        world.create_on("box", "dev", ANSWER);
        // Who would be asked again has no second link dialled beside the first, and no third after a cut.
        let logins = host.logins();
        world.ok(&["delete", "--all", "--force"]);
        assert_eq!(host.logins(), logins);
    }
}

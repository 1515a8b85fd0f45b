//! The agent's start.

use super::*;

/// Starts the stand-in and talks to it: what it said first, and whether it was uploaded.
async fn start(conn: &mut dyn Connection, image: AgentImage) -> Result<(String, bool), Failure> {
    let channel = start_agent(conn, &[image], &StartOptions::default()).await?;
    let uploaded = channel.uploaded;
    let (mut reader, mut writer) = channel.stream.into_parts();
    let mut first = String::new();
    reader.read_line(&mut first).await.unwrap();
    writer.write_all(b"ping\n").await.unwrap();
    let mut echo = String::new();
    reader.read_line(&mut echo).await.unwrap();
    assert_eq!(echo, "ping\n");
    writer.shutdown().await.unwrap();
    assert_eq!(reader.exit().await, Exit::Code(0));
    Ok((first.trim().to_owned(), uploaded))
}

#[tokio::test]
async fn the_agent_is_installed_once_over_one_session_at_a_time() {
    let (world, _sshd) = World::with_box("MaxSessions 1\nAllowTcpForwarding no");
    let host = world.resolve("box").await;
    let image = stand_in("");
    let folder = world.path("home/.local/state/sessd-agent");
    let expected = format!("agent {}", folder.display());
    for (name, transport) in transports() {
        let mut conn = transport.dial(&host).await.unwrap();
        std::fs::remove_dir_all(world.path("home/.local")).ok();
        assert_eq!(start(&mut *conn, image).await.unwrap(), (expected.clone(), true), "{name}");
        assert_eq!(start(&mut *conn, image).await.unwrap(), (expected.clone(), false), "{name}");
        let names: Vec<_> =
            std::fs::read_dir(folder.join("bin")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [format!("sessd-agent-{}", &image.hash[..16]).as_str()], "{name}");
        assert_eq!(mode(&folder.join("bin").join(&names[0])), 0o700, "{name}");
        assert_eq!(mode(&folder), 0o700, "{name}");
    }
}

#[tokio::test]
async fn noisy_start_files_do_not_matter() {
    let (world, _sshd) = World::with_box("");
    let noise = "x".repeat(10_000);
    std::fs::write(
        world.path("home/.bashrc"),
        format!("echo {noise}; echo {noise} >&2; printf 'no newline at the end'; set -v; umask 022\n"),
    )
    .unwrap();
    let host = world.resolve("box").await;
    let image = stand_in("noisy");
    for (name, transport) in transports() {
        std::fs::remove_dir_all(world.path("home/.local")).ok();
        let mut conn = transport.dial(&host).await.unwrap();
        for uploaded in [true, false] {
            assert_eq!(start(&mut *conn, image).await.unwrap().1, uploaded, "{name}");
        }
    }
    // A start file that ends the shell is named, not waited for.
    std::fs::write(world.path("home/.bashrc"), "echo go away >&2; exit 3\n").unwrap();
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    let e = start(&mut *conn, image).await.unwrap_err();
    assert!(
        matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("code 3") && detail.contains("go away")),
        "{e}"
    );
    // What prints a book before it lets commands run is read to its end, as ssh does.
    std::fs::write(world.path("home/.bashrc"), "yes noise | head -c 1500000\n").unwrap();
    for (name, transport) in transports() {
        let mut conn = transport.dial(&host).await.unwrap();
        assert!(start(&mut *conn, image).await.is_ok(), "{name}");
    }
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    // One that never ends printing is cut.
    std::fs::write(world.path("home/.bashrc"), "yes noise\n").unwrap();
    let e = start(&mut *conn, image).await.unwrap_err();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("16 MB")), "{e}");
}

#[tokio::test]
async fn every_login_shell_starts_the_agent() {
    let shells = ["bash", "dash", "zsh", "fish", "tcsh", "sh"];
    let present: Vec<&str> = shells
        .into_iter()
        .filter(|s| std::process::Command::new(s).args(["-c", "exit 0"]).status().is_ok_and(|s| s.success()))
        .collect();
    assert!(present.contains(&"fish") && present.contains(&"tcsh"), "fish or tcsh is missing: install both");
    for shell in present {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".config/fish")).unwrap();
        std::fs::write(home.path().join(".config/fish/config.fish"), "echo fishy; echo oops >&2\n").unwrap();
        std::fs::write(home.path().join(".cshrc"), "echo seashell\n").unwrap();
        std::fs::write(home.path().join(".zshenv"), "echo zzz\n").unwrap();
        let mut conn = Shell::new(shell, home.path());
        let image = stand_in(shell);
        let expected = format!("agent {}/.local/state/sessd-agent", home.path().display());
        assert_eq!(start(&mut conn, image).await.unwrap(), (expected.clone(), true), "{shell}");
        assert_eq!(conn.execs, 2, "{shell}: what was uploaded runs at once");
        assert_eq!(start(&mut conn, image).await.unwrap(), (expected, false), "{shell}");
        assert_eq!(conn.execs, 3, "{shell}: the warm path is one exec");
    }
}

#[tokio::test]
async fn a_restricted_login_shell_starts_the_agent() {
    let home = tempfile::tempdir().unwrap();
    let mut conn = Shell::new("rbash", home.path());
    let image = stand_in("restricted");
    for uploaded in [true, false] {
        assert_eq!(start(&mut conn, image).await.unwrap().1, uploaded);
    }
}

#[tokio::test]
async fn what_runs_in_place_of_our_command_is_said_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for (runs, wanted) in [
        ("echo go away", "ForceCommand"),
        ("echo This account is currently not available.; exit 1", "ask whoever runs the host"),
        ("echo This service allows sftp connections only.; exit 1", "ask whoever runs the host"),
        ("echo Password change required but no TTY available. >&2; exit 1", "log in once with `ssh bash`"),
        ("exit 1", "ForceCommand"),
        ("echo fork: retry: Resource temporarily unavailable >&2; exit 254", "short of something"),
    ] {
        let mut conn = Shell { within: vec!["sh", "-c", runs], ..Shell::new("bash", home.path()) };
        let e = start(&mut conn, stand_in("instead")).await.unwrap_err();
        let Failure::AgentInstall { hint, mends, .. } = &e else { panic!("{runs}: {e}") };
        assert!(hint.contains(wanted), "{runs}: {e}");
        let wants = match wanted {
            "short of something" => Mends::Time,
            "log in once with `ssh bash`" => Mends::Login,
            _ => Mends::Person,
        };
        assert_eq!(*mends, wants, "{runs}: {e}");
        assert_eq!(conn.execs, 1, "{runs}");
    }
}

/// A bash whose start file has these lines.
fn with_start_file(home: &std::path::Path, lines: &str) -> Shell {
    let file = home.join("start");
    std::fs::write(&file, lines).unwrap();
    let mut conn = Shell::new("bash", home);
    conn.variables.push(("BASH_ENV", file));
    conn
}

#[tokio::test]
async fn an_alias_of_exec_in_a_start_file_does_not_matter() {
    let home = tempfile::tempdir().unwrap();
    let mut conn =
        with_start_file(home.path(), "shopt -s expand_aliases; alias exec='echo no'; alias sh=false\n");
    for uploaded in [true, false] {
        assert_eq!(start(&mut conn, stand_in("alias")).await.unwrap().1, uploaded);
    }
    let mut conn = with_start_file(home.path(), "echo \"$BASH_EXECUTION_STRING\"; exit\n");
    let e = start(&mut conn, stand_in("alias")).await.unwrap_err().to_string();
    assert!(e.contains("prints our command") && !e.contains("mkdir"), "{e}");
}

#[tokio::test]
async fn a_start_file_that_waits_for_a_line_gets_one_and_what_reads_on_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut conn = with_start_file(home.path(), "echo 'press a key'; read x; read y; echo \"<$x$y>\"\n");
    for uploaded in [true, false] {
        assert_eq!(start(&mut conn, stand_in("reads")).await.unwrap().1, uploaded);
    }
    for (lines, wanted) in
        [("cat >/dev/null\n", "wait for input"), ("exec sh\n", "code 0"), ("sleep 2\n", "")]
    {
        let mut conn = with_start_file(home.path(), lines);
        conn.execs = 0;
        match start(&mut conn, stand_in("reads")).await {
            Ok(_) => assert_eq!(wanted, "", "{lines}"),
            Err(e) => assert!(!wanted.is_empty() && e.to_string().contains(wanted), "{lines}: {e}"),
        }
    }
}

#[tokio::test]
async fn a_start_file_that_takes_the_input_away_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut conn = with_start_file(home.path(), "exec </dev/null\n");
    let e = start(&mut conn, stand_in("no input")).await.unwrap_err();
    assert!(matches!(&e, Failure::AgentInstall { hint, .. } if hint.contains("redirection")), "{e}");
}

#[tokio::test]
async fn a_damaged_upload_is_never_run() {
    let home = tempfile::tempdir().unwrap();
    let good = stand_in("good");
    let bad = AgentImage { bytes: stand_in("evil").bytes, ..good };
    let mut conn = Shell::new("sh", home.path());
    let options = StartOptions { agent_dir: Some("~/agent".to_owned()) };
    let e = start_agent(&mut conn, &[bad], &options).await.err().unwrap();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("damaged")), "{e}");
    assert_eq!(std::fs::read_dir(home.path().join("agent/bin")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unusable_home_falls_back_and_foreign_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = stand_in("");
    // A home that is none, a state folder that works.
    let mut conn = Shell::new("sh", std::path::Path::new("/dev/null/home"));
    conn.variables.push(("XDG_STATE_HOME", folder.path().join("state")));
    let (first, uploaded) = start(&mut conn, image).await.unwrap();
    assert_eq!((first, uploaded), (format!("agent {}/state/sessd-agent", folder.path().display()), true));
    assert!(!start(&mut conn, image).await.unwrap().1);

    // A folder in a shared place that is not private to us is neither used nor run from, even with the agent in it.
    let runtime = folder.path().join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    std::os::unix::fs::symlink(folder.path().join("state/sessd-agent"), runtime.join("sessd-agent")).unwrap();
    let mut conn = Shell::new("sh", std::path::Path::new("/dev/null/home"));
    conn.variables.push(("XDG_RUNTIME_DIR", runtime));
    let scripts = conn.exec(&bootstrap::probe_for_test(3)).await.unwrap();
    let (mut reader, _writer) = scripts.into_parts();
    let mut out = String::new();
    reader.read_to_string(&mut out).await.unwrap();
    assert!(out.contains(" .3f"), "{out}");
}

#[tokio::test]
async fn an_agent_dir_that_others_can_write_to_is_neither_used_nor_run_from() {
    let folder = tempfile::tempdir().unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let (shared, image) = (folder.path().join("shared"), stand_in(""));
    let agent = shared.join("agent");
    std::fs::create_dir_all(agent.join("bin")).unwrap();
    let program = agent.join("bin").join(format!("sessd-agent-{}", &image.hash[..16]));
    // A program under the agent's name that is not the agent.
    std::fs::write(&program, "#!/bin/sh\necho evil; exec cat\n").unwrap();
    set(&program, 0o755);
    let options = StartOptions { agent_dir: Some(agent.display().to_string()) };
    for (path, mode, named) in [
        (&shared, 0o777, Some(&shared)),
        (&shared, 0o775, Some(&shared)),
        (&agent, 0o1777, Some(&agent)),
        (&program, 0o777, None),
    ] {
        set(path, mode);
        let mut conn = Shell::new("sh", folder.path());
        let result = start_agent(&mut conn, &[image], &options).await;
        match named {
            Some(named) => {
                let e = result.err().unwrap().to_string();
                assert!(e.contains("can be written by others"), "{mode:o}: {e}");
                assert!(e.contains(&format!("({}:", named.display())), "{mode:o}: {e}");
                set(path, 0o755);
            }
            // The folder is safe, and what lay in it is replaced.
            None => assert!(result.unwrap().uploaded),
        }
    }
    // A folder for everybody with the sticky bit is no danger to what is ours in it.
    set(&shared, 0o1777);
    let mut conn = Shell::new("sh", folder.path());
    assert!(!start_agent(&mut conn, &[image], &options).await.unwrap().uploaded);
}

#[tokio::test]
async fn a_login_without_tools_in_its_path_starts_the_agent_and_keeps_its_path() {
    let home = tempfile::tempdir().unwrap();
    let text = "#!/bin/sh\ncase $1 in version) ;; serve) echo \"agent $PATH\";; esac\n";
    let image = AgentImage { bytes: text.as_bytes(), ..stand_in("") };
    std::fs::write(home.path().join("image"), text).unwrap();
    let hash = run("sha256sum", &[&home.path().join("image").display().to_string()]);
    let image = AgentImage { hash: hash[..64].to_owned().leak(), ..image };
    let mut conn = Shell::new("/bin/sh", home.path());
    conn.variables.push(("PATH", "/nowhere".into()));
    let channel = start_agent(&mut conn, &[image], &StartOptions::default()).await.unwrap();
    let (mut reader, _writer) = channel.stream.into_parts();
    let mut first = String::new();
    reader.read_line(&mut first).await.unwrap();
    assert_eq!(first, "agent /nowhere\n");
}

#[tokio::test]
async fn this_machine_has_the_folders_of_any_host_and_repairs_a_damaged_program() {
    let home = tempfile::tempdir().unwrap();
    let image = stand_in("here");
    let options = StartOptions { agent_dir: Some("~/mine".to_owned()) };
    let mut here = Here::new(home.path());
    assert!(start_agent(&mut here, &[image], &options).await.unwrap().uploaded);
    let program = home.path().join("mine/bin").join(format!("sessd-agent-{}", &image.hash[..16]));
    let whole = std::fs::read(&program).unwrap();
    // It may still run, and its file cannot be written to.
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, vec![b'#'; whole.len()]).unwrap();
    here.remove_damaged(&image, &options);
    assert!(start_agent(&mut here, &[image], &options).await.unwrap().uploaded);
    assert_eq!(std::fs::read(&program).unwrap(), whole);
    here.remove_damaged(&image, &options);
    assert!(!start_agent(&mut here, &[image], &options).await.unwrap().uploaded, "a whole one stays");
}

#[tokio::test]
#[ignore = "mounts file systems in a namespace of its own, which not every machine allows"]
async fn noexec_read_only_and_full_homes_fall_back_and_are_named() {
    for (options, words) in [("size=1m,noexec", "noexec"), ("ro", "cannot be made"), ("size=16k", "is full")]
    {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let image = stand_in(&"x".repeat(100_000));
        let mut conn = Shell::new("sh", &home);
        let mount = format!("mount -t tmpfs -o {options} none $HOME && exec \"$0\" \"$@\"");
        conn.within = vec!["unshare", "-rm", "sh", "-c", mount.leak()];
        conn.variables.push(("XDG_STATE_HOME", folder.path().join("state")));
        let (first, uploaded) = start(&mut conn, image).await.unwrap();
        assert_eq!(
            (first, uploaded),
            (format!("agent {}/state/sessd-agent", folder.path().display()), true),
            "{options}"
        );
        // With no other folder to go to, the reason is named.
        let only = StartOptions { agent_dir: Some("~/agent".to_owned()) };
        let e = start_agent(&mut conn, &[image], &only).await.err().unwrap();
        assert!(
            matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains(words)),
            "{options}: {e}"
        );
    }
}

#[tokio::test]
async fn no_agent_for_the_platform_is_said() {
    let home = tempfile::tempdir().unwrap();
    let image = AgentImage { triple: "s390x-unknown-linux-gnu", ..stand_in("") };
    let other = AgentImage { triple: "armv7-unknown-linux-gnu", ..image };
    let mut conn = Shell::new("sh", home.path());
    let e = start_agent(&mut conn, &[image, other], &StartOptions::default()).await.err().unwrap();
    assert!(
        matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("no agent for Linux")),
        "{e}"
    );
}

#[tokio::test]
async fn an_agent_that_does_not_run_there_is_not_installed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("x");
    std::fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
    let hash = run("sha256sum", &[&file.display().to_string()]).split(' ').next().unwrap().to_owned();
    let image = AgentImage { hash: hash.leak(), bytes: b"#!/bin/sh\nexit 1\n", ..stand_in("") };
    let mut conn = Shell::new("sh", home.path());
    let options = StartOptions { agent_dir: Some("~/agent".to_owned()) };
    let e = start_agent(&mut conn, &[image], &options).await.err().unwrap();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("does not run")), "{e}");
}

#[tokio::test]
async fn a_host_that_opens_no_channel_for_a_command_is_a_persons_business() {
    let (world, _sshd) = World::with_box("MaxSessions 0");
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let mut conn = transport.dial(&host).await.unwrap();
        let e = start(&mut *conn, stand_in("none")).await.unwrap_err();
        let Failure::AgentInstall { detail, mends: Mends::Person, .. } = &e else { panic!("{name}: {e}") };
        assert!(detail.contains("runs no command"), "{name}: {e}");
    }
}

#[tokio::test]
async fn an_upload_leaves_umask_and_limits_to_the_agent_as_the_login_has_them() {
    let home = tempfile::tempdir().unwrap();
    let text = "#!/bin/sh\ncase $1 in version) ;; serve) echo \"$(umask) $(ulimit -S -f)\"; cat;; esac\n";
    let file = home.path().join("image");
    std::fs::write(&file, text).unwrap();
    let hash = run("sha256sum", &[&file.display().to_string()]);
    let image = AgentImage { hash: hash[..64].to_owned().leak(), bytes: text.as_bytes(), ..stand_in("") };
    let mut conn = with_start_file(home.path(), "umask 027; ulimit -S -f 4000\n");
    let (mut first, mut second) = (String::new(), String::new());
    for (said, uploaded) in [(&mut first, true), (&mut second, false)] {
        let channel = start_agent(&mut conn, &[image], &StartOptions::default()).await.unwrap();
        assert_eq!(channel.uploaded, uploaded);
        channel.stream.into_parts().0.read_line(said).await.unwrap();
    }
    assert!(first.starts_with("0027 "), "{first}");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_host_whose_head_counts_no_bytes_gets_the_agent_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let tools = home.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("head"), "#!/bin/sh\nexit 1\n").unwrap();
    run("chmod", &["755", &tools.join("head").display().to_string()]);
    let mut conn = Shell::new("/bin/sh", home.path());
    conn.variables.push(("PATH", format!("{}:/usr/bin:/bin", tools.display()).into()));
    assert!(start(&mut conn, stand_in("no head")).await.unwrap().1);
    assert_eq!(conn.execs, 3);
}

use super::*;

const IMAGE: AgentImage = AgentImage {
    triple: "x86_64-unknown-linux-musl",
    hash: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    bytes: b"x",
};

#[test]
fn commands_hold_nothing_a_shell_would_touch() {
    let other = AgentImage { triple: "aarch64-unknown-linux-musl", ..IMAGE };
    for options in [StartOptions::default(), StartOptions { agent_dir: Some("~/my agent".into()) }] {
        let folders = Folders::new(&options).unwrap();
        let mark = Mark::new().unwrap();
        for script in [
            start_script(&mark, &[IMAGE], &folders),
            start_script(&mark, &[IMAGE, other], &folders),
            probe_script(&mark, &folders, 1),
            upload_script(&mark, &IMAGE, &folders, 1),
        ] {
            assert!(!script.contains(['\'', '\\', '!', '\n']), "{script}");
            assert!(!script.contains(&mark.0), "the mark must not stand whole in a command");
            assert!(script.len() < 4000, "{}", script.len());
        }
    }
}

#[test]
fn agent_dir_is_checked() {
    for (folder, ok) in [
        ("/opt/x", true),
        ("~/x y", true),
        ("x", false),
        ("/a'b", false),
        ("/$(id)", false),
        ("/a\nb", false),
        ("/a!b", false),
    ] {
        assert_eq!(Folders::new(&StartOptions { agent_dir: Some(folder.into()) }).is_ok(), ok, "{folder}");
    }
}

#[test]
fn answers_are_parsed_and_hostile_ones_refused() {
    let folders = Folders::new(&StartOptions::default()).unwrap();
    let m = parse_missing("MISSING 3 .1r2n Linux x86_64", &folders).unwrap();
    assert_eq!(
        (m.usable, m.refused, m.platform.as_str()),
        (Some(3), vec![(1, 'r'), (2, 'n')], "Linux x86_64")
    );
    let m = parse_missing("MISSING 0 . ", &folders).unwrap();
    assert_eq!((m.usable, m.refused.len(), m.platform.as_str()), (None, 0, ""));
    for answer in ["MISSING", "MISSING x .", "MISSING 9 . Linux", "HELLO", "MISSING 1 1r"] {
        assert!(parse_missing(answer, &folders).is_err(), "{answer}");
    }
    let m = parse_missing("MISSING 0 .1p Linux x86_64:/tmp/x y", &folders).unwrap();
    assert_eq!((m.platform.as_str(), m.place.as_str()), ("Linux x86_64", "/tmp/x y"));
    let m = parse_missing("MISSING 0 . \u{1b}]0;evil\u{7}", &folders).unwrap();
    assert_eq!(m.platform, "]0;evil");
}

#[test]
fn images_know_their_platforms() {
    assert_eq!(IMAGE.platforms(), ["Linux x86_64", "Linux amd64"]);
    let mac = AgentImage { triple: "aarch64-apple-darwin", ..IMAGE };
    assert_eq!(mac.platforms(), ["Darwin aarch64", "Darwin arm64"]);
}

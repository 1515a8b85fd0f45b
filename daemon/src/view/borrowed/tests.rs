use super::*;

fn after(pieces: &[&[u8]]) -> (String, String) {
    let mut borrowed = Borrowed::default();
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for piece in pieces {
        borrowed.pass(piece, &mut out);
    }
    borrowed.give_back_first(&mut back);
    borrowed.give_back_alternate(&mut back);
    borrowed.give_back_columns(&mut back);
    borrowed.give_back(&mut back);
    let saved: String = SAVED.iter().map(|mode| format!("^[?{mode}r")).collect();
    let end = format!("{saved}^[#Q^[23;0t");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\x1b', "^").replace(&end, "");
    (text(&out), text(&back))
}

fn both(pieces: &[&[u8]], out: &str, back: &str) {
    assert_eq!(after(pieces), (out.to_owned(), back.to_owned()), "{pieces:?}");
    // However it is cut.
    let whole = pieces.concat();
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(after(&bytes), (out.to_owned(), back.to_owned()), "{pieces:?} byte by byte");
}

#[test]
fn what_the_session_pushed_is_popped_and_no_more() {
    both(&[b"plain \x1b[31mred"], "plain ^[31mred", "^[<1u");
    both(&[b"\x1b[>1u\x1b[>3;1ux"], "^[>1u^[>3;1ux", "^[<3u");
    both(&[b"\x1b[>1u\x1b[>3u\x1b[<u"], "^[>1u^[>3u^[<u", "^[<2u");
    both(&[b"\x1b[>1u\x1b[<99u\x1b[=5u"], "^[>1u^[<1u^[=0u^[=5u", "^[<1u");
    both(&[b"\x1b[<u"], "^[=0u", "^[<1u");
    both(&[b"\x1bc"], "^c", "");
}

#[test]
fn each_screen_has_its_own_keyboard_stack() {
    both(&[b"\x1b[>1u\x1b[?1049h\x1b[>5u\x1b[>7u"], "^[>1u^[?1049h^[>5u^[>7u", "^[<2u^[<2u");
    both(&[b"\x1b[?1049h\x1b[>5u\x1b[<9u\x1b[?1049l"], "^[?1049h^[>5u^[<1u^[=0u^[?1049l", "^[<1u");
}

#[test]
fn saved_titles_are_taken_away_newest_first_and_the_users_stays() {
    both(&[b"\x1b[22;2t\x1b[22t\x1b[23;0;0t"], "^[22;2t^[22t^[23;0;0t", "^[<1u^[23;2t");
    both(&[b"\x1b[23;0tx"], "x", "^[<1u");
    both(&[b"\x1b[14t"], "^[14t", "^[<1u");
}

#[test]
fn preferences_are_restored_if_they_were_touched() {
    both(&[b"\x1b[?12;25h"], "^P$q q^\\^[?12;25h", "^[<1u^[0 q^[?12l^[?12r");
    both(&[b"\x1b[?67h"], "^[?67h", "^[<1u^[?67r");
}

#[test]
fn a_mode_nobody_thought_of_is_saved_before_it_is_touched_and_restored() {
    both(
        &[b"\x1b[?1041;1042h\x1b[?1042l\x1b[?1070l"],
        "^[?1041s^[?1042s^[?1041;1042h^[?1042l^[?1070s^[?1070l",
        "^[<1u^[?1041l^[?1041r^[?1042r^[?1070h^[?1070r",
    );
    both(&[b"\x1b[?42h\x1b[?42s"], "^[?42s^[?42h^[?42s", "^[<1u^[?42l");
    both(&[b"\x1b[?1046l"], "^[?1046s^[?1046l", "^[?1046h^[<1u^[?1046h^[?1046r");
    let many: Vec<u8> = (3000..4000).flat_map(|n| format!("\x1b[?{n}h").into_bytes()).collect();
    assert_eq!(after(&[&many]).1.matches('r').count(), MODES_MAX, "bounded");
}

#[test]
fn what_makes_a_terminal_listen_to_something_else_is_undone_first() {
    both(&[b"\x1b[?2l"], "^[?2l", "^<^[<1u");
    both(&[b"\x1b G"], "^ G", "^ F^[<1u");
    both(&[b"\x1b G\x1b[?2l"], "^ G^[?2l", "^<^ F^[<1u");
    both(&[b"\x1b[61\"p"], "^[61\"p", "^[62;1\"p^[63;1\"p^[64;1\"p^[65;1\"p^[<1u");
    both(&[b"\x1b[5i"], "^[5i", "^[4i^[<1u");
    both(&[b"\x1b[1$}\x1b[2$~"], "^[1$}^[2$~", "^[0$}^[0$~^[<1u");
}

#[test]
fn rarities_are_undone_once_and_only_if_they_came() {
    both(&[b"\x1b[2h\x1b[12l"], "^[2h^[12l", "^[<1u^[2l^[12h");
    both(&[b"\x1b[4h\x1b[20l"], "^[4h^[20l", "^[<1u");
    both(&[b"\x1b[>m\x1b[>4;0m"], "^[>m^[>4;0m", "^[<1u");
    both(&[b"\x1b[>2;1m"], "^[>2;1m", "^[<1u^[>0m^[>1m^[>2m^[>3m");
    both(&[b"\x1bP1;1|17/68656C6C6F\x1b\\"], "^P1;1|17/68656C6C6F^\\", "^[<1u^P0;1|^\\");
    both(
        &[b"\x1b]22;hand\x07\x1b]9;4;1;50\x07x"],
        "^]22;hand\u{7}^]9;4;1;50\u{7}x",
        "^[<1u^]22;^\\^]9;4;0^\\",
    );
    both(&[b"\x1b]2;a title\x07\x1b]8;;http://a\x1b\\"], "^]2;a title\u{7}^]8;;http://a^\\", "^[<1u");
    both(&[b"\x1b[38;5;1m\x1b[1;2H\x1b[3 q\x1b[1;5r"], "^[38;5;1m^[1;2H^P$q q^\\^[3 q^[1;5r", "^[<1u^[0 q");
    both(&[b"\x1b(0\x1b)A\x1b#8\x1b%G"], "^(0^)A^#8^%G", "^[<1u");
}

#[test]
fn questions_are_known_by_their_form() {
    for (bytes, asks) in [
        (&b"\x1b[?1;1;0S"[..], true),
        (b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", true),
        (b"\x1b[1;1;1;1;5;5*y", true),
        (b"\x1b]21;foreground=?\x1b\\", false),
        (b"\x1b]22;?\x1b\\", true),
        (b"\x1b[?996n", true),
        (b"\x1b[S\x1b[2S\x1b[31m\x1b]2;what?\x07\x1b[u\x1b_x\x1b\\", false),
    ] {
        let (mut borrowed, mut out) = (Borrowed::default(), Vec::new());
        for byte in bytes.chunks(1) {
            borrowed.pass(byte, &mut out);
        }
        assert_eq!(borrowed.take_asked(), asks, "{}", bytes.escape_ascii());
        assert!(!borrowed.take_asked());
    }
}

#[test]
fn what_was_pushed_of_colours_and_looks_is_taken_away_and_no_more() {
    both(&[b"\x1b[#P\x1b[#P\x1b[#Q\x1b[#Q\x1b[#Qx"], "^[#P^[#P^[#Q^[#Qx", "^[<1u");
    both(&[b"\x1b[#P\x1b[3#P\x1b[1#Qx"], "^[#P^[4#P^[2#Qx", "^[<1u");
    both(&[b"\x1b[#P\x1b[1;30#{\x1b[#}\x1b[#}\x1b[#p"], "^[#P^[1;30#{^[#}^[#p", "^[<1u^[#}^[#Q");
}

#[test]
fn eighty_columns_come_back_without_wiping_the_screen() {
    both(&[b"\x1b[?40h\x1b[?3h"], "^[?40s^[?40h^[?3h", "^[?95h^[?3l^[?95l^[<1u^[?40l^[?40r");
    both(&[b"\x1b[?3h\x1b[?3l"], "^[?3h^[?3l", "^[<1u");
}

#[test]
fn broken_and_long_sequences_pass() {
    both(&[b"\x1b[12\x1b[>1ux"], "^[12^[>1ux", "^[<2u");
    both(&[b"\x1b\x1b[>1u"], "^^[>1u", "^[<2u");
    let long = [&b"\x1b["[..], &b"1;".repeat(100), b"m"].concat();
    let (out, _) = after(&[&long]);
    assert_eq!(out.len(), long.len());
    both(&[b"\x1b[3\nu"], "^[3\nu", "^[<1u");
}

#[test]
fn how_a_terminal_measures_stays_as_it_was_when_it_said_so() {
    both(&[b"a\x1b[?2027hb\x1b[?2027lc"], "abc", "^[<1u");
    both(&[b"\x1b[?2027;2004;25hx"], "^[?2004;25hx", "^[<1u");
}

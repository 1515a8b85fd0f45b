//! Wrong usage, said in one line that helps: what was wrong, what was probably meant, and the help that is about it.

use super::Cli;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use sessd_proto::docs::names::meant;
use sessd_proto::docs::text::shown;
use sessd_proto::docs::words;
use sessd_proto::docs::{Error, Kind};

/// Verbs of other programs, and what they are here.
const HABITS: [(&str, &str); 22] = [
    ("kill", "`sessd delete SESSION` ends a job and forgets it"),
    ("stop", "`sessd delete SESSION` ends a job; `sessd daemon stop` ends the manager, and jobs run on"),
    ("end", "`sessd delete SESSION` ends a job and forgets it"),
    ("remove", "`sessd delete SESSION`"),
    ("prune", "`sessd delete --done` forgets what has ended"),
    ("rename", "`sessd tag SESSION --name NEW` renames it"),
    ("mv", "`sessd tag SESSION --name NEW` renames it"),
    ("ssh", "`sessd create --host HOST --attach` starts a shell there"),
    ("connect", "`sessd attach SESSION`, or `sessd create --host HOST --attach`"),
    ("shell", "`sessd create --attach` starts a shell, `--host HOST` elsewhere"),
    ("exec", "`sessd create -- COMMAND` runs it"),
    ("start", "`sessd create` starts a session, `sessd daemon start` the manager"),
    ("status", "`sessd list` shows sessions, `sessd daemon status` the manager"),
    ("ps", "`sessd list`"),
    ("show", "`sessd info SESSION`"),
    ("inspect", "`sessd info SESSION`"),
    ("resume", "`sessd attach SESSION`"),
    ("reattach", "`sessd attach SESSION`"),
    ("sessions", "`sessd list`"),
    ("hosts", "`sessd host list`"),
    ("logs", "`sessd attach SESSION` shows the end of it"),
    ("version", "`sessd --version`"),
];

/// The verbs that were typed, as far as there are such: `host list`.
fn verb_path(words: &[String]) -> (Vec<String>, usize) {
    let mut command = Cli::command();
    let mut path = Vec::new();
    let mut at = 0;
    for (index, word) in words.iter().enumerate() {
        if word.starts_with('-') {
            continue;
        }
        let Some(next) = command.find_subcommand(word).cloned() else { break };
        path.push(next.get_name().to_owned());
        (command, at) = (next, index + 1);
    }
    (path, at)
}

fn help_of(path: &[String]) -> String {
    let words: Vec<&str> = ["sessd", "help"].into_iter().chain(path.iter().map(String::as_str)).collect();
    format!("see `{}`", words.join(" "))
}

fn text_of(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    }
}

/// What clap says in several lines, in one, without what it suggests.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().map(str::trim).take_while(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
    first.strip_prefix("error: ").unwrap_or(&first).to_owned()
}

/// What was probably meant by a word or flag that the verb does not take. `rest`: the words behind the verb.
fn instead(path: &[String], odd: &str, rest: &[String]) -> Option<String> {
    let verb = path.iter().map(String::as_str).collect::<Vec<_>>();
    let is_flag = odd.starts_with('-');
    let odd_word = words::quoted(odd);
    let value = |flag: &str| {
        rest.iter()
            .position(|word| word == flag)
            .and_then(|at| rest.get(at + 1))
            .map(|word| words::quoted(word))
    };
    Some(match verb.as_slice() {
        ["create"] if is_flag => match odd {
            "-s" | "--session" => "`--name NAME` names the session".to_owned(),
            "--detach" => "it is not attached to unless you say `--attach`".to_owned(),
            _ => return None,
        },
        ["create"] => {
            // From the first word that is no flag's value to the end it is the command that was meant.
            let at = rest.iter().position(|word| word == odd)?;
            let (flags, tail) = rest.split_at(at);
            let flags: String = flags.iter().map(|word| format!(" {}", words::quoted(word))).collect();
            let command = format!("`sessd create{flags} -- {}` runs it", words::command(tail));
            let named = flags.contains(" --name") || flags.contains(" -n");
            let could_be_a_name = sessd_proto::docs::names::check_name(odd).is_ok() && tail.len() == 1;
            if could_be_a_name && !named {
                format!("`sessd create{flags} --name {odd_word}` names the session, {command}")
            } else {
                format!("{command}: a command comes behind `--`")
            }
        }
        ["run"] if !is_flag => {
            let at = rest.iter().position(|word| word == odd)?;
            let (flags, tail) = rest.split_at(at);
            let flags: String = flags.iter().map(|word| format!(" {}", words::quoted(word))).collect();
            format!("`sessd run{flags} -- {}` runs it: a command comes behind `--`", words::command(tail))
        }
        ["attach", ..] if matches!(odd, "-t" | "-n" | "-s" | "--name" | "--target" | "--session") => {
            match value(odd) {
                Some(name) => format!("`sessd attach {name}`: the name stands alone"),
                None => "`sessd attach NAME`: the name stands alone".to_owned(),
            }
        }
        ["attach"] if !is_flag => "`sessd attach` shows one session at a time".to_owned(),
        ["list"] if !is_flag => {
            format!(
                "`sessd list --host {odd_word}` lists a host's, `sessd info {odd_word}` shows one session"
            )
        }
        ["info" | "detach" | "restart"] if !is_flag => {
            format!("`sessd {}` takes one session", verb[0])
        }
        ["info" | "detach" | "restart" | "delete" | "tag"]
            if matches!(odd, "-t" | "-n" | "--target" | "--name" | "--session") =>
        {
            format!("`sessd {} NAME`: the name stands alone", verb[0])
        }
        ["daemon"] if matches!(odd, "-d" | "--daemon" | "--background") => {
            "`sessd daemon` starts it in the background".to_owned()
        }
        _ => return None,
    })
}

/// One line of what clap says in several. `words`: the arguments, without the program's name.
pub fn usage(error: &clap::Error, words: &[String]) -> Error {
    let (path, behind) = verb_path(words);
    let help = help_of(&path);
    let with = |message: String, hint: String| Error::new(Kind::Usage, message, hint);
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            with(format!("`sessd {}` needs a verb behind it", path.join(" ")), help)
        }
        ErrorKind::InvalidSubcommand => {
            let odd = text_of(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let message = match path.as_slice() {
                [] => format!("there is no verb `{odd}`"),
                path => format!("there is no verb `{odd}` of `sessd {}`", path.join(" ")),
            };
            let here = path
                .iter()
                .try_fold(Cli::command(), |command, word| command.find_subcommand(word).cloned())
                .unwrap_or_else(Cli::command);
            let verbs: Vec<String> = here
                .get_subcommands()
                .flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()))
                .filter(|name| name.len() > 1)
                .map(str::to_owned)
                .collect();
            let habit =
                HABITS.iter().find(|(word, _)| path.is_empty() && *word == odd).map(|(_, hint)| *hint);
            let hint = match (habit, meant(&odd, verbs.iter().map(String::as_str))) {
                (Some(habit), _) => habit.to_owned(),
                (None, Some(near)) => {
                    let whole: Vec<&str> = path.iter().map(String::as_str).chain([near]).collect();
                    format!("did you mean `sessd {}`? {help}", whole.join(" "))
                }
                (None, None) if path.is_empty() && sessd_proto::docs::names::check_name(&odd).is_ok() => {
                    format!("`sessd attach {odd}` shows a session of that name; {help}")
                }
                (None, None) => help,
            };
            with(message, hint)
        }
        ErrorKind::UnknownArgument => {
            let odd = text_of(error, ContextKind::InvalidArg).unwrap_or_default();
            let rest = words.get(behind..).unwrap_or_default();
            let near = text_of(error, ContextKind::SuggestedArg);
            let message = format!("`{odd}` is nothing that `sessd {}` takes", path.join(" "));
            let hint = match (instead(&path, &odd, rest), near) {
                (Some(hint), _) => hint,
                (None, Some(near)) => format!("did you mean `{near}`? {help}"),
                (None, None) => help,
            };
            with(message.replace("`sessd `", "`sessd`"), hint)
        }
        ErrorKind::InvalidUtf8 => with("an argument is not text in UTF-8".to_owned(), help),
        _ => with(first_line(error), help),
    }
}

/// An error that only points to the help points to the verb's own.
pub fn pointed(error: Error, words: &[String]) -> Error {
    if error.kind == Kind::Usage && error.hint == "see `sessd help`" {
        Error { hint: help_of(&verb_path(words).0), ..error }
    } else {
        error
    }
}

/// What to say where a command of one word looks like a line for a shell.
pub fn shell_line(verb: &str, command: &[String], error: Error) -> Error {
    match command {
        [line]
            if error.message.contains("not found")
                && line.contains(|c: char| c.is_whitespace() || "|&;<>$*".contains(c)) =>
        {
            let typed = words::quoted(line).into_owned();
            Error {
                hint: format!("a line for a shell is `sessd {verb} -- sh -c {}`", shown(&typed)),
                ..error
            }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn said(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let all = std::iter::once("sessd".to_owned()).chain(words.iter().cloned());
        match Cli::try_parse_from(all) {
            Ok(_) => "taken".to_owned(),
            Err(error) => usage(&error, &words).line(),
        }
    }

    #[test]
    fn a_typo_is_told_what_was_probably_meant() {
        for (line, want) in [
            ("creat", "sessd: there is no verb `creat`: did you mean `sessd create`? see `sessd help`"),
            ("lst", "did you mean `sessd list`"),
            ("attch x", "did you mean `sessd attach`"),
            ("delte", "did you mean `sessd delete`"),
            ("help creat", "did you mean"),
            ("host lst", "did you mean `sessd host list`? see `sessd help host`"),
            ("daemon statsu", "did you mean `sessd daemon status`? see `sessd help daemon`"),
            ("list --al", "did you mean `--all`? see `sessd help list`"),
            (
                "xyzzy",
                "there is no verb `xyzzy`: `sessd attach xyzzy` shows a session of that name; see `sessd help`",
            ),
            ("x/y", "there is no verb `x/y`: see `sessd help`"),
            ("restart", "see `sessd help restart`"),
            ("host", "sessd: `sessd host` needs a verb behind it: see `sessd help host`"),
            ("create --reap often", "see `sessd help create`"),
        ] {
            let got = said(line);
            assert!(got.contains(want) && !got.contains('\n'), "{line}: {got}");
        }
    }

    #[test]
    fn a_habit_from_elsewhere_is_told_how_it_is_here() {
        for (line, want) in [
            ("kill dev", "`sessd delete SESSION`"),
            ("rename a b", "`sessd tag SESSION --name NEW`"),
            ("ssh box", "`sessd create --host HOST --attach`"),
            ("status", "`sessd daemon status`"),
            ("version", "`sessd --version`"),
            ("create dev", "`sessd create --name dev` names the session, `sessd create -- dev` runs it"),
            ("create bash", "`sessd create -- bash` runs it"),
            (
                "create --name q6 top x",
                "`sessd create --name q6 -- top x` runs it: a command comes behind `--`",
            ),
            ("create -n q6 top", "`sessd create -n q6 -- top` runs it"),
            ("attach -t dev", "`sessd attach dev`"),
            ("attach -n dev", "`sessd attach dev`"),
            ("list box", "`sessd list --host box`"),
            ("info a b", "takes one session"),
            ("run -H box ls -la", "`sessd run -H box -- ls -la` runs it: a command comes behind `--`"),
        ] {
            let got = said(line);
            assert!(got.contains(want) && !got.contains('\n'), "{line}: {got}");
        }
    }

    #[test]
    fn what_hands_type_is_taken() {
        for line in [
            "new -n dev",
            "a dev",
            "create -n dev -H box -t gpu -e A=b -C /tmp -d -- cat",
            "create -n dev -a",
            "ls -a",
            "ls -l",
            "ls -la",
            "list -q -H box -s done -t x=y",
            "host ls",
            "host adopt box --all",
            "daemon start",
            "tag dev",
            "tag dev -n work",
            "rm -f a b",
            "delete --done",
            "delete --tag a --host b --state done -y",
            "delete --all --force",
            "attach dev -r -c -H box",
            "attach dev --json",
            "attach dev -H box",
            "--json list",
            "restart dev --json",
            "detach dev --json",
            "daemon stop --json",
            "--json list --json",
            "ls -a -a",
            "create -n a -n b",
        ] {
            assert_eq!(said(line), "taken", "{line}");
        }
    }

    #[test]
    fn an_error_points_to_the_help_of_its_verb() {
        let words = ["create", "--size", "large"].map(str::to_owned);
        assert_eq!(pointed(Error::usage("`large` is not a size"), &words).hint, "see `sessd help create`");
        let own = Error::new(Kind::Usage, "x", "do that");
        assert_eq!(pointed(own.clone(), &words), own);
    }

    #[test]
    fn a_line_for_a_shell_is_told_how() {
        let error = || Error::failed("`ls -la | wc` was not found on this host", "nothing was started");
        let command = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let hint = shell_line("create", &command(&["ls -la | wc"]), error()).hint;
        assert!(hint.contains("sh -c 'ls -la | wc'"), "{hint}");
        assert_eq!(shell_line("create", &command(&["lss"]), error()).hint, "nothing was started");
        assert_eq!(shell_line("create", &command(&["ls", "a b"]), error()).hint, "nothing was started");
    }

    #[test]
    fn an_odd_argument_does_not_act_on_the_terminal() {
        let words = ["\u{1b}]0;x\u{7}".to_owned()];
        let error =
            Cli::try_parse_from(std::iter::once("sessd".to_owned()).chain(words.clone())).unwrap_err();
        let line = usage(&error, &words).line();
        assert!(!shown(&line).contains(sessd_proto::docs::text::is_hidden), "{line:?}");
    }
}

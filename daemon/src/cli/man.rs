//! `sessd man`: the manual's pages, made of the same words as the help.

use super::Cli;
use super::args::ManArgs;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use sessd_base::out;
use sessd_proto::docs::{Error, Result};
use std::path::Path;

/// The commands without what the parser adds to each: a page for `help` says nothing.
fn commands() -> Command {
    fn bare(command: Command) -> Command {
        command.disable_help_subcommand(true).mut_subcommands(bare)
    }
    let mut all = bare(Cli::command());
    all.build();
    all
}

/// The page of a verb, or of the program for none.
fn page(verb: &[String]) -> Result<Vec<u8>> {
    let all = commands();
    let (mut command, mut name) = (&all, all.get_name().to_owned());
    for word in verb {
        command = command.find_subcommand(word).ok_or_else(|| {
            Error::new(
                sessd_proto::docs::Kind::Usage,
                format!("`{name}` has no verb `{word}`"),
                "see `sessd help`",
            )
        })?;
        name = format!("{name}-{}", command.get_name());
    }
    let mut text = Vec::new();
    // A vector takes all that is written.
    let _ = Man::new(command.clone()).source(concat!("sessd ", env!("CARGO_PKG_VERSION"))).render(&mut text);
    Ok(text)
}

/// Carries it out.
///
/// # Errors
/// When there is no such verb, or the pages cannot be written.
pub fn man(args: &ManArgs) -> Result<u8> {
    match &args.dir {
        Some(dir) => write_all(dir).map(|pages| {
            out::line(&format!(
                "{pages} pages in {}: `man -l {}` shows the first",
                dir.display(),
                dir.join("sessd.1").display()
            ))
        })?,
        None => out::own(&page(&args.verb)?),
    }
    .map(|_| 0)
}

/// Writes a page for each verb into a folder; how many.
fn write_all(dir: &Path) -> Result<usize> {
    let cannot = |what: &Path, error: std::io::Error| {
        Error::failed(
            format!("{} cannot be written ({error})", what.display()),
            "name a folder that is yours with --dir",
        )
    };
    std::fs::create_dir_all(dir).map_err(|e| cannot(dir, e))?;
    let mut verbs = vec![Vec::new()];
    let mut at = 0;
    let all = commands();
    while let Some(verb) = verbs.get(at).cloned() {
        at += 1;
        let command =
            verb.iter().try_fold(&all, |command: &Command, word: &String| command.find_subcommand(word));
        for below in
            command.into_iter().flat_map(Command::get_subcommands).filter(|below| !below.is_hide_set())
        {
            verbs.push([verb.clone(), vec![below.get_name().to_owned()]].concat());
        }
        let file = dir.join(format!("{}.1", [vec!["sessd".to_owned()], verb.clone()].concat().join("-")));
        std::fs::write(&file, page(&verb)?).map_err(|e| cannot(&file, e))?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_with_its_flags_and_examples() {
        let dir = tempfile::tempdir().unwrap();
        let pages = write_all(dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(pages, std::fs::read_dir(dir.path()).unwrap().count());
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let text = read(&format!("sessd-{}.1", verb.get_name()));
            assert!(text.contains(&format!("sessd\\-{}", verb.get_name().replace('-', "\\-"))), "{text}");
        }
        assert!(
            read("sessd-create.1").contains("idle\\-timeout") && read("sessd-host-adopt.1").contains("adopt")
        );
        assert!(read("sessd.1").contains("sessd\\-attach(1)"));
        assert_eq!(page(&["create".into()]).unwrap(), read("sessd-create.1").into_bytes());
        assert!(page(&["nosuch".into()]).unwrap_err().message.contains("`nosuch`"));
    }
}

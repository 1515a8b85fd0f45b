//! The command line. Flags and their help are in [`args`], wrong ones in [`usage`], what the shell's TAB offers in
//! [`complete`]; what a verb does is in [`verbs`], [`create`] and [`delete`]; how it looks is in [`print`], [`table`],
//! [`events`] and [`when`]; how the manager is asked, and asked again when it died, is in [`ask`]; how it is looked after,
//! asked or not, in [`daemon`]; [`done`] shows a session that has ended; [`pick`] has the picker and what is shown from it; [`copy`]
//! is files and byte streams to and from hosts, [`forward`] is ports that live with a session; [`host`] is about hosts and
//! [`doctor`] walks the way to one; [`man`] writes the manual; [`script`] has the verbs that programs use; [`web`] starts the web view.

pub mod args;
pub mod ask;
pub mod complete;
pub mod copy;
pub mod create;
pub mod daemon;
pub mod delete;
pub mod doctor;
pub mod done;
pub mod events;
pub mod forward;
pub mod host;
pub mod man;
pub mod pick;
pub mod print;
pub mod script;
pub mod service;
pub mod table;
pub mod usage;
pub mod verbs;
pub mod web;
pub mod when;

pub use args::Cli;
use clap::Parser;
use sessd_base::out;
use std::process::ExitCode;

/// Runs the command line.
pub fn main() -> ExitCode {
    // A closed pipe ends a command that prints, as it ends any other; the manager wants an error instead.
    let arguments: Vec<_> = std::env::args_os().collect();
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let result = complete::answer(&arguments).unwrap_or_else(|| match Cli::try_parse_from(&arguments) {
        Ok(cli) => verbs::run(cli.verb, cli.json).map_err(|error| usage::pointed(error, &words)),
        Err(error) if !error.use_stderr() => out::lines(&error.render().to_string()).map(|_| 0),
        Err(error) => Err(usage::usage(&error, &words)),
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if json {
                out::say_json(&error.json());
            } else {
                out::say(&error.line());
            }
            ExitCode::from(error.kind.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_way_out_is_in_the_help() {
        for verb in ["attach", "create"] {
            let mut command = Cli::command();
            let help = command.find_subcommand_mut(verb).unwrap().render_long_help().to_string();
            assert!(help.contains("Ctrl-\\") && help.contains("Ctrl-4"), "{help}");
        }
    }
}

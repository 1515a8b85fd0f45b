//! The agent's one binary.

use std::process::ExitCode;

// 32-bit ARM has an ABI of its own for that, whose functions come all together.
#[cfg(all(panic = "abort", not(target_arch = "arm")))]
mod unwinding;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Called `sessd` inside a job, where there may be no other: it knows what is said there.
    let called = std::env::args_os().next().unwrap_or_default();
    let is_sessd = std::path::Path::new(&called).file_name().is_some_and(|name| name == "sessd");
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => sessd_agent::io::serve::run(),
        ["hold", folder] => sessd_agent::io::hold::run(std::path::Path::new(folder)),
        ["version"] => {
            println!("sessd-agent {}", sessd_agent::VERSION);
            Ok(())
        }
        ["connect", target @ ..] => return sessd_agent::io::copy::connect(target),
        ["put", dest, rest @ ..] => match sessd_agent::io::copy::put(dest, rest == ["several"]) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        ["get", paths @ ..] => sessd_agent::io::copy::get(paths),
        ["report", words @ ..] => match sessd_agent::io::report::parse(words) {
            Some(report) => sessd_agent::io::report::report(report),
            None => {
                eprintln!("{}", sessd_agent::io::report::USAGE);
                return ExitCode::from(2);
            }
        },
        _ if is_sessd => {
            eprintln!(
                "sessd: inside a job on this host there is only `sessd report`: the rest is where sessd is installed"
            );
            return ExitCode::from(2);
        }
        _ => {
            eprintln!(
                "usage: sessd-agent serve | hold FOLDER | connect [HOST PORT | PATH] | put DEST | get PATH... | report STATE | version"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessd-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The agent's one binary.

use std::process::ExitCode;

#[cfg(panic = "abort")]
mod unwinding;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => sessd_agent::io::serve::run(),
        ["hold", folder] => sessd_agent::io::hold::run(std::path::Path::new(folder)),
        ["version"] => {
            println!("sessd-agent {}", sessd_agent::VERSION);
            Ok(())
        }
        _ => {
            eprintln!("usage: sessd-agent serve | hold FOLDER | version");
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

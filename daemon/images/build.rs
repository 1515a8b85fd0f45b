//! Builds the agent, small and static, and writes the table of agents that the manager carries.
//!
//! A nested cargo with a target folder of its own beside the outer one, so that a check, a test and a build share it, and
//! with a scrubbed environment: flags and wrappers meant for the outer build must not reach what runs on other people's
//! hosts. `SESSD_AGENT=none` leaves the agent out (for a quick `cargo check`); `SESSD_AGENT_BINARIES` takes finished binaries
//! named `sessd-agent-TRIPLE` from a folder instead.

use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

fn main() {
    for path in [
        "../../remote-agent",
        "../../proto",
        "../../terminal/src",
        "../../terminal/Cargo.toml",
        "../../Cargo.toml",
        "../../Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={path}");
    }
    for name in ["SESSD_AGENT", "SESSD_AGENT_BINARIES"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(required("OUT_DIR"));
    let mut agents: Vec<(String, PathBuf)> = Vec::new();
    if let Some(folder) = env::var_os("SESSD_AGENT_BINARIES") {
        agents = finished(Path::new(&folder));
    } else if env::var("SESSD_AGENT").as_deref() != Ok("none") {
        let host = required("TARGET");
        let arch = host.split('-').next().unwrap_or("x86_64").to_owned();
        // musl makes the smaller and more portable binary; without it the host's libc, linked in.
        for triple in targets(&arch) {
            if let Some(binary) = build(&triple, &out) {
                agents.push((triple, binary));
            }
        }
        if !agents.iter().any(|(triple, _)| triple.starts_with(&arch)) {
            match build(&host, &out) {
                Some(binary) => agents.push((host, binary)),
                None => exit(1),
            }
        }
    }
    let mut table = String::from("&[\n");
    for (triple, binary) in &agents {
        let bytes = fs::read(binary).unwrap_or_else(|error| fail(&format!("{}: {error}", binary.display())));
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let copy = out.join(format!("sessd-agent-{triple}"));
        fs::write(&copy, &bytes).unwrap_or_else(|error| fail(&format!("{}: {error}", copy.display())));
        table += &format!(
            "    AgentImage {{ triple: {triple:?}, hash: {hash:?}, bytes: include_bytes!({:?}) }},\n",
            copy.display().to_string()
        );
    }
    table += "]\n";
    fs::write(out.join("agents.rs"), table).unwrap_or_else(|error| fail(&error.to_string()));
}

fn fail(why: &str) -> ! {
    eprintln!("the agent could not be built: {why}");
    exit(1)
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

/// The musl targets this toolchain has a standard library for and can link.
fn targets(arch: &str) -> Vec<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let wanted = [
        format!("{arch}-unknown-linux-musl"),
        "aarch64-unknown-linux-musl".into(),
        "x86_64-unknown-linux-musl".into(),
    ];
    let mut found: Vec<String> = Vec::new();
    for triple in wanted {
        let output = Command::new(&rustc).args(["--print", "target-libdir", "--target", &triple]).output();
        let Ok(output) = output else { continue };
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let has_std = fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
        });
        if has_std && !found.contains(&triple) {
            found.push(triple);
        }
    }
    found
}

fn finished(folder: &Path) -> Vec<(String, PathBuf)> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| fail(&format!("{}: {error}", folder.display())));
    entries
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.strip_prefix("sessd-agent-")?.to_owned(), e.path())))
        .collect()
}

/// Compact relocations, a twentieth of the program, are read by glibc since 2.36: whether this one does is seen by running it.
const COMPACT: &str = " -C link-arg=-Wl,-z,pack-relative-relocs";

fn build(triple: &str, out: &Path) -> Option<PathBuf> {
    if triple.ends_with("-gnu") {
        let runs =
            |binary: &PathBuf| Command::new(binary).arg("version").output().is_ok_and(|o| o.status.success());
        if let Some(binary) = build_with(triple, out, COMPACT).filter(runs) {
            return Some(binary);
        }
    }
    build_with(triple, out, "")
}

fn build_with(triple: &str, out: &Path, more: &str) -> Option<PathBuf> {
    // OUT_DIR is TARGET/PROFILE/build/PACKAGE-HASH/out: one folder above the profiles is shared by all of them.
    let shared = out.ancestors().nth(4).unwrap_or(out).join("agent-build");
    let manifest = Path::new(&required("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--manifest-path").arg(&manifest).args([
        "--package",
        "sessd-agent",
        "--bin",
        "sessd-agent",
    ]);
    cargo.args(["--profile", "agent", "--locked", "--target", triple]).arg("--target-dir").arg(&shared);
    cargo.env_clear().envs(env::vars_os().filter(|(name, _)| is_kept(name)));
    // A panic aborts: tables for unwinding through it are dead weight, ours and those of the libraries. Linkers run in the
    // workspace's folder, and the name of a file in it is the same in every checkout.
    let mut flags = String::from("-C target-feature=+crt-static -C force-unwind-tables=no");
    flags += " -C link-arg=-Tremote-agent/no-unwind.ld";
    if triple.ends_with("-musl") {
        // The linker of the toolchain itself: a C cross compiler is not needed for a program without C.
        flags += " -C linker=rust-lld -C linker-flavor=ld.lld -C link-self-contained=yes";
        // Compact relocations (musl reads them since 1.2.4), and one copy of equal functions.
        flags += " -C link-arg=-zpack-relative-relocs -C link-arg=--icf=all -C link-arg=-O2";
    }
    flags += more;
    cargo.env("RUSTFLAGS", flags);
    let output = cargo.output().unwrap_or_else(|error| fail(&format!("cargo: {error}")));
    if output.status.success() {
        return Some(shared.join(triple).join("agent/sessd-agent"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|l| l.starts_with("error")).unwrap_or("no reason given");
    println!("cargo:warning=no agent for {triple}: {last}");
    if triple == required("TARGET") && more.is_empty() {
        eprintln!("{said}");
    }
    None
}

/// What the nested cargo needs of the environment, and nothing that would change what it makes.
fn is_kept(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    match name.as_ref() {
        "CARGO_HOME" | "CARGO_HTTP_CAINFO" | "CARGO_HTTP_PROXY" | "CARGO_MAKEFLAGS" | "CARGO_NET_OFFLINE" => {
            true
        }
        _ if name.starts_with("CARGO_REGISTRIES_")
            || name.starts_with("CARGO_REGISTRY_")
            || name.starts_with("CARGO_SOURCE_") =>
        {
            true
        }
        _ if name.starts_with("CARGO") || name.starts_with("RUSTC") || name.starts_with("DEP_") => false,
        "RUSTFLAGS" | "RUSTDOC" | "RUSTDOCFLAGS" | "TARGET" | "HOST" | "PROFILE" | "OUT_DIR"
        | "OPT_LEVEL" | "DEBUG" | "NUM_JOBS" | "LD_LIBRARY_PATH" => false,
        _ => true,
    }
}

//! Packs the page: our own files as they are, and what `web/package.json` names, which npm brings by the lock file and
//! nobody commits.
//!
//! Where `web/node_modules` has not what the lock file names, `npm ci` is run; where there is no npm, or no network, the
//! program is built without the page and its `web` says what to install. `SESSD_WEB=none` leaves the page out. Nothing is
//! bundled or translated: an import map gives the packages their names, and Node.js makes them smaller.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, fs};

/// One file of the page.
struct Page {
    /// Where it is served, below the root.
    path: String,
    bytes: Vec<u8>,
}

fn main() {
    println!("cargo:rerun-if-env-changed=SESSD_WEB");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // Not as it was when this was compiled: the checkout may have been moved since.
    let web = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../web");
    let modules = web.join("node_modules");
    let wanted = env::var("SESSD_WEB").as_deref() != Ok("none");
    let mut pages = Vec::new();
    let mut index = String::new();
    let mut map = String::new();
    if wanted && bring_packages(&web, &modules) {
        for folder in ["src", "style"] {
            collect(&web.join(folder), folder, &mut pages);
        }
        map = packages(&web, &modules, &mut pages);
        pages.sort_by(|a, b| a.path.cmp(&b.path));
        index = fs::read_to_string(web.join("index.html")).unwrap_or_else(|e| fail("index.html", &e));
    }
    for name in ["index.html", "package.json", "package-lock.json", "src", "style"] {
        println!("cargo:rerun-if-changed={}", web.join(name).display());
    }
    write_table(&out, pages, &index, &map);
}

fn fail(what: &str, why: &dyn std::fmt::Display) -> ! {
    println!("cargo:error={what}: {why}");
    std::process::exit(1)
}

/// Is what the lock file names in the folder?
fn is_brought(web: &Path, modules: &Path) -> bool {
    let packages = |path: &Path| -> Option<serde_json::Value> {
        let lock: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        lock.get("packages").cloned()
    };
    let Some(wanted) = packages(&web.join("package-lock.json")) else { return false };
    let Some(here) = packages(&modules.join(".package-lock.json")) else { return false };
    let mut names = wanted.as_object().into_iter().flatten().filter(|(name, _)| !name.is_empty());
    names.all(|(name, package)| here[name]["integrity"] == package["integrity"] && web.join(name).is_dir())
}

/// Whether what the lock file names is there, or could be brought.
fn bring_packages(web: &Path, modules: &Path) -> bool {
    // Two builds at a time must not bring them into the same folder.
    let Ok(guard) = File::open(web.join("package.json")) else { return false };
    let _ = guard.lock();
    // Where they could not be brought there is no such file, and the next build tries again.
    let brought = modules.join(".package-lock.json");
    let begun = SystemTime::now() - Duration::from_secs(1);
    let look_again = |path: &Path| println!("cargo:rerun-if-changed={}", path.display());
    if is_brought(web, modules) {
        look_again(&brought);
        return true;
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--fetch-retries=1"])
        .arg("--fetch-timeout=20000")
        .current_dir(web)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match npm {
        Ok(status) if status.success() => {
            // What changed after this began would be looked at again by the next build, which would make the program anew.
            let _ = File::options().write(true).open(&brought).and_then(|file| file.set_modified(begun));
            look_again(&brought);
            true
        }
        Ok(_) => {
            look_again(&brought);
            println!(
                "cargo:warning=built without the web view: `npm ci` in web/ failed (is there a network?)"
            );
            false
        }
        Err(_) => {
            println!("cargo:warning=built without the web view: there is no npm (install Node.js with npm)");
            // The build after it was installed has it.
            println!("cargo:rerun-if-env-changed=PATH");
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).filter(|folder| folder.is_dir()).for_each(|folder| look_again(&folder));
            false
        }
    }
}

fn collect(folder: &Path, name: &str, pages: &mut Vec<Page>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| fail(name, &e));
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            collect(&path, &name, pages);
        } else if name.ends_with(".js") || name.ends_with(".css") || name.ends_with(".svg") {
            let mut bytes = fs::read(&path).unwrap_or_else(|e| fail(&name, &e));
            if name.ends_with(".js") {
                bytes = without_comments(&String::from_utf8_lossy(&bytes)).into_bytes();
            }
            pages.push(Page { path: name, bytes });
        }
    }
}

/// Our own modules as they are sent: without what only people and the type checker read, every line in its place. Comments there
/// stand alone in their lines, or are types in `/** */`, which no text of ours contains.
fn without_comments(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut inside = false;
    for line in source.lines() {
        let mut rest = line.trim();
        if rest.starts_with("//") {
            rest = "";
        }
        while !rest.is_empty() {
            if inside {
                match rest.split_once("*/") {
                    Some((_, after)) => (inside, rest) = (false, after.trim_start()),
                    None => break,
                }
            } else {
                let (before, after) = rest.split_once("/**").map_or((rest, None), |(b, a)| (b, Some(a)));
                out.push_str(before);
                match after {
                    Some(after) => (inside, rest) = (true, after),
                    None => break,
                }
            }
        }
        out.push('\n');
    }
    out
}

/// Adds the modules and style sheets of the packages that the page names; the import map for them.
fn packages(web: &Path, modules: &Path, pages: &mut Vec<Page>) -> String {
    let json = |path: &Path| -> serde_json::Value {
        let text = fs::read_to_string(path).unwrap_or_else(|e| fail(&path.display().to_string(), &e));
        serde_json::from_str(&text).unwrap_or_else(|e| fail(&path.display().to_string(), &e))
    };
    let package = json(&web.join("package.json"));
    let mut imports = serde_json::Map::new();
    for name in package["dependencies"].as_object().into_iter().flat_map(|map| map.keys()) {
        let folder = modules.join(name);
        let described = json(&folder.join("package.json"));
        for field in ["module", "style"] {
            let Some(file) = described[field].as_str() else { continue };
            let from = folder.join(file);
            let last = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = format!("packages/{last}");
            let mut bytes = fs::read(&from).unwrap_or_else(|e| fail(name, &e));
            if field == "module" {
                imports.insert(name.clone(), format!("@ROOT@/{path}").into());
                // Their maps are not served.
                if let Some(at) = bytes.windows(21).rposition(|w| w == b"//# sourceMappingURL=") {
                    bytes.truncate(at);
                }
            }
            pages.push(Page { path, bytes });
        }
    }
    serde_json::json!({ "imports": imports }).to_string()
}

/// Beside each of the files called after numbers up to the second argument, in the folder that is the first: what is smaller.
const COMPRESS: &str = "
const [, folder, count] = process.argv;
const { readFileSync, writeFileSync } = require('fs');
const { brotliCompressSync, gzipSync, constants } = require('zlib');
for (let n = 0; n < Number(count); n++) {
  const bytes = readFileSync(`${folder}/${n}`);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  for (const [name, small] of [['br', brotliCompressSync(bytes, { params })], ['gz', gzipSync(bytes, { level: 9 })]]) {
    if (small.length < bytes.length) writeFileSync(`${folder}/${n}.${name}`, small);
  }
}
";

/// Makes what browsers take instead of the files that were written, with the Node.js that brought the packages.
fn compress(out: &Path, count: usize) {
    for n in 0..count {
        for name in ["br", "gz"] {
            let _ = fs::remove_file(out.join(format!("{n}.{name}")));
        }
    }
    if count == 0 {
        return;
    }
    let node = Command::new("node").arg("-e").arg(COMPRESS).arg(out).arg(count.to_string()).status();
    if !node.is_ok_and(|status| status.success()) {
        println!("cargo:warning=the web view's page is sent as it is: `node` could not make it smaller");
    }
}

/// The modules that the page cannot do without, so that the browser asks for them all at a time.
fn loaded_at_once(pages: &[Page]) -> Vec<String> {
    let mut found = vec!["src/main.js".to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        at += 1;
        let Some(page) = pages.iter().find(|page| page.path == path && path.starts_with("src/")) else {
            continue;
        };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let source = String::from_utf8_lossy(&page.bytes).into_owned();
        let imports = source.lines().filter_map(|line| line.strip_suffix("';")?.split_once(" from '"));
        for (_, name) in imports {
            if !name.starts_with('.') {
                let next = format!("packages/{}.mjs", name.rsplit('/').next().unwrap_or(name));
                if !found.contains(&next) {
                    found.push(next);
                }
                continue;
            }
            let mut parts: Vec<&str> = folder.split('/').collect();
            for part in name.split('/') {
                match part {
                    "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            let next = parts.join("/");
            if !found.contains(&next) {
                found.push(next);
            }
        }
    }
    found
}

fn write_table(out: &Path, pages: Vec<Page>, index: &str, map: &str) {
    let mut hash = Sha256::new();
    for page in &pages {
        hash.update(page.path.as_bytes());
        hash.update(&page.bytes);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let root = format!("/at/{hash}");
    let map = map.replace("@ROOT@", &root);
    let preloads: String = loaded_at_once(&pages)
        .iter()
        .map(|path| format!("<link rel=\"modulepreload\" href=\"{root}/{path}\">\n"))
        .collect();
    let index = index.replace("@IMPORTS@", &map).replace("@PRELOADS@", &preloads).replace("@ROOT@", &root);
    let map_hash = format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(map.as_bytes())));
    let written = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).unwrap_or_else(|e| fail(name, &e));
        path.display().to_string()
    };
    let mut table = String::new();
    let _ = writeln!(table, "/// Below it every file is served, under a name that changes with them.");
    let _ = writeln!(table, "pub(crate) const ROOT: &str = {root:?};");
    let _ = writeln!(table, "/// Of the import map, the one script that stands in the page itself.");
    let _ = writeln!(table, "pub(crate) const IMPORTS_HASH: &str = {map_hash:?};");
    let _ = writeln!(table, "/// The page; empty: this program was built without it.");
    let _ = writeln!(
        table,
        "pub(crate) const INDEX: &str = include_str!({:?});",
        written("index.html", index.as_bytes())
    );
    let _ = writeln!(table, "pub(crate) static FILES: &[Asset] = &[");
    let files: Vec<String> =
        pages.iter().enumerate().map(|(n, page)| written(&n.to_string(), &page.bytes)).collect();
    compress(out, files.len());
    for (page, file) in pages.iter().zip(files) {
        let smaller = |name: &str| {
            let small = format!("{file}.{name}");
            if Path::new(&small).exists() {
                format!("Some(include_bytes!({small:?}))")
            } else {
                "None".into()
            }
        };
        let (brotli, gzip) = (smaller("br"), smaller("gz"));
        let _ = writeln!(
            table,
            "    Asset {{ path: {:?}, bytes: include_bytes!({file:?}), brotli: {brotli}, gzip: {gzip} }},",
            page.path,
        );
    }
    let _ = writeln!(table, "];");
    written("assets.rs", table.as_bytes());
}

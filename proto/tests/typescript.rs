//! The documents as the page of the web view reads them: `web/src/documents.d.ts` is made from their structs, so that the page
//! is checked against what is written here. `SESSD_GOLDEN=write` writes it anew.

use sessd_proto::docs::{self, Vocabulary};
use std::fmt::Write as _;
use std::path::Path;

/// The files and structs the page reads.
const READ: &[(&str, &[&str])] = &[
    ("end.rs", &["EndDoc"]),
    ("session.rs", &["ViewDoc", "SizeDoc", "ActivityDoc", "SessionDoc", "InfoDoc", "MoreDoc", "ForwardDoc"]),
    ("status.rs", &["StatusDoc", "LinkDoc", "HostDoc"]),
];
/// What a vocabulary's words are.
type Spelled = fn() -> Vec<&'static str>;

/// The vocabularies, each with its name.
const WORDS: &[(&str, Spelled)] = &[
    ("State", spelled::<docs::State>),
    ("LinkState", spelled::<docs::LinkState>),
    ("Reason", spelled::<docs::Reason>),
    ("Reap", spelled::<docs::Reap>),
    ("SizePolicy", spelled::<docs::SizePolicy>),
];

fn spelled<V: Vocabulary>() -> Vec<&'static str> {
    V::WORDS.iter().map(|(_, word)| *word).collect()
}

/// The body of `struct name`.
fn body<'a>(source: &'a str, name: &str) -> &'a str {
    let at = source.find(&format!("pub struct {name} {{")).unwrap_or_else(|| panic!("no struct {name}"));
    let rest = &source[at..];
    let open = rest.find('{').unwrap();
    &rest[open + 1..rest.find("\n}").unwrap()]
}

fn type_of(rust: &str) -> String {
    let inner = |outer: &str| rust.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inner("Option<") {
        return format!("{} | null", type_of(inner));
    }
    if let Some(inner) = inner("Vec<") {
        return format!("{}[]", type_of(inner));
    }
    if let Some(word) = inner("Word<") {
        assert!(WORDS.iter().any(|(name, _)| *name == word), "a word of no vocabulary: {word}");
        return word.to_owned();
    }
    match rust {
        "String" => "string",
        "bool" => "boolean",
        "u16" | "u32" | "u64" | "i32" | "usize" | "f64" => "number",
        "BTreeMap<String, String>" => "Record<string, string>",
        name if READ.iter().any(|(_, names)| names.contains(&name)) => name,
        other => panic!("no type for {other}"),
    }
    .to_owned()
}

fn written() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs");
    let mut out = String::from(
        "// Made from `proto/src/docs` by `SESSD_GOLDEN=write cargo test -p sessd-proto --test typescript`. Do not edit.\n\n",
    );
    for (name, words) in WORDS {
        let spelled: Vec<_> = words().iter().map(|word| format!("'{word}'")).collect();
        // One of a newer version is kept as it came.
        let _ = writeln!(out, "export type {name} = {} | (string & {{}});", spelled.join(" | "));
    }
    for (file, names) in READ {
        let source = std::fs::read_to_string(folder.join(file)).unwrap();
        for name in *names {
            let mut bases = String::new();
            let mut fields = String::new();
            let mut flat = false;
            for line in body(&source, name).lines().map(str::trim) {
                flat |= line.contains("serde(flatten)");
                let Some((field, rust)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": "))
                else {
                    continue;
                };
                let rust = rust.trim_end_matches(',');
                if std::mem::take(&mut flat) {
                    bases += if bases.is_empty() { " extends " } else { ", " };
                    bases += rust;
                } else {
                    let _ = writeln!(fields, "  {field}: {};", type_of(rust));
                }
            }
            let _ = writeln!(out, "\nexport interface {name}{bases} {{\n{fields}}}");
        }
    }
    out
}

#[test]
fn the_page_reads_the_documents_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/src/documents.d.ts");
    let made = written();
    if std::env::var("SESSD_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{} is not of these documents: write it anew", path.display());
}

//! Holds the borders of the modules: who may use whom, and what the inner ones never touch.
//!
//! Every path in `src` that begins at the crate's root, by `crate::` or by enough `super::`, is read and held to [`MAY_USE`].
//! Words in comments and strings do not count; words in unit tests do, because a module whose tests need its users is not
//! a module. A name that the table does not know is a fault too, so a new module begins with a line here.

use std::collections::BTreeSet;
use std::path::Path;

/// Which modules each module may use, besides itself.
const MAY_USE: [(&str, &[&str]); 21] = [
    ("name", &[]),
    ("record", &["name"]),
    ("wire", &["name", "record"]),
    ("zone", &["name", "record"]),
    ("engine", &["zone", "wire", "name", "record"]),
    // How values are written as octets, on disk and in what is kept of documents.
    ("octets", &["name"]),
    ("spec", &["octets", "name", "record"]),
    ("registry", &["spec", "name", "record"]),
    ("compile", &["registry", "zone", "record", "name"]),
    ("publish", &["zone"]),
    ("watch", &["spec", "registry", "compile", "publish", "state", "control", "observe"]),
    // What is served is saved as it is, to be there again before documents are read; spaces are saved with what they said.
    ("state", &["registry", "zone", "spec", "octets", "name", "record"]),
    ("control", &[]),
    ("explain", &["zone", "registry", "engine", "name", "record"]),
    ("health", &["control", "observe"]),
    ("census", &["zone", "name"]),
    ("serve", &["engine", "publish", "forward", "control", "explain", "observe", "census"]),
    ("forward", &["wire", "zone", "engine", "observe", "name", "record"]),
    ("observe", &[]),
    ("life", &[]),
    ("cli", ALL),
];

const ALL: &[&str] = &[
    "name", "record", "wire", "zone", "engine", "spec", "registry", "compile", "publish", "watch", "state", "control",
    "explain", "health", "census", "serve", "forward", "observe", "life",
];

/// The modules that own no socket, file, clock, log or thread.
const INNER: [&str; 9] = ["name", "octets", "record", "wire", "zone", "engine", "spec", "registry", "compile"];

/// What an inner module never names; its unit tests may.
const OUTSIDE: [&str; 13] = [
    "tokio",
    "socket2",
    "libc",
    "rustix",
    "tracing",
    "tracing_subscriber",
    "arc_swap",
    "UdpSocket",
    "TcpStream",
    "SystemTime",
    "Instant",
    "thread",
    "OnceLock",
];

#[test]
fn arrows_between_modules_never_turn_back() {
    let mut wrong = Vec::new();
    for (path, module, text) in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{path}: the table has no module `{module}`"));
            continue;
        };
        for used in roots(&text, depth_of(&path)) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{path}: `{module}` may not use `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn inner_modules_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (path, module, text) in sources().into_iter().filter(|(_, module, _)| INNER.contains(&module.as_str())) {
        if path.contains("tests") {
            continue;
        }
        let tokens = tokens(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        let words: BTreeSet<&str> = tokens.iter().map(String::as_str).collect();
        wrong.extend(
            OUTSIDE.iter().filter(|word| words.contains(*word)).map(|word| format!("{path}: {module} names {word}")),
        );
        let files = tokens.windows(4).any(|four| four == ["std", ":", ":", "fs"] || four == ["std", ":", ":", "env"]);
        wrong.extend(files.then(|| format!("{path}: {module} names std::fs or std::env")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every source file but the crate's roots: its path below `src`, its module, its text.
fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.extension().is_some_and(|extension| extension == "rs") && below != "lib.rs" && below != "main.rs" {
                let module = below.split(['/', '.']).next().unwrap().to_owned();
                found.push((below, module, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 5, "the sources were not found");
    found
}

/// How many modules deep a file's own is: `zone/find.rs` 2, `zone/mod.rs` and `name.rs` 1.
fn depth_of(path: &str) -> usize {
    let depth = path.split('/').count();
    if path.ends_with("/mod.rs") { depth - 1 } else { depth }
}

/// What the file's paths from the crate's root begin with.
fn roots(text: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut found = BTreeSet::new();
    let mut braces = 0_usize;
    // The brace depths at which inline modules were opened.
    let mut inline: Vec<usize> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).and_then(|at| tokens.get(at)).map_or("", String::as_str);
        match token.as_str() {
            "{" => {
                if before(2) == "mod" {
                    inline.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces -= 1;
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
            }
            "crate" if before(1) != "(" => resolve(&tokens, index + 1, 0, &mut found),
            "super" if before(1) != ":" && before(1) != "(" => {
                resolve(&tokens, index, depth + inline.len(), &mut found)
            }
            _ => {}
        }
    }
    found
}

/// Adds what the path at `index` names at the crate's root, which is `levels` times `super` away.
fn resolve(tokens: &[String], mut index: usize, levels: usize, found: &mut BTreeSet<String>) {
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    while at(index) == ":" {
        index += 1;
    }
    match at(index) {
        "super" if levels > 0 => resolve(tokens, index + 1, levels - 1, found),
        "{" => {
            let mut depth = 0_usize;
            for inner in index.. {
                match at(inner) {
                    "{" => depth += 1,
                    "}" if depth == 1 => break,
                    "}" => depth -= 1,
                    "" => break,
                    _ => {}
                }
                if depth == 1 && matches!(at(inner), "{" | ",") && !matches!(at(inner + 1), "}" | "") {
                    resolve(tokens, inner + 1, levels, found);
                }
            }
        }
        word if levels == 0 && !word.is_empty() => {
            found.insert(word.to_owned());
        }
        _ => {}
    }
}

/// Words and single punctuation marks, without comments, strings and character literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(length) = literal(rest) {
            rest = &rest[length..];
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// The length of the string or character literal that `rest` begins with.
fn literal(rest: &str) -> Option<usize> {
    let unprefixed = rest.strip_prefix(['b', 'c']).filter(|after| after.starts_with(['"', '\'', 'r'])).unwrap_or(rest);
    let prefix = rest.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(prefix + 1 + hashes + 1 + body.find(&end)? + end.len());
    }
    let quote = unprefixed.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let body = &unprefixed[1..];
    // A lifetime is no literal: its second character is no quote, and the first is no backslash.
    if quote == '\'' && !body.starts_with('\\') && body.chars().nth(1) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    for (at, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(prefix + 1 + at + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = r##"
        //! `crate::cli` in a comment does not count.
        use crate::{name::Name, record::{Rtype, Ttl}, zone};
        use super::super::engine;
        use super::{super::wire::Writer, find};
        const TEXT: &str = "crate::watch"; const RAW: &str = r#"crate::state"#; const C: char = '"';
        pub(crate) fn f<'a>(x: &'a crate::spec::Fault) {}
        mod tests { use super::super::super::publish; use super::super::sibling; }
    "##;
    let found: Vec<String> = roots(text, 2).into_iter().collect();
    assert_eq!(found, ["engine", "name", "publish", "record", "spec", "wire", "zone"]);
    assert_eq!(roots("mod tests { use super::*; }", 1), BTreeSet::new());
    assert_eq!(roots("use super::zone;", 1).into_iter().collect::<Vec<_>>(), ["zone"]);
}

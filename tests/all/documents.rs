//! Keeps the documents true: what they link to is there, and every test that they name is a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::examples::repository;

/// The README and what is in `docs`.
fn documents() -> Vec<PathBuf> {
    let mut documents = files(&repository().join("docs"));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.push(repository().join("README.md"));
    assert!(documents.len() > 5, "{documents:?}");
    documents
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_test_that_the_protocol_document_names_is_there() {
    let document = fs::read_to_string(repository().join("docs/protocol.md")).unwrap();
    let sources = [repository().join("src"), repository().join("tests/all")].map(|root| files(&root)).concat();
    let tests: BTreeSet<String> = sources
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .flat_map(|path| tests_of(&fs::read_to_string(path).unwrap()))
        .collect();
    let pages: BTreeSet<&str> = sources.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    // Names of tests have words, names of pages an ending; nothing else that is quoted there has either.
    let named: Vec<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with(".txt") || word.split('_').count() > 2 && !word.contains(['/', ' ']))
        .collect();
    assert!(named.len() > 80, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name) && !pages.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| RFC"));
    for row in rows {
        assert!(row.rsplit(" | ").next().is_some_and(|tests| tests.contains('`')), "a row without a test: {row}");
    }
}

/// The functions that follow `#[test]`.
fn tests_of(source: &str) -> Vec<String> {
    let after = source.split("#[test]").skip(1);
    let names = after.filter_map(|text| text.split_once("fn ")?.1.split_once('(').map(|(name, _)| name.to_owned()));
    // Some are made by a macro, with their names beside each other.
    let made = source.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    names.chain(made.filter(|word| word.starts_with("rfc_")).map(ToOwned::to_owned)).collect()
}

#[test]
fn what_the_documents_link_to_is_there() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
            if target.starts_with("http") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let is_there = path.exists()
                && (heading.is_empty() || headings(&fs::read_to_string(&path).unwrap()).contains(heading));
            if !is_there {
                missing.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The headings of a document, as links to them are written.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
    let letters = |heading: &str| heading.to_lowercase().replace(' ', "-");
    headings
        .map(letters)
        .map(|heading| heading.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect())
        .collect()
}

#[test]
fn the_readme_is_a_page_and_every_flag_is_documented() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.lines().count() < 200, "what is not for a newcomer belongs into docs/");
    let help = std::process::Command::new(crate::process::SPACEDNS).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let operating = fs::read_to_string(repository().join("docs/operating.md")).unwrap();
    let flags = help.lines().filter_map(|line| {
        let flag = line.trim();
        flag.starts_with("--").then(|| flag.split([' ', '<', '=', '[']).next().unwrap_or(flag))
    });
    let missing: Vec<&str> =
        flags.filter(|flag| !["--help", "--version"].contains(flag) && !operating.contains(flag)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

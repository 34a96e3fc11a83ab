//! Rules of the house that no other tool checks. Each failure says where, and why the rule is there.
#![allow(clippy::unwrap_used, reason = "a rule that cannot be checked has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand};

/// A text file of the repository, by its path from the root.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All text files that git would not ignore.
fn files() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Path::cmp)
        .build()
    {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(entry.path()) {
            let path = entry.path().strip_prefix(&root).unwrap();
            files.push(File { path: path.to_str().unwrap().to_owned(), text });
        }
    }
    assert!(files.iter().any(|file| file.path == "policy/src/lib.rs"), "the walk found no sources");
    files
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

/// Fails with all `violations` at once and the reason for the rule.
#[track_caller]
fn check(rule: &str, why: &str, violations: impl IntoIterator<Item = String>) {
    let listed = violations.into_iter().fold(String::new(), |mut listed, violation| {
        write!(listed, "\n  {violation}").unwrap();
        listed
    });
    assert!(listed.is_empty(), "{rule}, because {why}:{listed}\n");
}

#[test]
fn every_module_says_what_it_is_for() {
    check(
        "a module's first line is `//!` and what the module is for",
        "who opens a file must know within a line whether it is the one",
        files()
            .into_iter()
            .filter(|file| file.is("rs") && !file.text.starts_with("//! "))
            .map(|file| file.path),
    );
}

#[test]
fn files_stay_readable_in_one_go() {
    const MAX_LINES: usize = 450;
    check(
        "a source file has at most 450 lines",
        "a longer one has more than one concern; split it along them",
        files()
            .into_iter()
            .map(|file| (file.text.lines().count(), file))
            .filter(|(lines, file)| file.is("rs") && *lines > MAX_LINES)
            .map(|(lines, file)| format!("{}: {lines} lines", file.path)),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, or this file would be the first to fail.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("dbg", "!(")];
    check(
        "no file has a mark of unfinished work",
        "what is worth doing is done or is an issue; a mark in the code is neither",
        lines_with(|line| marks.iter().any(|mark| line.contains(mark))),
    );
}

#[test]
fn no_path_of_somebodys_machine() {
    let roots = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    check(
        "no file names a path of one machine",
        "it works there and nowhere else, and tells the world about somebody's machine",
        lines_with(|line| roots.iter().any(|root| starts_a_path(line, root))),
    );
}

#[test]
fn no_merge_is_half_done() {
    let marks = ["<".repeat(7), ">".repeat(7)];
    check(
        "no file has marks of a merge in it",
        "two versions of a place are settled by whoever merges them",
        lines_with(|line| marks.iter().any(|mark| line.starts_with(mark.as_str()))),
    );
}

/// Whether `line` has `root` where a path begins, and not within a longer path or a URL.
fn starts_a_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '/'))
    })
}

fn lines_with(mut bad: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files() {
        if file.path == "Cargo.lock" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if bad(line) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_documents_are_there() {
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"];
    check(
        "these documents exist",
        "people look for them under these names, to use the software, change it and upgrade it",
        documents.iter().filter(|name| !root().join(name).is_file()).map(|name| (*name).to_owned()),
    );
}

#[test]
fn arrows_between_crates_point_one_way() {
    // Who may depend on which crates of the workspace. Tools and tests are at the end of all arrows.
    let allowed = BTreeMap::from([
        ("quiesce-policy", &[][..]),
        ("quiesce-filter", &["quiesce-policy"]),
        ("quiesce-filter-learning", &["quiesce-filter"]),
        ("quiesce", &["quiesce-policy"]),
        ("quiesce-guard", &["quiesce-policy"]),
        ("quiesce-integration", &["quiesce-policy", "quiesce-filter", "quiesce-guard", "quiesce"]),
        ("quiesce-noop-filter", &[]),
        ("quiesce-fuzz", &["quiesce-policy"]),
        ("xtask", &[]),
    ]);
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();

    let mut violations = Vec::new();
    for package in &metadata.packages {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            violations.push(format!("{}: a new crate; say here what it may depend on", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|one| members.contains(one.name.as_str())) {
            if !allowed.contains(&dependency.name.as_str()) {
                violations.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    check(
        "crates depend on each other only as the table in xtask/tests/tidy.rs says",
        "policy must not know its callers, and what ships must not need what tests it",
        violations,
    );
}

#[test]
fn versions_and_lints_are_the_workspaces() {
    let mut violations = Vec::new();
    for package in &metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        if !manifest.contains("[lints]\nworkspace = true") {
            violations.push(format!("{}: [lints] workspace = true is missing", package.name));
        }
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            let inherited = manifest.lines().any(|line| {
                line.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with([' ', '.']) && rest.contains("workspace = true"))
            });
            if !inherited {
                violations.push(format!("{}: {name} names a version of its own", package.name));
            }
        }
    }
    check(
        "every crate takes lints and versions from the workspace",
        "two versions of one library ship twice, and a crate without the lints may panic in a proxy",
        violations,
    );
}

#[test]
fn recipes_are_one_line_each() {
    let justfile = std::fs::read_to_string(root().join("Justfile")).unwrap();
    let recipes = justfile.lines().filter(|line| line.ends_with(':') && !line.starts_with('#')).count();
    let commands: Vec<_> = justfile.lines().filter(|line| line.starts_with(' ')).collect();
    check(
        "a recipe is one line that calls cargo",
        "what `just` can do, everybody can do without it",
        (commands.len() != recipes)
            .then(|| format!("{recipes} recipes, {} lines", commands.len()))
            .into_iter()
            .chain(
                commands.iter().filter(|line| !line.trim().starts_with("cargo ")).map(ToString::to_string),
            ),
    );
}

/// The samples in a document: fenced blocks in a language that can be run or parsed, with the name
/// that the line above them gives.
fn samples(file: &File) -> Vec<(usize, Option<String>)> {
    const RUNNABLE: &[&str] = &["bash", "console", "json", "rust", "sh", "toml", "yaml"];
    let mut found = Vec::new();
    let mut inside = false;
    let mut above = "";
    for (number, line) in file.text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            if !inside && RUNNABLE.contains(&language.trim()) {
                let name = above.strip_prefix("<!-- sample: ").and_then(|rest| rest.strip_suffix(" -->"));
                found.push((number + 1, name.map(str::to_owned)));
            }
            inside = !inside;
        }
        above = line.trim();
    }
    found
}

#[test]
fn samples_in_documents_are_tested() {
    let files = files();
    let tests: String = files
        .iter()
        .filter(|file| file.is("rs") && file.path.contains("/tests/") && !file.path.starts_with("xtask/"))
        .map(|file| file.text.as_str())
        .collect();
    let mut violations = Vec::new();
    for document in files.iter().filter(|file| file.is("md")) {
        for (line, name) in samples(document) {
            match name {
                None => violations.push(format!(
                    "{}:{line}: no name; put `<!-- sample: name -->` on the line above",
                    document.path
                )),
                Some(name) if !tests.contains(&format!("\"{name}\"")) => {
                    violations.push(format!("{}:{line}: no test takes \"{name}\"", document.path));
                }
                Some(_) => {}
            }
        }
    }
    check("every sample in a document is run by a test", "samples that nobody runs stop working", violations);
}

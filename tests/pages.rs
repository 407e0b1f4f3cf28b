//! What the pages refer to is there: links lead somewhere, and files, functions, tests and rules exist by their names. What they tell
//! people to copy does what they say.

#![allow(clippy::unwrap_used)]

#[path = "pages/flux.rs"]
mod flux;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the tree with this extension, by their paths in it.
fn files(extension: &str) -> BTreeMap<String, String> {
    const SKIPPED: [&str; 3] = ["target", "corpus", "findings"];
    let (mut found, mut folders) = (BTreeMap::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// The page without its blocks of code.
fn prose(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The text without what is code in its sentences: a regular expression can look like a link.
fn without_code(text: &str) -> String {
    text.split("\n\n").flat_map(|paragraph| paragraph.split('`').step_by(2).chain(["\n\n"])).collect()
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(inner, _)| inner)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> HashSet<String> {
    let headings = prose(page);
    let headings = headings
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = files("md");
    let (mut seen, mut broken) = (0, vec![]);
    for (name, page) in &pages {
        let text = without_code(&prose(page));
        for link in between(&text, "](", ")").filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target =
                if path.is_empty() { root().join(name) } else { root().join(name).with_file_name("").join(path) };
            let has_anchor = |target: &PathBuf| {
                anchor.is_none_or(|anchor| fs::read_to_string(target).is_ok_and(|page| anchors(&page).contains(anchor)))
            };
            seen += 1;
            if !target.exists() || !has_anchor(&target) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(seen >= 100, "{seen} links were found: the pages are elsewhere");
    assert_eq!(broken, Vec::<String>::new());
}

/// The sources and what is named in them.
struct Code {
    files: BTreeMap<String, String>,
    words: HashSet<String>,
}

impl Code {
    fn read() -> Self {
        let files = files("rs");
        // Fields of the definition, of the chart and of its values are named there.
        let manifests = self::files("yaml");
        let texts = files.values().chain(manifests.values());
        let words = texts.flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let words = words.map(str::to_owned).collect();
        Self { files, words }
    }

    /// Whether what the page names is there, if it is a name of the code.
    fn has(&self, page: &str, name: &str) -> Option<bool> {
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if Path::new(name).extension().is_some_and(|extension| extension == "rs") && !name.contains('*') {
            Some(self.files.keys().any(|path| format!("/{path}").ends_with(&format!("/{name}"))))
        } else if name.ends_with('/') {
            let beside = root().join(page).with_file_name("").join(name).exists();
            Some(beside || self.files.keys().any(|path| format!("/{path}").contains(&format!("/{name}"))))
        } else if is_word && name.contains(|c: char| c == '_' || c.is_ascii_lowercase()) {
            Some(self.words.contains(name))
        } else {
            None
        }
    }

    fn has_rule(&self, rule: &str) -> bool {
        let quoted = format!("\"{rule}\"");
        self.files.iter().any(|(path, text)| path.starts_with("tests/") && text.contains(&quoted))
    }
}

#[test]
fn names_in_pages_about_the_code_exist() {
    let code = Code::read();
    let (mut seen, mut missing) = (0, vec![]);
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "tests/README.md"] {
        let text = prose(&fs::read_to_string(root().join(page)).unwrap());
        let names = text.split('`').skip(1).step_by(2).filter_map(|name| Some((name, code.has(page, name)?)));
        let rules = between(&text, "«", "»").map(|rule| (rule, code.has_rule(rule)));
        for (name, exists) in names.chain(rules) {
            seen += 1;
            if !exists {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(seen >= 200, "{seen} names were found: the pages are elsewhere");
    assert_eq!(missing, Vec::<String>::new());
}

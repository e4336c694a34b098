//! Links between documents lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders with documents that people read; the others are made, or fetched.
const FOLDERS: [&str; 6] = ["", "collector-config", "docs", "examples", "packaging", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::new();
    let mut left: Vec<(PathBuf, bool)> =
        FOLDERS.map(|folder| (root().join(folder), !folder.is_empty())).into();
    while let Some((folder, is_deep)) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && is_deep {
                left.push((path, true));
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.insert(path);
            }
        }
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What headings of a page are linked by, as GitHub makes it.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

fn broken(page: &Path) -> Vec<String> {
    let text = prose(page);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_broken = |link: &&str| {
        if link.contains("://") || link.starts_with("mailto:") {
            return false;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
        !path.exists() || !anchor.is_empty() && !anchors(&path).contains(anchor)
    };
    let name = page.strip_prefix(root()).unwrap().display();
    links.filter(is_broken).map(|link| format!("{name}: {link}")).collect()
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 40, "{pages:?}");
    let broken: Vec<String> = pages.iter().flat_map(|page| broken(page)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_document_is_in_the_list_of_documents() {
    let list = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    let names = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let missing: Vec<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name != "README.md" && !list.contains(&format!("({name}")))
        .filter(|name| !(name == "adr" && list.contains("(adr/)")))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not lead to {missing:?}");
}

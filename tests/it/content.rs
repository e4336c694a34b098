//! What was said is kept only where it was asked for, and decides nothing.

use agno_otel::Settings;

use crate::support::program::every_fixture;
use crate::support::{fixtures, gather, gather_content};

#[test]
fn what_is_not_asked_for_is_not_even_kept() {
    let source = fixtures().join("agno/3.1.10/team_run.db");
    assert!(gather(&[&source]).forest.runs.iter().all(|run| run.content.is_none()));
    assert!(gather_content(&[&source]).forest.runs.iter().all(|run| run.content.is_some()));
}

#[test]
fn keeping_content_changes_no_span() {
    for source in every_fixture() {
        let [without, with] = [gather(&[&source]), gather_content(&[&source])];
        assert_eq!(without.oddities, with.oddities, "{}", source.display());
        assert_eq!(
            without.spans(Settings::default()),
            with.spans(Settings::default()),
            "{}",
            source.display()
        );
    }
}

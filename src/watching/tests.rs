use super::query::{is, moved_by, pattern};
use super::search::Search;
use crate::otel::names;

#[test]
fn patterns_are_names_with_stars_and_nothing_else() {
    assert_eq!(pattern(&["gpt-5*", "o3.1", "a|b"]), r#""gpt-5.*|o3\\.1|a\\|b""#);
    assert_eq!(is(names::AGENT_NAME, "a \"b\"\\"), r#"gen_ai_agent_name="a \"b\"\\""#);
}

#[test]
fn what_moved_is_the_last_less_the_smallest_of_each_series() {
    assert_eq!(
        moved_by(&["job"], &names::COST, "a=\"b\"", "1h"),
        "sum by (job) (last_over_time(agno_cost_usd_total{a=\"b\"}[1h]) - min_over_time(agno_cost_usd_total{a=\"b\"}[1h]))"
    );
}

#[test]
fn a_search_has_its_tags_in_words_and_in_an_address() {
    let search = Search::as_labelled(&[names::AGENT_NAME]).and_is("agno.x", "a \"b\"");
    let service = r#"$labels.job | reReplaceAll "^.*/" """#;
    assert_eq!(
        search.words(),
        format!(
            r#"Jaeger: service {{{{ {service} }}}} gen_ai.agent.name={{{{ $labels.gen_ai_agent_name | printf "%q" }}}} agno.x={{{{ "a \"b\"" | printf "%q" }}}}"#
        )
    );
    let url = search.url("http://j", "1h");
    assert!(url.starts_with(&format!("http://j/search?service={{{{ {service} | urlquery }}}}&lookback=1h&limit=100&tags=%7B%22gen_ai.agent.name%22%3A{{{{")), "{url}");
    assert!(url.ends_with(r#"%2C%22agno.x%22%3A{{ "a \"b\"" | printf "%q" | urlquery }}%7D"#), "{url}");
    assert!(!Search::all().url("http://j", "1h").contains("tags"));
}

//! What shells and readers get is what the commands are: `completions`, `man`, `--version`.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::program::{agno_otel, run};

/// Every command with the names that lead to it: `dead-letters list`.
pub(crate) fn commands() -> Vec<Vec<String>> {
    fn within(path: &[String], all: &mut Vec<Vec<String>>) {
        let help = run(agno_otel(path).arg("--help")).expect_code(0).stdout;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            let is_name = line.starts_with("  ") && !line.starts_with("   ");
            let name = line.split_whitespace().next().filter(|name| is_name && *name != "help");
            if let Some(name) = name {
                let path = [path, &[name.to_owned()]].concat();
                within(&path, all);
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    within(&[], &mut all);
    assert!(all.len() > 12, "{all:?}");
    all
}

/// The long flags of a command, as its help has them.
pub(crate) fn flags(path: &[String]) -> BTreeSet<String> {
    let help = run(agno_otel(path).arg("--help")).expect_code(0).stdout;
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let words =
        lines.flat_map(|line| line.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-')));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_page_that_tells_of_each_of_its_flags() {
    let folder = tempfile::TempDir::new().unwrap();
    run(agno_otel(["man", "--to"]).arg(folder.path())).expect_code(0);
    let mut expected = BTreeSet::from(["agno-otel.1".to_owned()]);
    for path in commands() {
        let name = format!("agno-otel-{}.1", path.join("-"));
        let page = std::fs::read_to_string(folder.path().join(&name)).unwrap();
        assert!(page.is_ascii(), "{name}: a reader would have to know its encoding");
        assert!(page.contains(&format!(".TH agno-otel-{} 1", path.join("-"))), "{page}");
        for flag in flags(&path) {
            assert!(page.contains(&flag.replace('-', "\\-")), "{flag} in {name}");
        }
        assert_eq!(run(agno_otel(["man"]).args(&path)).expect_code(0).stdout, page);
        expected.insert(name);
    }
    let written = std::fs::read_dir(folder.path()).unwrap();
    let written: BTreeSet<_> =
        written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(written, expected);
    let whole = run(&mut agno_otel(["man"])).expect_code(0).stdout;
    assert!(whole.contains("130, 143") && whole.contains("AGNO_OTEL_CONFIG"), "{whole}");
}

#[test]
fn what_is_no_command_has_no_page_and_a_folder_must_be_there() {
    run(&mut agno_otel(["man", "dead-letters", "burn"]))
        .expect_code(2)
        .expect_words(&["dead-letters burn", "--help"]);
    run(&mut agno_otel(["man", "--to", "/nowhere"])).expect_code(1).expect_words(&["/nowhere"]);
    run(&mut agno_otel(["completions", "csh"])).expect_code(2).expect_words(&["csh", "bash"]);
}

/// What bash completes at the end of this line, with the script of this binary.
fn completed(line: &[&str]) -> BTreeSet<String> {
    let script = "source /dev/stdin; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  $(complete -p agno-otel | sed 's/.*-F \\([^ ]*\\) .*/\\1/') agno-otel \"${@: -1}\" \"${@: -2:1}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let scripts = run(&mut agno_otel(["completions", "bash"])).expect_code(0).stdout;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).args(line);
    let ended = crate::support::program::run_with_input(&mut bash, scripts.as_bytes()).expect_code(0);
    assert_eq!(ended.stderr, "");
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let names: BTreeSet<String> =
        commands().into_iter().filter(|path| path.len() == 1).map(|mut path| path.remove(0)).collect();
    let first = completed(&["agno-otel", ""]);
    assert!(names.is_subset(&first), "{first:?}");
    assert_eq!(completed(&["agno-otel", "pl"]), BTreeSet::from(["plan".to_owned()]));
    let of_plan = completed(&["agno-otel", "plan", "--"]);
    assert!(flags(&["plan".to_owned()]).is_subset(&of_plan), "{of_plan:?}");
    let modes = completed(&["agno-otel", "plan", "--content", ""]);
    assert_eq!(modes, ["full", "masked", "none"].map(str::to_owned).into());
    assert!(completed(&["agno-otel", "dead-letters", "r"]).contains("retry"));
}

#[test]
fn every_shell_gets_a_script_of_its_own_with_every_command() {
    let mut scripts = BTreeSet::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&mut agno_otel(["completions", shell])).expect_code(0).stdout;
        for path in commands() {
            assert!(script.contains(path.last().unwrap()), "{path:?} for {shell}");
        }
        scripts.insert(script);
    }
    assert_eq!(scripts.len(), 5);
}

#[test]
fn the_short_version_is_a_line_and_the_long_one_says_how_it_was_built() {
    let line = concat!("agno-otel ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&mut agno_otel(["-V"])).expect_code(0).stdout, line);
    let long = run(&mut agno_otel(["--version"])).expect_code(0).stdout;
    let (first, facts) = long.split_at(line.len());
    assert_eq!(first, line);
    let names: Vec<&str> = facts.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(
        names,
        ["commit", "rustc", "target", "features", "reads", "prices", "conventions", "state file"]
    );
    for (name, word) in [
        ("rustc", env!("CARGO_PKG_RUST_VERSION")),
        ("target", std::env::consts::ARCH),
        ("features", "cli, http, live, postgres, sqlite"),
        ("prices", agno_otel::money::TABLE),
        ("conventions", agno_otel::otel::names::CONVENTIONS),
        ("reads", agno_otel::framework::agno::VERSIONS),
        ("state file", &agno_otel::state::VERSION.to_string()),
    ] {
        let fact = facts.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(fact.contains(word), "{word} in {fact}");
    }
}

#[test]
fn who_asks_for_nothing_gets_the_first_commands() {
    let ended = run(&mut agno_otel::<&str>([])).expect_code(2);
    assert_eq!(ended.stdout, "");
    for command in ["demo", "show agno.db", "send agno.db", "--help"] {
        assert!(ended.stderr.contains(&format!("agno-otel {command}")), "{}", ended.stderr);
    }
    assert!(ended.stderr.lines().count() < 10, "{}", ended.stderr);
}

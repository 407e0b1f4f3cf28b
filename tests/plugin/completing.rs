//! Completion by Cobra's protocol, help, and the program's names.

use crate::server::{Answer, Server};
use crate::tasks::{failed, object, waiting};
use crate::{Said, named, said};
use serde_json::json;

/// The candidates for the last word, and the directive.
fn candidates(server: &Server, words: &[&str]) -> String {
    let output = named("kubectl_complete-retryable", server).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_command_line_is_completed() {
    let queue = object("TaskQueue", "mail", &json!({"spec": {}}));
    let server =
        Server::with(&[("retryabletasks", vec![waiting("import"), failed("export", 9)]), ("taskqueues", vec![queue])]);
    let cases: [(&[&str], &str); 15] = [
        (&["w"], "wait\nwhy\nworkers\n:4\n"),
        (&["queue", ""], "get\nhelp\nhold\nlist\nresume\n:4\n"),
        (&["why", ""], "export\nimport\n:4\n"),
        (&["-n", "shop", "why", "i"], "import\n:4\n"),
        (&["-n", "elsewhere", "why", "i"], ":4\n"),
        (&["queue", "hold", ""], "mail\n:4\n"),
        (&["list", "--state", "S"], "Succeeded\nSuspended\n:4\n"),
        (&["list", "-o", ""], "json\nname\nwide\nyaml\n:4\n"),
        (&["list", "--sort", "a"], "age\nattempts\n:4\n"),
        (&["create", "x", "--queue", ""], "mail\n:4\n"),
        (&["cancel", "--d"], "--dry-run\n:4\n"),
        (&["list", "--co"], "--context\n:4\n"),
        (&["list", "--context", ""], "test\n:4\n"),
        (&["simulate", ""], ":0\n"),
        (&["create", "x", "--", "s"], ":0\n"),
    ];
    for (words, expected) in cases {
        let expected = if words == ["queue", ""] { "get\nhold\nlist\nresume\n:4\n" } else { expected };
        assert_eq!(candidates(&server, words), expected, "{words:?}");
    }
    let fingerprints = candidates(&server, &["run-again", "--fingerprint", ""]);
    assert_eq!(fingerprints.lines().count(), 2, "one cause, and the directive: {fingerprints}");
}

#[test]
fn namespaces_are_completed_also_after_a_comma() {
    let names = ["shop", "billing", "billing-test"];
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    let list = json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {}, "items": items});
    let server = Server::new(move |_| Answer::Json(200, list.clone()));
    assert_eq!(candidates(&server, &["list", "-n", ""]), "billing\nbilling-test\nshop\n:4\n");
    assert_eq!(candidates(&server, &["list", "-n", "shop,b"]), "shop,billing\nshop,billing-test\n:4\n");
}

#[test]
fn a_cluster_that_does_not_answer_has_no_names() {
    let refuses = Server::new(|_| Answer::Nothing);
    assert_eq!(candidates(&refuses, &["why", ""]), ":4\n");
}

#[test]
fn every_verb_has_help_with_an_example() {
    let server = Server::new(|_| Answer::Nothing);
    let help = said(&server, &["--help"]).out;
    assert!(help.contains("Usage: kubectl retryable [OPTIONS] <COMMAND>"), "{help}");
    let groups: [(&[&str], &str); 3] = [(&[], &help), (&["queue"], ""), (&["schedule"], "")];
    let mut count = 0;
    for (group, text) in groups {
        let text = if text.is_empty() { said(&server, &[group, &["--help"]].concat()).out } else { text.to_owned() };
        let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let verbs = commands.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help");
        for verb in verbs.filter(|verb| group.is_empty() <= !matches!(*verb, "queue" | "schedule")) {
            let Said { code, out, .. } = said(&server, &[group, &[verb, "--help"]].concat());
            let example = format!(
                "  kubectl retryable {}{verb}",
                group.iter().flat_map(|group| [*group, " "]).collect::<String>()
            );
            assert!(
                code == Some(0) && out.contains("Examples:\n") && out.contains(&example),
                "{group:?} {verb}: {out}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 25, "verbs");
}

#[test]
fn the_name_says_which_program_it_is() {
    let server = Server::with(&[]);
    let version = |name: &str, args: &[&str]| {
        String::from_utf8(named(name, &server).args(args).output().unwrap().stdout).unwrap()
    };
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(version("kubectl-retryable", &["version", "--client"]), format!("Client:      {own}\n"));
    assert_eq!(version("retryable-tasks", &["--version"]), format!("retryable-tasks {own}\n"));
    assert_eq!(version("/opt/kubectl-retryable", &["--version"]), format!("kubectl retryable {own}\n"));
}

#[test]
fn without_a_cluster_simulate_and_convert_work_all_the_same() {
    let server = Server::new(|_| Answer::Nothing);
    let task = "apiVersion: retryable.dev/v1alpha1\nkind: RetryableTask\nmetadata: {name: x}\nspec: {image: busybox, maxRetries: 0}\n";
    let Said { code, out, .. } = crate::said_to(&server, &["simulate", "-"], task);
    assert!(code == Some(0) && out.contains("Failed after 1 attempt and 0s: RetriesExhausted"), "{out}");
    assert!(server.lines().is_empty());
}

#[test]
fn a_job_of_the_cluster_is_converted() {
    let container = json!({"name": "c", "image": "busybox"});
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, "backoffLimit": 2});
    let mut job = object("Job", "import", &json!({"spec": spec}));
    job["apiVersion"] = json!("batch/v1");
    let server = Server::with(&[("jobs", vec![job])]);
    let Said { code, out, err } = said(&server, &["convert", "--from", "job/import"]);
    assert!(
        matches!(code, Some(0 | 2)) && out.contains("kind: RetryableTask\n") && out.contains("maxRetries: 2\n"),
        "{out}{err}"
    );
    let wrong = said(&server, &["convert", "--from", "import"]).err;
    assert!(wrong.starts_with("error: \"import\" is not KIND/NAME"), "{wrong}");
    let missing = said(&server, &["convert", "--from", "job/nothing"]).err;
    assert_eq!(missing, "error: get Job shop/nothing: jobs \"nothing\" not found\n");
}

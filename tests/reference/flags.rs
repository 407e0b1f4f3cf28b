//! The command line, from its own help.

use crate::page::{cell, code, table as markdown};
use std::process::Command;

#[derive(Default)]
struct Flag {
    /// With its short form and the name of its value.
    name: String,
    variable: Option<String>,
    default: Option<String>,
    meaning: String,
    values: Vec<String>,
}

/// The help of a command, or of the program itself.
fn help(command: &str) -> String {
    let arguments = Some(command).filter(|command| !command.is_empty()).into_iter().chain(["--help"]);
    let mut program = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"));
    // Help shows what the variables are set to.
    let output = program.env_clear().args(arguments).output().unwrap();
    assert!(output.status.success(), "there is no command {command}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program's commands.
pub fn commands() -> Vec<String> {
    let help = help("");
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = section.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(Into::into).collect()
}

/// How a command is called and what it takes; without a command, what all of them take.
pub fn table(command: &str) -> String {
    let help = help(command);
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
    let common = flags(&self::help(""));
    let own: Vec<Flag> = flags(&help)
        .into_iter()
        .filter(|flag| command.is_empty() || !common.iter().any(|other| other.name == flag.name))
        .collect();
    let about = help.lines().next().unwrap().trim_end_matches('.');
    let head = format!("{}. {about}.", code(usage));
    if own.is_empty() {
        return head;
    }
    let rows: Vec<Vec<String>> = own.into_iter().map(|flag| row(flag, usage)).collect();
    format!("{head}\n\n{}", markdown(&["Flag", "Variable", "Default", "Meaning"], &rows))
}

fn row(flag: Flag, usage: &str) -> Vec<String> {
    let Flag { name, variable, default, meaning, values } = flag;
    let is_required = !name.starts_with('[') && usage.contains(&format!(" {name}"));
    let default = default.map(|default| code(&default));
    let default = default.or_else(|| is_required.then(|| "required".into())).unwrap_or_default();
    let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    vec![code(&name), variable.map(|name| code(&name)).unwrap_or_default(), default, cell(&meaning) + &values]
}

/// What comes under `Arguments:`, `Options:` and `Cluster:`.
fn flags(help: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        match flags.last_mut() {
            _ if depth == 0 && !text.is_empty() => inside = ["Arguments:", "Options:", "Cluster:"].contains(&text),
            _ if !inside || text.is_empty() || text == "Possible values:" => {}
            _ if depth < 10 => flags.push(Flag { name: text.into(), ..Flag::default() }),
            Some(flag) => flag.add(text),
            None => panic!("{line:?} belongs to no flag"),
        }
    }
    flags.retain(|flag| !flag.name.ends_with("--help") && !flag.name.ends_with("--version"));
    flags
}

impl Flag {
    fn add(&mut self, text: &str) {
        let tag = |name: &str| text.strip_prefix(name).and_then(|rest| rest.strip_suffix(']'));
        if let Some(variable) = tag("[env: ") {
            self.variable = Some(variable.trim_end_matches('=').into());
        } else if let Some(default) = tag("[default: ") {
            self.default = Some(default.into());
        } else if let Some((value, meaning)) = text.strip_prefix("- ").and_then(|text| text.split_once(':')) {
            self.values.push(format!("{} ({})", code(value), cell(meaning)));
        } else {
            self.meaning = format!("{} {text}", self.meaning);
        }
    }
}

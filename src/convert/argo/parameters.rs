//! Argo's `{{…}}`: values that are known are filled in, those of the run become variables.

use super::super::notes::Notes;
use super::fields::Fields;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// What stands for `{{name}}`.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    values: BTreeMap<String, String>,
}

impl Parameters {
    /// Those of the Workflow.
    pub(super) fn of_workflow(arguments: Option<Fields>, notes: &mut Notes) -> Self {
        let mut values = BTreeMap::from(
            [
                ("workflow.name", "$(RETRYABLE_TASK_NAME)"),
                ("workflow.uid", "$(RETRYABLE_TASK_UID)"),
                ("retries", "$(RETRYABLE_ATTEMPT)"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if let Some(mut arguments) = arguments {
            for (name, value) in pairs(&mut arguments, notes) {
                values.insert(format!("workflow.parameters.{name}"), value);
            }
            arguments.refuse_rest(notes);
        }
        Self { values }
    }

    /// With those of the template that the Workflow begins with: its own, or the Workflow's of the same name.
    pub(super) fn with_inputs(&self, inputs: Option<Fields>, notes: &mut Notes) -> Self {
        let mut all = self.clone();
        let given = self.values.iter();
        let given = given.filter_map(|(name, value)| Some((name.strip_prefix("workflow.parameters.")?, value.clone())));
        all.values.extend(given.map(|(name, value)| (format!("inputs.parameters.{name}"), value)));
        if let Some(mut inputs) = inputs {
            for (name, value) in pairs(&mut inputs, notes) {
                all.values.entry(format!("inputs.parameters.{name}")).or_insert(value);
            }
            inputs.refuse_rest(notes);
        }
        all
    }

    /// Fills them in wherever they stand.
    pub(super) fn fill(&self, fields: &mut Fields, notes: &mut Notes) {
        fields.each_text(&mut |text, path| {
            let mut filled = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("{{") {
                let Some((name, behind)) = after.split_once("}}") else { break };
                filled.push_str(before);
                match self.values.get(name.trim()) {
                    Some(value) => filled.push_str(value),
                    None => notes.refuse(path, &format!("{{{{{name}}}}} has no value here: write one in its place")),
                }
                if name.trim() == "retries" {
                    notes.differs(path, None, "{{retries}} counts from 0, RETRYABLE_ATTEMPT from 1");
                }
                rest = behind;
            }
            filled.push_str(rest);
            *text = filled;
        });
    }
}

/// Names with their values, or their defaults.
fn pairs(fields: &mut Fields, notes: &mut Notes) -> Vec<(String, String)> {
    let parameters: Vec<Value> = fields.list("parameters", notes);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    };
    let pair = |one: &Value| {
        let name = one.get("name").and_then(Value::as_str)?.to_owned();
        let value = one.get("value").or_else(|| one.get("default")).and_then(text)?;
        Some((name, value))
    };
    parameters.iter().filter_map(pair).collect()
}

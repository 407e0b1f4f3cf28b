//! The CEL rules of the definition, evaluated here.

use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

/// The rules of a schema, compiled.
pub struct Rules {
    schema: Value,
    compiled: CompiledSchema,
}

impl Rules {
    /// The rules of that schema.
    pub fn of(schema: &Value) -> Self {
        // The library has no types in CEL. A value that differs from its own text is an integer.
        let mut text = schema.to_string();
        for variable in ["self", "c", "s"] {
            text = text.replace(&format!("type({variable}) == int"), &format!("(string({variable}) != {variable})"));
        }
        let schema: Value = serde_json::from_str(&text).unwrap_or_default();
        let compiled = compile_schema(&schema);
        Self { schema, compiled }
    }

    /// The rules that the object breaks, ordered by field. Empty if there are none.
    pub fn refusals(&self, object: &Value) -> Vec<String> {
        let errors = Validator::new().validate_compiled(&self.compiled, object, None).err();
        let mut errors = errors.map(kube::core::cel::ValidationErrors::into_vec).unwrap_or_default();
        errors.sort_by(|a, b| a.field_path.cmp(&b.field_path));
        errors.iter().map(|error| self.refusal(error, object)).collect()
    }

    fn refusal(&self, error: &ValidationError, object: &Value) -> String {
        // Of the metadata, the API server shows only the names to a rule of the whole object.
        let path = if error.field_path.is_empty() { "metadata.name" } else { &error.field_path };
        let value = scalar(object, path).map(|value| format!("{value}: ")).unwrap_or_default();
        let message = if error.kind == ErrorKind::ValidationFailure {
            error.message.clone()
        } else {
            // The rule could not be evaluated. Its message says what it requires, the error's last line why it failed.
            let why = error.message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{}: {why}", self.message_of(&error.rule).unwrap_or(&error.rule))
        };
        format!("{path}: Invalid value: {value}{message}")
    }

    fn message_of(&self, rule: &str) -> Option<&str> {
        fn find<'a>(schema: &'a Value, rule: &str) -> Option<&'a str> {
            let own = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            let mut own = own.filter(|validation| validation["rule"] == rule);
            own.find_map(|validation| validation["message"].as_str()).or_else(|| match schema {
                Value::Object(map) => map.values().find_map(|inner| find(inner, rule)),
                _ => None,
            })
        }
        find(&self.schema, rule)
    }
}

/// The value at a path such as `spec.rules[0].name`. None for objects and lists, which are too long to show.
fn scalar<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    for step in path.split(['.', '[']) {
        value = match step.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?)?,
            None => value.get(step)?,
        };
    }
    Some(value).filter(|value| !value.is_object() && !value.is_array())
}

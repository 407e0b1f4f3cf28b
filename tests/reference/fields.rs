//! The fields of the resource, from its definition.

use crate::page::{Page, cell, code, table as markdown};
use serde_json::Value;

/// The types that are Kubernetes' own, by the name of the field. They are not expanded.
const KUBERNETES: [(&str, &str); 7] = [
    ("conditions", "list of [Condition](#conditions)"),
    ("env", "list of EnvVar"),
    ("envFrom", "list of EnvFromSource"),
    ("resources", "ResourceRequirements"),
    ("spec", "[spec of a RetryableTask](#spec)"),
    ("template", "PodTemplateSpec"),
    ("tolerations", "list of Toleration"),
];

/// The kind that an argument such as `TaskQueue/spec` names; tasks unless it names one.
pub fn kind(argument: &str) -> &str {
    argument.split_once('/').map_or("RetryableTask", |(kind, _)| kind)
}

fn path_of(argument: &str) -> &str {
    argument.split_once('/').map_or(argument, |(_, path)| path)
}

/// The table of an object's fields. Objects inside it stand in the same table, unless they have one of their own.
pub fn table(schema: &Value, argument: &str, page: &Page) -> String {
    let (kind, path) = (kind(argument), path_of(argument));
    let mut rows = Vec::new();
    let object = node(schema, path);
    collect(&Context { kind, schema, page }, object, (path, ""), &mut rows);
    if path.starts_with("spec") {
        return markdown(&["Field", "Type", "Default", "Meaning"], &rows);
    }
    // The operator writes the status, so nothing of it has a default.
    for row in &mut rows {
        row.remove(2);
    }
    markdown(&["Field", "Type", "Meaning"], &rows)
}

struct Context<'a> {
    kind: &'a str,
    schema: &'a Value,
    page: &'a Page,
}

fn node<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(schema, |schema, step| {
        let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let field = &schema["properties"][name];
        assert!(field.is_object(), "the definition has no {path}");
        if is_list { &field["items"] } else { field }
    })
}

/// Fills in the rows: name, type, default, meaning.
fn collect(context: &Context, object: &Value, (path, prefix): (&str, &str), rows: &mut Vec<Vec<String>>) {
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let (inner, list) = if field["type"] == "array" { (&field["items"], "[]") } else { (field, "") };
        let has_fields = inner.get("properties").is_some();
        // The template of a schedule is one of ours.
        let is_ours = context.kind == "TaskSchedule" && name == "template";
        let known = KUBERNETES.iter().find(|(known, _)| known == name && !is_ours).map(|(_, type_)| *type_);
        assert!(inner["x-kubernetes-preserve-unknown-fields"] != true || known.is_some(), "which type is {name}?");
        let inner_path = format!("{path}.{name}{list}");
        let link = if has_fields { link(context, inner, &inner_path) } else { None };
        let expanded = has_fields && known.is_none() && link.is_none();
        let (meaning, default) = meaning(field["description"].as_str().unwrap_or_default());
        let default = match field.get("default") {
            _ if required.contains(&name.as_str()) => "required".into(),
            Some(default) if !default.is_object() => code(default.to_string().trim_matches('"')),
            _ if default.is_empty() || default.contains(' ') => default,
            _ => code(&default),
        };
        let type_ = match (known, link) {
            (Some(known), _) => known.to_owned() + &size(field, ""),
            (None, Some(link)) => format!("[{}]({link})", type_of(field)),
            (None, None) => type_of(field),
        };
        rows.push(vec![code(&format!("{prefix}{name}")), type_, default, meaning]);
        if expanded {
            collect(context, inner, (&inner_path, &format!("{prefix}{name}{list}.")), rows);
        }
    }
}

/// The link to the table of that object, or of one that has the same fields.
fn link(context: &Context, object: &Value, path: &str) -> Option<String> {
    let same = |other: &str| node(context.schema, path_of(other))["properties"] == object["properties"];
    let tables = || {
        let arguments = context.page.parts().filter(|part| part.kind == "fields").map(|part| part.argument.as_str());
        arguments.filter(|argument| kind(argument) == context.kind)
    };
    let own = tables().find(|other| path_of(other) == path);
    own.or_else(|| tables().find(|other| same(other))).and_then(|argument| context.page.link("fields", argument))
}

/// The description, and what it says of the default in a sentence of its own that begins with that word.
fn meaning(description: &str) -> (String, String) {
    let text = cell(description);
    let mut default = String::new();
    let mut kept = Vec::new();
    for sentence in text.trim_end_matches('.').split(". ") {
        match sentence.strip_prefix("Default") {
            Some(rest) => default = rest.trim_start_matches(':').trim().into(),
            None => kept.push(sentence),
        }
    }
    (kept.join(". "), default)
}

fn type_of(field: &Value) -> String {
    let rule = rule(field);
    let pattern = rule.strip_prefix("self.matches('").and_then(|rest| rest.strip_suffix("')"));
    // Quotes inside: it is a longer expression.
    let pattern = pattern.filter(|pattern| !pattern.contains('\''));
    let pattern = pattern.map(|pattern| format!(", {}", code(pattern))).unwrap_or_default();
    let words = field["enum"].as_array().map(|words| words.iter().filter_map(Value::as_str).map(code));
    if let Some(words) = words {
        return words.collect::<Vec<_>>().join(", ");
    }
    match field["type"].as_str() {
        _ if field["x-kubernetes-int-or-string"] == true => format!("integer or string{}", range(rule, "self")),
        Some("array") => {
            let item = type_of(&field["items"]).replace(" or string", "s or string");
            let (name, rest) = item
                .split_once(" of ")
                .map_or((item.as_str(), String::new()), |(name, size)| (name, format!(", each of {size}")));
            let variable = rule.strip_prefix("self.all(").and_then(|rest| rest.split(',').next());
            let range = variable.map(|variable| range(rule, variable)).unwrap_or_default();
            format!(
                "list of {}{name}s{rest}{}",
                many(field, "Items").unwrap_or_default(),
                range.replacen(',', ", each", 1)
            )
        }
        Some("string") if field["format"] == "date-time" => "time".into(),
        Some("string") => format!("string{}{pattern}", size(field, " characters")),
        Some("object") if field.get("additionalProperties").is_some() => {
            format!("map of {}strings", many(field, "Properties").unwrap_or_default())
        }
        Some(other) => match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("{other}, {least} to {most}"),
            (Some(least), None) => format!("{other}, at least {least}"),
            (None, _) => format!("{other}{}", range(rule, "self")),
        },
        None => panic!("a field without a type: {field}"),
    }
}

/// The CEL rule that bounds a field, if it has any.
fn rule(field: &Value) -> &str {
    field["x-kubernetes-validations"][0]["rule"].as_str().unwrap_or_default()
}

/// How long, after ` of `.
fn size(field: &Value, unit: &str) -> String {
    let (keyword, of) = if unit.is_empty() { ("Items", ", ") } else { ("Length", " of ") };
    many(field, keyword).map(|many| format!("{of}{}{unit}", many.trim_end())).unwrap_or_default()
}

fn many(field: &Value, keyword: &str) -> Option<String> {
    let bound = |which: &str| field[format!("{which}{keyword}")].as_u64();
    match (bound("min"), bound("max")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most} ")),
        (None, Some(most)) => Some(format!("at most {most} ")),
        _ => None,
    }
}

/// The bounds that a CEL rule sets a variable.
fn range(rule: &str, variable: &str) -> String {
    let tokens: Vec<&str> = rule.split([' ', '(', ')']).filter(|token| !token.is_empty()).collect();
    let bound = |operators: [&str; 2]| {
        tokens.windows(3).find_map(|window| {
            let [of, operator, number] = window else { return None };
            let number: i64 = number.parse().ok()?;
            (*of == variable && operators.contains(operator)).then_some((*operator, number))
        })
    };
    match (bound([">=", ">"]), bound(["<=", "<"])) {
        (Some((">=", least)), Some(("<=", most))) => format!(", {least} to {most}"),
        (Some((_, least)), Some(("<=", most))) => format!(", above {least}, at most {most}"),
        (Some((">=", least)), None) => format!(", at least {least}"),
        (Some((_, least)), None) => format!(", above {least}"),
        _ => String::new(),
    }
}

#[test]
fn bounds_are_read_from_cel() {
    assert_eq!(range("self >= 0 && self <= 100", "self"), ", 0 to 100");
    assert_eq!(range("self > 0", "self"), ", above 0");
    assert_eq!(range("self.all(c, type(c) == int ? (c > 0 && c <= 255) : false)", "c"), ", above 0, at most 255");
    assert_eq!(range("!has(self.a) || self.a >= 3", "self"), "");
}

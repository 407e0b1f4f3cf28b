//! Label and field selectors.

use super::{error::ApiError, resource::Resource};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a list or a watch is limited to. All requirements hold together.
#[derive(Clone, Debug, Default)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug)]
struct Requirement {
    subject: Subject,
    test: Test,
}

#[derive(Clone, Debug)]
enum Subject {
    Label(String),
    Field(String),
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// The selector of a query.
    pub fn parse(resource: Resource, query: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let parameter = |name: &str| query.get(name).map_or("", String::as_str);
        let mut requirements = vec![];
        for term in terms(parameter("labelSelector")) {
            requirements.push(label(&term)?);
        }
        for term in terms(parameter("fieldSelector")) {
            requirements.push(field(resource, &term)?);
        }
        Ok(Self(requirements))
    }

    /// The fields of the requirements.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|requirement| match &requirement.subject {
            Subject::Field(path) => Some(path.as_str()),
            Subject::Label(_) => None,
        })
    }

    /// Whether the object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.matches(object))
    }
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let value = match &self.subject {
            Subject::Label(key) => object["metadata"]["labels"].get(key).and_then(Value::as_str),
            Subject::Field(path) => {
                let value = path.split('.').fold(object, |value, step| &value[step]);
                Some(value.as_str().unwrap_or(""))
            }
        };
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
        }
    }
}

/// The terms of a selector: split at the commas that are not in parentheses.
fn terms(selector: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0;
    for c in selector.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match (c, terms.last_mut()) {
            (',', _) if depth == 0 => terms.push(String::new()),
            (c, Some(term)) => term.push(c),
            (_, None) => {}
        }
    }
    terms.into_iter().map(|term| term.trim().to_string()).filter(|term| !term.is_empty()).collect()
}

fn label(term: &str) -> Result<Requirement, ApiError> {
    let values = |list: &str| -> Vec<String> {
        let list = list.trim().trim_start_matches('(').trim_end_matches(')');
        list.split(',').map(|v| v.trim().to_string()).collect()
    };
    let (key, test) = if let Some((key, value)) = term.split_once("!=") {
        (key, Test::NotIn(values(value)))
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, Test::In(values(value)))
    } else if let Some((key, list)) = term.split_once(" notin ") {
        (key, Test::NotIn(values(list)))
    } else if let Some((key, list)) = term.split_once(" in ") {
        (key, Test::In(values(list)))
    } else if let Some(key) = term.strip_prefix('!') {
        (key, Test::Missing)
    } else {
        (term, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains([' ', '(', ')']) {
        return Err(ApiError::bad_request(format!("unable to parse requirement: {term}")));
    }
    Ok(Requirement { subject: Subject::Label(key.into()), test })
}

fn field(resource: Resource, term: &str) -> Result<Requirement, ApiError> {
    let (path, test) = if let Some((path, value)) = term.split_once("!=") {
        (path, Test::NotIn(vec![value.into()]))
    } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (path, Test::In(vec![value.into()]))
    } else {
        return Err(ApiError::bad_request(format!("invalid field selector: {term}")));
    };
    let known = match resource {
        Resource::Pods => ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"].as_slice(),
        Resource::ClusterEvents => &["metadata.name", "metadata.namespace", "involvedObject.uid", "type"],
        // What else can be selected is said by the definition.
        Resource::Tasks => &[path],
        _ => ["metadata.name", "metadata.namespace"].as_slice(),
    };
    if !known.contains(&path) {
        return Err(ApiError::unknown_field(path));
    }
    Ok(Requirement { subject: Subject::Field(path.into()), test })
}

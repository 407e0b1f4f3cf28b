//! A mapping whose fields are taken one by one, so that none is overlooked.

use super::super::notes::Notes;
use serde_yaml_ng::{Mapping, Value};

/// What is left of an object.
#[derive(Clone)]
pub(super) struct Fields {
    map: Mapping,
    path: String,
}

impl Fields {
    pub(super) fn new(value: Value, path: &str) -> Self {
        let map = if let Value::Mapping(map) = value { map } else { Mapping::new() };
        Self { map, path: path.into() }
    }

    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    /// A field that is not null.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn object(&mut self, key: &str) -> Option<Fields> {
        let path = self.path(key);
        self.take(key).map(|value| Self::new(value, &path))
    }

    /// A text, or a number as text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is) => Some(is.to_string()),
            _ => None,
        }
    }

    pub(super) fn list(&mut self, key: &str, notes: &mut Notes) -> Vec<Value> {
        match self.take(key) {
            None => vec![],
            Some(Value::Sequence(items)) => items,
            Some(_) => {
                notes.refuse(&self.path(key), "is no list");
                vec![]
            }
        }
    }

    /// A number of seconds above 0.
    pub(super) fn seconds(&mut self, key: &str, notes: &mut Notes) -> Option<i64> {
        let text = self.text(key)?;
        match text.trim().parse::<i32>() {
            Ok(seconds) if seconds >= 0 => Some(seconds.into()),
            _ => {
                notes.refuse(&self.path(key), &format!("{text:?} is no number of seconds: give one"));
                None
            }
        }
    }

    /// Every text in it, to be changed.
    pub(super) fn each_text(&mut self, change: &mut impl FnMut(&mut String, &str)) {
        for (key, value) in &mut self.map {
            let path = format!("{}.{}", self.path, key.as_str().unwrap_or_default());
            each_text(value, &path, change);
        }
    }

    pub(super) fn into_map(self) -> Mapping {
        self.map
    }

    /// Refuses what nobody has taken.
    pub(super) fn refuse_rest(self, notes: &mut Notes) {
        for (key, value) in &self.map {
            let is_empty = match value {
                Value::Null => true,
                Value::Sequence(items) => items.is_empty(),
                Value::Mapping(map) => map.is_empty(),
                _ => false,
            };
            if !is_empty {
                notes.refuse(&self.path(key.as_str().unwrap_or_default()), "a task has nothing like it: remove it");
            }
        }
    }
}

fn each_text(value: &mut Value, path: &str, change: &mut impl FnMut(&mut String, &str)) {
    match value {
        Value::String(text) => change(text, path),
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                each_text(item, &format!("{path}[{index}]"), change);
            }
        }
        Value::Mapping(map) => {
            for (key, value) in map {
                each_text(value, &format!("{path}.{}", key.as_str().unwrap_or_default()), change);
            }
        }
        _ => {}
    }
}

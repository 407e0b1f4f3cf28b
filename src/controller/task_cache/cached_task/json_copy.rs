//! Copies JSON while it is read, whatever it has.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Writes the value that it reads to `json`.
pub struct JsonCopy<'a> {
    json: &'a mut Vec<u8>,
    place: Place,
}

/// Where in a Kubernetes object a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Object,
    Metadata,
    Elsewhere,
}

impl<'a> JsonCopy<'a> {
    /// Writes a whole object without its `managedFields`.
    pub fn of_object(json: &'a mut Vec<u8>) -> Self {
        Self { json, place: Place::Object }
    }

    fn value<E: Error>(self, value: impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.json, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for JsonCopy<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonCopy<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.value(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.value(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.value(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        self.json.push(b'[');
        let empty = self.json.len();
        loop {
            let before = self.json.len();
            if before > empty {
                self.json.push(b',');
            }
            if values.next_element_seed(JsonCopy { json: self.json, place: Place::Elsewhere })?.is_none() {
                self.json.truncate(before);
                break;
            }
        }
        self.json.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.json.push(b'{');
        let empty = self.json.len();
        while let Some(Key(key)) = fields.next_key()? {
            let place = match (self.place, &*key) {
                (Place::Object, "metadata") => Place::Metadata,
                (Place::Metadata, "managedFields") => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => Place::Elsewhere,
            };
            if self.json.len() > empty {
                self.json.push(b',');
            }
            JsonCopy { json: self.json, place }.value(&*key)?;
            self.json.push(b':');
            fields.next_value_seed(JsonCopy { json: self.json, place })?;
        }
        self.json.push(b'}');
        Ok(())
    }
}

/// A field's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;

//! The words of conditions, Events and ends: the page names each.

use crate::{PAGE, page};
use retryable_tasks::api::{ConditionReason, ConditionType, EndReason, EventReason, StopReason};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

/// Fails with the names of an enum's variants.
struct Names;

impl<'de> Deserializer<'de> for Names {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not an enum"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom(variants.join(" ")))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The names of an enum's variants.
fn names<T: DeserializeOwned>() -> Vec<String> {
    let names = T::deserialize(Names).err().map(|error| error.to_string()).unwrap_or_default();
    names.split(' ').map(Into::into).collect()
}

fn assert_named(heading: &str, names: &[String]) {
    let section = page().section(heading);
    assert!(names.len() > 1 && !section.is_empty(), "{heading}: {names:?}");
    let words: Vec<&str> = section.split(|c: char| !c.is_alphanumeric()).collect();
    for name in names {
        assert!(words.contains(&name.as_str()), "{PAGE}, {heading}: {name} is missing");
    }
}

#[test]
fn every_condition_and_its_reasons_are_named() {
    assert_named("## Conditions", &names::<ConditionType>());
    assert_named("## Conditions", &names::<ConditionReason>());
}

#[test]
fn every_end_of_an_attempt_is_named() {
    assert_named("## Status", &names::<EndReason>());
    let stops: Vec<String> = names::<StopReason>().into_iter().filter(|name| name != "Unknown").collect();
    assert_named("## Status", &stops);
}

#[test]
fn every_event_is_named() {
    assert_named("## Events", &names::<EventReason>());
}

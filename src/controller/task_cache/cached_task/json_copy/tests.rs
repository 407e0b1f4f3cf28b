use super::JsonCopy;
use proptest::prelude::*;
use serde::de::DeserializeSeed;
use serde_json::{Map, Value, json};

fn written(value: &Value) -> Value {
    let mut json = Vec::new();
    JsonCopy::of_object(&mut json).deserialize(&mut serde_json::Deserializer::from_str(&value.to_string())).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_read_is_written(value in any_json()) {
        prop_assert_eq!(written(&value), value);
    }
}

#[test]
fn nothing_but_the_managed_fields_of_the_object_itself_is_left_out() {
    let inner = json!({"metadata": {"managedFields": [1]}, "managedFields": [2]});
    let whole = json!({"metadata": {"name": "a", "managedFields": [3], "z": inner}, "spec": inner, "managedFields": 4});
    let mut expected = whole.clone();
    expected["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(written(&whole), expected);
}

#[test]
fn what_is_cut_off_is_no_value() {
    let mut json = Vec::new();
    let mut cut = serde_json::Deserializer::from_str(r#"{"metadata": {"name": "a""#);
    assert!(JsonCopy::of_object(&mut json).deserialize(&mut cut).is_err());
}

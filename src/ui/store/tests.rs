use super::*;

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn names(table: &Table<u8>) -> Vec<String> {
    table.iter().map(|(key, _)| key.name.to_string()).collect()
}

#[test]
fn what_a_list_does_not_show_any_more_is_gone() {
    let mut table = Table::default();
    let all = None;
    for event in [
        Event::Init,
        Event::InitApply((key("a", "one"), Some(1))),
        Event::InitApply((key("a", "two"), Some(1))),
        Event::InitDone,
        Event::Apply((key("a", "three"), Some(1))),
        Event::Delete((key("a", "one"), None)),
    ] {
        table.apply(&all, event);
    }
    assert_eq!(names(&table), ["three", "two"]);
    table.apply(&all, Event::Init);
    table.apply(&all, Event::InitApply((key("a", "two"), Some(1))));
    assert_eq!(names(&table), ["three", "two"], "it is not known yet that three is gone");
    table.apply(&all, Event::InitDone);
    assert_eq!(names(&table), ["two"]);
}

#[test]
fn a_list_of_one_namespace_leaves_the_others_alone() {
    let (mut table, both) = (Table::default(), [Some("a".to_owned()), Some("b".to_owned())]);
    for watched in &both {
        table.apply(watched, Event::Init);
        table.apply(watched, Event::InitApply((key(watched.as_deref().unwrap(), "task"), Some(1))));
        assert!(!table.is_listed(&both));
        table.apply(watched, Event::InitDone);
    }
    assert!(table.is_listed(&both));
    table.apply(&both[0], Event::Init);
    table.apply(&both[0], Event::InitDone);
    assert_eq!(table.iter().map(|(key, _)| &*key.namespace).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn each_change_has_a_number_of_its_own() {
    let mut table = Table::default();
    for event in [Event::Apply((key("a", "one"), Some(1))), Event::Apply((key("a", "two"), Some(1)))] {
        table.apply(&None, event);
    }
    let before = (table.version(&key("a", "one")), table.version(&key("a", "two")));
    table.apply(&None, Event::Apply((key("a", "one"), Some(1))));
    let after = (table.version(&key("a", "one")), table.version(&key("a", "two")));
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    table.apply(&None, Event::Delete((key("a", "one"), None)));
    assert_eq!(table.version(&key("a", "one")), None);
}

#[test]
fn namespaces_are_found_by_their_first_objects() {
    let mut table = Table::default();
    for namespace in ["b", "a", "a-b", "ab"] {
        for name in ["z", "a"] {
            table.apply(&None, Event::Apply((key(namespace, name), Some(1))));
        }
    }
    assert_eq!(table.namespaces().map(|name| &**name).collect::<Vec<_>>(), ["a", "a-b", "ab", "b"]);
    let of = |namespace| table.of_namespace(namespace).map(|(key, _)| key.name.to_string()).collect::<Vec<_>>();
    assert_eq!((of("a"), of("c")), (vec!["a".to_owned(), "z".to_owned()], Vec::new()));
}

use super::*;

const UID: &str = "9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10";

#[test]
fn pod_names_are_dns_labels_and_differ_by_uid_and_number() {
    for task in ["a", "import-orders", "with.dots.in.it", &"x".repeat(63), &format!("{}.y", "x".repeat(53))] {
        for number in [1, 42, i32::MAX] {
            let fallback = pod_name(task, UID, Slot { number, fallback: true });
            assert!(fallback.len() <= 63 && fallback.ends_with(&format!("-{number}-fallback")), "{fallback}");
            let name = pod_name(task, UID, number);
            assert!(name.len() <= 63, "{name}");
            assert!(name.ends_with(&format!("-{number}")), "{name}");
            for label in name.split('.') {
                let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                assert!(ends(label.chars().next()) && ends(label.chars().last()), "{name}");
            }
        }
    }
    assert_ne!(pod_name("a", UID, 1), pod_name("a", "another", 1));
    assert_ne!(pod_name(&"x".repeat(62), UID, 1), pod_name(&"x".repeat(63), UID, 1));
}

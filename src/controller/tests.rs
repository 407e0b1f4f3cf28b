#[test]
fn the_chart_has_the_programs_default_concurrency() {
    let values: serde_json::Value =
        serde_yaml_ng::from_str(include_str!("../../charts/retryable-tasks/values.yaml")).unwrap();
    assert_eq!(values["controller"]["concurrency"], super::CONCURRENCY);
}

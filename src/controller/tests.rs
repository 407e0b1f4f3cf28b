#[test]
fn the_chart_gives_as_many_places_as_the_program_has_by_itself() {
    let values: serde_json::Value =
        serde_yaml_ng::from_str(include_str!("../../charts/retryable-tasks/values.yaml")).unwrap();
    assert_eq!(values["controller"]["concurrency"], super::CONCURRENCY);
}

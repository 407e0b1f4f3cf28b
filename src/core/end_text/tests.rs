use super::reason_and_code;

#[test]
fn the_exit_code_follows_the_reason_where_a_container_ended() {
    assert_eq!(reason_and_code("OOMKilled", Some(137)), "OOMKilled, exit code 137");
    assert_eq!(reason_and_code("Completed", Some(0)), "Completed, exit code 0");
    assert_eq!(reason_and_code("Evicted", None), "Evicted");
}

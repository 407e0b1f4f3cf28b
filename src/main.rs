//! Command line of the operator.
fn main() {
    println!("{}", serde_yaml_ng::to_string(&retryable_tasks::api::crd()).unwrap());
}

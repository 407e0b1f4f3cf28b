use super::removal;
use kube::api::Patch;

#[test]
fn the_patch_names_the_pod_and_removes_one_finalizer() {
    let Patch::Strategic(patch) = removal("u-1") else { panic!("of another type") };
    assert_eq!(
        patch.to_string(),
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["retryable.dev/attempt"],"uid":"u-1"}}"#
    );
}

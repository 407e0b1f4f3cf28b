use super::*;

#[test]
fn equal_texts_are_one() {
    let mut interner = Interner::<str>::default();
    let (first, second) = (interner.get("a"), interner.get("a".to_owned()));
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(interner.len(), 1);
}

#[test]
fn what_nobody_has_is_dropped() {
    let mut interner = Interner::<str>::default();
    let kept = interner.get("kept");
    for number in 0..10_000 {
        interner.get(number.to_string());
    }
    assert!(interner.len() <= FIRST_SWEEP + 1, "{}", interner.len());
    assert!(Arc::ptr_eq(&kept, &interner.get("kept")));
}

use super::nearest;

#[test]
fn the_nearest_word_is_one_that_may_have_been_meant() {
    const KNOWN: [&str; 4] = ["OOMKilled", "Evicted", "ErrImagePull", "NodeLost"];
    let cases = [
        ("OOMkilled", Some("OOMKilled")),
        ("OOMKiled", Some("OOMKilled")),
        ("OMOKilled", Some("OOMKilled")),
        ("evicted", Some("Evicted")),
        ("Evictd", Some("Evicted")),
        ("ErrImagPul", Some("ErrImagePull")),
        ("Nodelost", Some("NodeLost")),
        ("", None),
        ("PodDeleted", None),
        ("MyOwnReason", None),
    ];
    for (word, meant) in cases {
        assert_eq!(nearest(word, &KNOWN), meant, "{word}");
    }
    assert_eq!(nearest("x", &[]), None);
}

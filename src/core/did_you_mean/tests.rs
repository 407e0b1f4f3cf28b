use super::nearest;

#[test]
fn the_most_similar_word_is_suggested() {
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

//! Text that is packed while nobody reads it. A long history repeats its words, so a task takes a fraction of its size.

use lz4_flex::block::{DecompressError, compress_prepend_size, decompress_size_prepended};

/// A text, packed by LZ4.
#[derive(Clone, Debug)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(compress_prepend_size(text).into())
    }

    /// The text.
    ///
    /// # Errors
    /// When it is not what [`of`](Self::of) made.
    pub(super) fn unpack(&self) -> Result<Vec<u8>, DecompressError> {
        decompress_size_prepended(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_after_it_was_packed_and_a_repetitive_one_is_smaller_meanwhile() {
        let history = r#"{"attempt":7,"reason":"Error","exitCode":3,"message":"out of stock"},"#.repeat(20);
        for text in ["", "{}", &history] {
            assert_eq!(Packed::of(text.as_bytes()).unpack().unwrap(), text.as_bytes());
        }
        assert!(Packed::of(history.as_bytes()).0.len() * 5 < history.len());
    }
}

//! A task's text. One that stays in the cache is packed: a long history repeats its words, so it takes a fraction of its
//! size.

use lz4_flex::block::{DecompressError, compress_prepend_size, decompress_size_prepended};
use std::borrow::Cow;

/// A text that may be packed.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// As it was read.
    Plain(Box<[u8]>),
    /// Packed by LZ4.
    Packed(Box<[u8]>),
}

impl Text {
    /// The same text, packed.
    #[must_use]
    pub(super) fn pack(self) -> Self {
        match self {
            Self::Plain(text) => Self::Packed(compress_prepend_size(&text).into()),
            Self::Packed(_) => self,
        }
    }

    /// The text.
    ///
    /// # Errors
    /// When what is packed is not what [`pack`](Self::pack) made.
    pub(super) fn get(&self) -> Result<Cow<'_, [u8]>, DecompressError> {
        match self {
            Self::Plain(text) => Ok(Cow::Borrowed(text)),
            Self::Packed(packed) => decompress_size_prepended(packed).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_after_it_was_packed_and_a_repetitive_one_is_smaller_meanwhile() {
        let history = r#"{"attempt":7,"reason":"Error","exitCode":3,"message":"out of stock"},"#.repeat(20);
        for text in ["", "{}", &history] {
            let plain = Text::Plain(text.as_bytes().into());
            assert_eq!(&*plain.get().unwrap(), text.as_bytes());
            assert_eq!(&*plain.pack().pack().get().unwrap(), text.as_bytes());
        }
        let Text::Packed(packed) = Text::Plain(history.as_bytes().into()).pack() else { panic!("it is not packed") };
        assert!(packed.len() * 5 < history.len(), "{}", packed.len());
    }
}

//! What is to be said of a conversion.

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stands in the manifest alone.
    Comment,
    /// Worth knowing; nothing is other than before.
    Remark,
    /// Something is other than before.
    Difference,
}

/// What to know of a converted object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub kind: Kind,
    /// Kind and name of the source.
    pub title: String,
    /// The field of the source.
    pub path: String,
    /// A sentence.
    pub text: String,
    /// The field of the task's spec that it is about.
    pub field: Option<&'static str>,
}

/// What is found while one object is converted.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Where the fields are in the source, such as `spec.jobTemplate.`.
    prefix: &'static str,
    found: Vec<Note>,
    refusals: Vec<String>,
}

impl Notes {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Explains a field of the task in the manifest, once.
    pub(super) fn comment(&mut self, field: &'static str, text: &str) {
        if self.comments_on(field).any(|said| said == text) {
            return;
        }
        self.add(Kind::Comment, "", Some(field), text);
    }

    /// Says what to know.
    pub(super) fn remark(&mut self, path: &str, field: Option<&'static str>, text: &str) {
        self.add(Kind::Remark, path, field, text);
    }

    /// Says what is other than before.
    pub(super) fn differs(&mut self, path: &str, field: Option<&'static str>, text: &str) {
        self.add(Kind::Difference, path, field, text);
    }

    /// Says what cannot be converted, and what to do.
    pub(super) fn refuse(&mut self, path: &str, text: &str) {
        let reason = format!("{}: {text}", self.path(path));
        if !self.refusals.contains(&reason) {
            self.refusals.push(reason);
        }
    }

    fn add(&mut self, kind: Kind, path: &str, field: Option<&'static str>, text: &str) {
        let path = self.path(path);
        self.found.push(Note { kind, title: String::new(), path, text: text.into(), field });
    }

    fn path(&self, path: &str) -> String {
        // What has a space is no path.
        if path.contains(' ') { path.into() } else { format!("{}{path}", self.prefix) }
    }

    pub(super) fn are_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    pub(super) fn into_refusals(self) -> Vec<String> {
        self.refusals
    }

    /// The texts about a field of the task's spec.
    pub(super) fn comments_on(&self, field: &str) -> impl Iterator<Item = &str> {
        self.found.iter().filter(move |note| note.field == Some(field)).map(|note| note.text.as_str())
    }

    pub(super) fn into_notes(self, title: &str) -> Vec<Note> {
        self.found.into_iter().map(|note| Note { title: title.into(), ..note }).collect()
    }
}

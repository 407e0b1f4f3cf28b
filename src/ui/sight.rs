//! What somebody may see.

use super::store::Kind;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What somebody may see, by kind. Nothing unless it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    scopes: HashMap<Kind, Scope>,
    /// Whether the operator's own replicas may be seen.
    pub replicas: bool,
}

/// The namespaces in which a kind may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all.
    All,
    /// In these alone.
    Only(BTreeSet<Arc<str>>),
}

impl Scope {
    /// Whether that namespace is among them.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }
}

impl Sight {
    /// Everything.
    pub fn all() -> Self {
        Self { scopes: Kind::ALL.into_iter().map(|kind| (kind, Scope::All)).collect(), replicas: true }
    }

    /// That of these scopes.
    pub fn of(scopes: impl IntoIterator<Item = (Kind, Scope)>, replicas: bool) -> Self {
        Self { scopes: scopes.into_iter().collect(), replicas }
    }

    /// Where objects of that kind may be seen; `None`: nowhere.
    pub fn scope(&self, kind: Kind) -> Option<&Scope> {
        self.scopes.get(&kind)
    }

    /// Whether objects of that kind in that namespace may be seen.
    pub fn covers(&self, kind: Kind, namespace: &str) -> bool {
        self.scope(kind).is_some_and(|scope| scope.covers(namespace))
    }

    /// Whether all objects of that kind may be seen.
    pub fn covers_all(&self, kind: Kind) -> bool {
        self.scopes.get(&kind) == Some(&Scope::All)
    }

    /// Whether no object of that kind may be seen.
    pub fn is_blind_to(&self, kind: Kind) -> bool {
        match self.scopes.get(&kind) {
            Some(Scope::All) => false,
            Some(Scope::Only(namespaces)) => namespaces.is_empty(),
            None => true,
        }
    }
}

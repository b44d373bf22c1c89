//! Names become ids, in order of first appearance.

use std::collections::HashMap;

use chat::OrganizationId;

use crate::{Name, NameKind};

/// The ids of all names of a kind. The one thing of an import that grows with its input: some 100 bytes for each name.
#[derive(Debug, Default)]
struct Dealer {
    /// By the organization in which the name means something (none: everywhere), then by name.
    ids: HashMap<Option<u64>, HashMap<Box<str>, u64>>,
    highest: u64,
}

/// The ids of names.
#[derive(Debug, Default)]
pub(super) struct Names([Dealer; 3]);

impl Names {
    /// With the ids that were dealt before: they stay.
    pub(super) fn new(known: Vec<Name>) -> Self {
        let mut names = Self::default();
        for Name { kind, id, within, name } in known {
            let dealer = &mut names.0[kind as usize];
            dealer.highest = dealer.highest.max(id);
            dealer.ids.entry(within.map(OrganizationId::get)).or_default().insert(name.into_boxed_str(), id);
        }
        names
    }

    /// The id of `name`; a new name gets the number after the highest. `None` when there is no higher one.
    pub(super) fn id(&mut self, kind: NameKind, within: Option<u64>, name: &str) -> Option<u64> {
        let dealer = &mut self.0[kind as usize];
        let ids = dealer.ids.entry(within).or_default();
        if let Some(id) = ids.get(name) {
            return Some(*id);
        }
        let id = dealer.highest + 1;
        if id > OrganizationId::MAX.get() {
            return None;
        }
        dealer.highest = id;
        ids.insert(name.into(), id);
        Some(id)
    }

    /// All of them, by kind and id.
    pub(super) fn into_vec(self) -> Vec<Name> {
        let mut all = Vec::new();
        for (kind, dealer) in NameKind::ALL.into_iter().zip(self.0) {
            for (within, ids) in dealer.ids {
                let within = within.map(OrganizationId::from_bits);
                all.extend(ids.into_iter().map(|(name, id)| Name { kind, id, within, name: name.into() }));
            }
        }
        all.sort_unstable_by_key(|name| (name.kind, name.id));
        all
    }
}

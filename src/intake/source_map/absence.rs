//! Counts how many complete listings lack a file, a document or a recorded name, and lets go of what
//! is gone for good.
//!
//! Owns the count. Is only asked while the root is healthy and git is at rest.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Change, Listing, SourceMap, names_of, stem_of};
use crate::intake::source_file::{DocumentState, Presence, SourceFile};

/// Complete listings that must agree on an absence.
const LISTINGS_TO_VANISH: u8 = 2;

impl SourceMap {
    /// Names that the listing has no file for.
    pub(super) fn lost(&self, listing: &Listing) -> BTreeSet<String> {
        let held = self.held.iter().map(|(name, held)| (name, Some(&held.path)));
        let unseen = self.unseen.keys().map(|name| (name, self.recorded.get(name)));
        held.chain(unseen)
            .filter(|(_, path)| path.is_none_or(|path| is_absent(path, listing)))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn count_absences(&mut self, listing: &Listing, changes: &mut Vec<Change>) {
        let mut vanished = Vec::new();
        let mut shortened = Vec::new();
        for (path, file) in &mut self.files {
            match &mut file.presence {
                Presence::Missing { listings } if !is_absent(path, listing) => *listings = 0,
                Presence::Missing { listings } => {
                    *listings += 1;
                    if *listings >= LISTINGS_TO_VANISH {
                        vanished.push(path.clone());
                    }
                }
                Presence::Present if is_absent(path, listing) => {
                    file.presence = Presence::Missing { listings: 1 };
                }
                Presence::Present => {
                    // A file that is still being written may yet get its last documents back.
                    if file.startable && count_missing_documents(file) {
                        shortened.push(path.clone());
                    }
                }
            }
        }
        for path in vanished {
            let names = names_of(self.files.remove(&path).as_ref());
            if let Some(sharing) = self.stems.get_mut(&stem_of(&path)) {
                sharing.retain(|other| *other != path);
            }
            self.reported.remove(&path);
            self.drop_claims(&path, &names);
            changes.extend(self.changed(&path, names));
        }
        for path in shortened {
            let Some(file) = self.files.get_mut(&path) else {
                continue;
            };
            let before = names_of(Some(file));
            file.documents
                .retain(|document| document.state != DocumentState::Missing { listings: LISTINGS_TO_VANISH });
            let names = &before - &names_of(Some(file));
            self.drop_claims(&path, &names);
            changes.extend(self.changed(&path, names));
        }
        self.count_unseen(listing, changes);
    }

    fn drop_claims(&mut self, path: &Path, names: &BTreeSet<String>) {
        for name in names {
            if let Some(claimants) = self.claims.get_mut(name) {
                claimants.retain(|other| other != path);
                if claimants.is_empty() {
                    self.claims.remove(name);
                }
            }
        }
    }

    fn count_unseen(&mut self, listing: &Listing, changes: &mut Vec<Change>) {
        let Self { unseen, recorded, files, .. } = self;
        unseen.retain(|name, listings| {
            let path = recorded.get(name).cloned().unwrap_or_default();
            // It may be the document that cannot be read.
            let may_be_there = match files.get(&path) {
                Some(file) => !file.is_whole(),
                None => !is_absent(&path, listing),
            };
            if may_be_there {
                return true;
            }
            *listings += 1;
            if *listings < LISTINGS_TO_VANISH {
                return true;
            }
            changes.push(Change::Vanished { name: name.clone(), path });
            false
        });
    }
}

/// Counts a listing for each document that is missing from its file; whether one is gone for good.
fn count_missing_documents(file: &mut SourceFile) -> bool {
    let mut gone = false;
    for document in &mut file.documents {
        if let DocumentState::Missing { listings } = &mut document.state {
            *listings += 1;
            gone |= *listings >= LISTINGS_TO_VANISH;
        }
    }
    gone
}

fn is_absent(path: &Path, listing: &Listing) -> bool {
    !listing.files.contains_key(path) && !listing.unread.iter().any(|unread| path.starts_with(unread))
}

//! One entry of Git's index, found without running git: index versions 2, 3 and 4 as Git's
//! `gitformat-index` describes them. Looks one path up; reads no objects.

/// Bytes of an entry before its flags: ten 32-bit fields of the file's state.
const STAT: usize = 40;
/// Bytes of an object's name. Git names objects by SHA-1; repositories of the newer SHA-256 format
/// are left to the caller to notice.
const NAME: usize = 20;
/// An entry whose flags go on in a second field.
const EXTENDED: u16 = 0x4000;
/// The stage of a merge, 0 outside of one.
const STAGE: u16 = 0x3000;

/// What the index says of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is tracked with this content.
    Tracked {
        blob: [u8; NAME],
        /// The index still knows the tree object of the path's directory, so nothing was staged in
        /// it since it was last committed or checked out.
        committed: bool,
    },
    /// It has the several stages of an unfinished merge.
    Conflicted,
    Untracked,
}

/// Finds a path, relative to the top of the work tree, with `/` between its parts. `None` where the
/// index cannot be read: cut short, of another version, split or sparse.
pub fn find(index: &[u8], path: &[u8]) -> Option<Entry> {
    let mut rest = Reader(index);
    if rest.take(4)? != b"DIRC" {
        return None;
    }
    let version = rest.number()?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let count = rest.number()?;
    let mut found = Entry::Untracked;
    let mut name: Vec<u8> = Vec::new();
    for _ in 0..count {
        let before = rest.0.len();
        rest.take(STAT)?;
        let blob: [u8; NAME] = rest.take(NAME)?.try_into().ok()?;
        let flags = u16::from_be_bytes(rest.take(2)?.try_into().ok()?);
        if flags & EXTENDED != 0 {
            rest.take(2)?;
        }
        if version == 4 {
            let dropped = rest.offset()?;
            name.truncate(name.len().checked_sub(dropped)?);
            name.extend_from_slice(rest.until(0)?);
        } else {
            name.clear();
            name.extend_from_slice(rest.until(0)?);
            // Entries are padded with NULs to a multiple of eight; the first one is taken above.
            let length = before - rest.0.len();
            rest.take(length.next_multiple_of(8) - length)?;
        }
        if name == path {
            let stage_0 = flags & STAGE == 0;
            found = if stage_0 { Entry::Tracked { blob, committed: false } } else { Entry::Conflicted };
        }
    }
    let extensions = rest.0.len().checked_sub(NAME).map(|end| &rest.0[..end])?;
    with_extensions(found, extensions, path)
}

/// Takes in the extensions after the entries.
fn with_extensions(mut found: Entry, extensions: &[u8], path: &[u8]) -> Option<Entry> {
    let mut rest = Reader(extensions);
    while rest.0.len() >= 8 {
        let signature = rest.take(4)?;
        let length = usize::try_from(rest.number()?).ok()?;
        let content = rest.take(length)?;
        match signature {
            // The entries are in another file, or stand for whole directories.
            b"link" | b"sdir" => return None,
            b"TREE" => {
                if let Entry::Tracked { committed, .. } = &mut found {
                    *committed = knows_directory(content, path).unwrap_or(false);
                }
            }
            _ => (),
        }
    }
    Some(found)
}

/// Walks the cached trees, each followed by its subtrees: `NAME NUL entries SPACE subtrees LF`, and a
/// tree's object name unless its number of entries is −1, which marks it as no longer true.
fn knows_directory(trees: &[u8], path: &[u8]) -> Option<bool> {
    let directory = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |end| &path[..end]);
    let mut rest = Reader(trees);
    // The directories that lead to the tree at hand, each with the number of its subtrees to come.
    let mut above: Vec<(Vec<u8>, usize)> = Vec::new();
    loop {
        let name = rest.until(0)?;
        let valid = !rest.until(b' ')?.starts_with(b"-");
        let subtrees: usize = std::str::from_utf8(rest.until(b'\n')?).ok()?.parse().ok()?;
        if valid {
            rest.take(NAME)?;
        }
        let parent = above.last().map_or(&b""[..], |(path, _)| path);
        let full = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        if full == directory {
            return Some(valid);
        }
        if let Some((_, left)) = above.last_mut() {
            *left = left.checked_sub(1)?;
        }
        above.push((full, subtrees));
        while above.last().is_some_and(|(_, left)| *left == 0) {
            above.pop();
        }
        if above.is_empty() {
            return None;
        }
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Up to a byte, which is passed over.
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|byte| *byte == end)?;
        let taken = self.take(at)?;
        self.take(1)?;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Version 4's number of bytes to drop from the path before: seven bits a byte, the highest
    /// first, each continuation adding one so that no number has two spellings.
    fn offset(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_index_is_not_read() {
        for bytes in [&b""[..], b"DIRC", b"DIRC\0\0\0\x02\0\0\0\x05", b"DIRC\0\0\0\x09\0\0\0\0", b"GARBAGE"] {
            assert_eq!(find(bytes, b"a.yaml"), None);
        }
    }

    #[test]
    fn an_empty_index_tracks_nothing() {
        let mut index = b"DIRC\0\0\0\x02\0\0\0\0".to_vec();
        index.extend([0; NAME]);
        assert_eq!(find(&index, b"a.yaml"), Some(Entry::Untracked));
    }

    #[test]
    fn cached_trees_are_walked_with_their_subtrees() {
        let id = [b'x'; NAME];
        let trees = [&b"\x00-1 2\n"[..], b"a\x001 1\n", &id, b"deep\x001 0\n", &id, b"b\x00-1 0\n"].concat();
        assert_eq!(knows_directory(&trees, b"top.yaml"), Some(false));
        assert_eq!(knows_directory(&trees, b"a/x.yaml"), Some(true));
        assert_eq!(knows_directory(&trees, b"a/deep/x.yaml"), Some(true));
        assert_eq!(knows_directory(&trees, b"b/x.yaml"), Some(false));
        assert_eq!(knows_directory(&trees, b"c/x.yaml"), None);
    }

    #[test]
    fn the_offsets_of_version_4_have_one_spelling_each() {
        assert_eq!(Reader(&[0x05]).offset(), Some(5));
        assert_eq!(Reader(&[0x80, 0x00]).offset(), Some(128));
        assert_eq!(Reader(&[0x80]).offset(), None);
    }
}

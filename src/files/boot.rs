//! Which boot of this machine it is. What was noted in an earlier one — a process, a clock, what was on its way
//! to the disk — says nothing any more.

use std::io;

/// The kernel's name for this boot.
///
/// # Errors
/// `/proc` is not there, or tells nothing.
pub fn id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = text.trim();
    if id.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel tells no boot id"));
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_name() {
        let first = id().unwrap();
        assert!(!first.is_empty() && !first.contains(char::is_whitespace), "{first:?}");
        assert_eq!(first, id().unwrap());
    }
}

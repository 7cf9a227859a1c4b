//! Model files as they come: what is there of each, and of all together. Plain data; knows neither disk
//! nor network.

use serde::{Deserialize, Serialize};

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelFile {
    /// As its repository or server calls it.
    pub name: String,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that there are; null as long as nobody has said.
    pub total: Option<u64>,
    /// Of the whole file, in lower-case hexadecimal; null as long as it is not whole.
    pub sha256: Option<String>,
    /// Where the whole file is; null as long as it is not.
    pub path: Option<String>,
}

/// All files of a model, whole or on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelFiles {
    /// The commit of the repository that they are of.
    pub commit: Option<String>,
    /// What they have in common: the folder of a snapshot, or of the one file.
    pub directory: Option<String>,
    pub files: Vec<ModelFile>,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelProgress {
    pub model: ModelFiles,
    /// What is done at present, for people: `downloading m.gguf`.
    pub activity: String,
    /// Bytes that came over the network so far, and the time that they took in milliseconds.
    pub fetched: u64,
    pub elapsed_ms: u64,
}

impl ModelFiles {
    // Sizes are what a server says: no sum of them may overflow.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of all files; `None` while a size is not known.
    pub fn total(&self) -> Option<u64> {
        self.files.iter().try_fold(0, |sum: u64, file| Some(sum.saturating_add(file.total?)))
    }

    /// `3 files, 4.7 GB`.
    pub fn words(&self) -> String {
        let count = self.files.len();
        format!("{count} file{}, {}", if count == 1 { "" } else { "s" }, byte_words(self.bytes()))
    }
}

impl ModelProgress {
    /// In percent, once every size is known.
    pub fn percent(&self) -> Option<u64> {
        let total = self.model.total().filter(|total| *total > 0)?;
        u64::try_from(u128::from(self.model.bytes()) * 100 / u128::from(total)).ok().map(|done| done.min(100))
    }

    /// What is left at the speed so far, in milliseconds.
    pub fn eta_ms(&self) -> Option<u64> {
        let left = self.model.total()?.saturating_sub(self.model.bytes());
        let spent = u128::from(left) * u128::from(self.elapsed_ms);
        spent.checked_div(u128::from(self.fetched)).and_then(|ms| u64::try_from(ms).ok())
    }

    /// `downloading m.gguf: 1.2 GB of 4.7 GB`.
    pub fn words(&self) -> String {
        let of = self.model.total().map(|total| format!(" of {}", byte_words(total))).unwrap_or_default();
        if self.model.files.is_empty() {
            return self.activity.clone();
        }
        format!("{}: {}{of}", self.activity, byte_words(self.model.bytes()))
    }
}

/// `512 B`, `1.2 MB`, `4.7 GB`, as hubs and disks count: in thousands.
pub fn byte_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(bytes: u64, total: Option<u64>) -> ModelProgress {
        let file = ModelFile { name: "m".into(), bytes, total, ..ModelFile::default() };
        ModelProgress {
            model: ModelFiles { files: vec![file], ..ModelFiles::default() },
            activity: "downloading m".into(),
            fetched: 1_000_000,
            elapsed_ms: 500,
        }
    }

    #[test]
    fn progress_counts_what_was_there_before_and_estimates_by_what_came() {
        let at = progress(3_000_000, Some(4_000_000));
        assert_eq!((at.percent(), at.eta_ms()), (Some(75), Some(500)));
        assert_eq!(at.words(), "downloading m: 3.0 MB of 4.0 MB");
    }

    #[test]
    fn sizes_beyond_all_numbers_are_as_much_as_there_is() {
        let mut at = progress(u64::MAX, Some(u64::MAX));
        at.model.files.push(ModelFile { bytes: 1, total: Some(u64::MAX), ..ModelFile::default() });
        assert_eq!((at.model.bytes(), at.model.total()), (u64::MAX, Some(u64::MAX)));
        assert_eq!((at.percent(), at.eta_ms()), (Some(100), Some(0)));
        at.model.files.push(ModelFile::default());
        assert_eq!(at.model.total(), None);
    }

    #[test]
    fn an_unknown_size_has_neither_percent_nor_end() {
        let at = progress(10, None);
        assert_eq!((at.percent(), at.eta_ms(), at.words().as_str()), (None, None, "downloading m: 10 B"));
        assert_eq!(ModelProgress::default().eta_ms(), None);
    }
}

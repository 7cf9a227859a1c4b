//! A JSON value with the path that leads to it, so that whatever is wrong with it can say where it stands.
//! Reads values; knows no format's keys.

use serde_json::{Map, Value};

use super::Format;
use super::error::{ImportError, Place};

/// The file that is read, for errors.
#[derive(Debug, Clone, Copy)]
pub struct Source<'f> {
    pub file: &'f str,
    pub format: Format,
}

impl Source<'_> {
    pub fn wrong(self, place: Place, reason: impl Into<String>) -> ImportError {
        ImportError::new(self.file, Some(self.format), place, reason)
    }
}

#[derive(Debug, Clone)]
pub struct At<'v> {
    source: Source<'v>,
    path: String,
    pub value: &'v Value,
}

impl<'v> At<'v> {
    pub fn root(source: Source<'v>, value: &'v Value) -> Self {
        Self { source, path: "$".to_owned(), value }
    }

    pub fn source(&self) -> Source<'v> {
        self.source
    }

    pub fn wrong(&self, reason: impl Into<String>) -> ImportError {
        self.source.wrong(Place::Field(self.path.clone()), reason)
    }

    /// A field of an object; absent where it is null.
    pub fn get(&self, key: &str) -> Option<At<'v>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let path = if plain { format!("{}.{key}", self.path) } else { format!("{}[{key:?}]", self.path) };
        Some(At { source: self.source, path, value })
    }

    /// Through several objects.
    pub fn at(&self, keys: &[&str]) -> Option<At<'v>> {
        keys.iter().try_fold(self.clone(), |at, key| at.get(key))
    }

    /// The first of these paths that leads somewhere.
    pub fn first(&self, paths: &[&[&str]]) -> Option<At<'v>> {
        paths.iter().find_map(|path| self.at(path))
    }

    /// # Errors
    /// No such field.
    pub fn required(&self, key: &str) -> Result<At<'v>, ImportError> {
        self.get(key).ok_or_else(|| self.wrong(format!("it has no \"{key}\"")))
    }

    pub fn object(&self) -> Option<&'v Map<String, Value>> {
        self.value.as_object()
    }

    /// # Errors
    /// No list.
    pub fn items(&self) -> Result<Vec<At<'v>>, ImportError> {
        let Some(items) = self.value.as_array() else {
            return Err(self.wrong(format!("a list is expected here, not {}", what(self.value))));
        };
        let item = |(at, value)| At { source: self.source, path: format!("{}[{at}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// # Errors
    /// No finite number.
    pub fn number(&self) -> Result<f64, ImportError> {
        let number = self.value.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(format!("a number is expected here, not {}", what(self.value))))
    }

    /// A number that is not negative, such as a time or a rate.
    ///
    /// # Errors
    /// Anything else.
    pub fn amount(&self) -> Result<f64, ImportError> {
        let number = self.number()?;
        if number < 0.0 {
            return Err(self.wrong(format!("{number} is below 0, which cannot have been measured")));
        }
        Ok(number)
    }

    /// A whole number; `64.0` is one.
    ///
    /// # Errors
    /// Anything else.
    pub fn count(&self) -> Result<u64, ImportError> {
        let number = self.amount()?;
        if number.fract() != 0.0 || number > 1e15 {
            return Err(self.wrong(format!("a whole number is expected here, not {number}")));
        }
        Ok(number as u64)
    }

    /// # Errors
    /// No text.
    pub fn text(&self) -> Result<&'v str, ImportError> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.wrong(format!("a text is expected here, not {}", what(self.value))))
    }

    /// # Errors
    /// A field that is there and no such number.
    pub fn amount_of(&self, key: &str) -> Result<Option<f64>, ImportError> {
        self.get(key).map(|at| at.amount()).transpose()
    }

    /// # Errors
    /// A field that is there and no whole number.
    pub fn count_of(&self, key: &str) -> Result<Option<u64>, ImportError> {
        self.get(key).map(|at| at.count()).transpose()
    }

    /// # Errors
    /// A field that is there and no text.
    pub fn text_of(&self, key: &str) -> Result<Option<&'v str>, ImportError> {
        self.get(key).map(|at| at.text()).transpose()
    }

    /// # Errors
    /// A field that is there and no list of such numbers.
    pub fn amounts_of(&self, key: &str) -> Result<Option<Vec<f64>>, ImportError> {
        let Some(list) = self.get(key) else { return Ok(None) };
        list.items()?.iter().map(At::amount).collect::<Result<_, _>>().map(Some)
    }
}

/// What a value is, for a sentence.
fn what(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

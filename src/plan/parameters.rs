//! Parameters: values given beside the text, which therefore never become syntax.

use indexmap::IndexSet;

use crate::error::{Error, Result};
use crate::value::{Object, Value};

/// Values for the `$name`s of a text.
///
/// ```
/// use bygone::Parameters;
/// let parameters = Parameters::new().set("id", 42).set("since", "2024-01-01");
/// assert_eq!(parameters.get("id"), Some(&42.into()));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(Object);

impl Parameters {
    /// None.
    pub fn new() -> Parameters {
        Parameters::default()
    }

    /// Gives a parameter its value.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Parameters {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The names that have values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Refuses values that no statement of a text asks for: a misspelt name would pass unnoticed.
    pub(crate) fn check_used<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: IndexSet<&str> = names.into_iter().collect();
        match self.0.keys().find(|given| !names.contains(given.as_str())) {
            None => Ok(()),
            Some(unused) => {
                let used = names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ");
                let expected = match used.as_str() {
                    "" => "no parameters: the text has none".to_owned(),
                    used => format!("values for {used} alone"),
                };
                Err(Error::invalid("parameters", expected, format!("${unused}")))
            }
        }
    }
}

impl From<Parameters> for Object {
    fn from(parameters: Parameters) -> Object {
        parameters.0
    }
}

impl From<Object> for Parameters {
    fn from(values: Object) -> Parameters {
        Parameters(values)
    }
}

impl<V: Into<Value>, const N: usize> From<[(&str, V); N]> for Parameters {
    fn from(values: [(&str, V); N]) -> Parameters {
        Parameters(values.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

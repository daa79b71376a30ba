//! Reading the layers of configuration, and saying where a setting was made.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, error::Kind as Fault};
use toml_edit::{ImDocument, Item};

use super::raw::Raw;
use super::settings::{Kind, SETTINGS, Setting, by_key};
use super::{ConfigError, Environment};

/// The layers above the defaults, kept to name the place of what is wrong.
pub(super) struct Layers {
    file: Option<(PathBuf, String)>,
    set_by_environment: BTreeMap<&'static str, &'static Setting>,
    environment: Dict,
}

impl Layers {
    /// Reads `file` and the variables of `environment` that are settings. An
    /// empty variable counts as not set, as deployment tools often write it.
    pub(super) fn read(
        file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let file = file
            .map(|path| match fs::read_to_string(path) {
                Ok(text) => Ok((path.to_owned(), text)),
                Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
            })
            .transpose()?;
        Self::of(file, environment)
    }

    /// The same, of a file that has been read.
    pub(super) fn of(
        file: Option<(PathBuf, String)>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut layers =
            Self { file, set_by_environment: BTreeMap::new(), environment: Dict::new() };
        for setting in SETTINGS {
            if let Some(text) = environment.get(setting.variable) {
                layers.set_by_environment.insert(setting.key, setting);
                insert(&mut layers.environment, setting.key, value(setting, text)?);
            }
        }
        Ok(layers)
    }

    /// All layers in one, the environment over the file.
    pub(super) fn extract(&self) -> Result<Raw, ConfigError> {
        let mut figment = Figment::new();
        if let Some((_, text)) = &self.file {
            figment = figment.merge(Toml::string(text));
        }
        figment = figment.merge(Serialized::defaults(&self.environment));
        figment.extract().map_err(|error| self.explain(&error))
    }

    /// The place where `key` was set, for error messages.
    pub(super) fn origin(&self, key: &str) -> String {
        if let Some(setting) = self.set_by_environment.get(key) {
            return format!("environment variable {}", setting.variable);
        }
        match &self.file {
            Some((path, text)) => match line_of(text, key) {
                Some(line) => format!("{}:{line}: {key}", path.display()),
                None => format!("{}: {key}", path.display()),
            },
            None => key.to_owned(),
        }
    }

    /// An error that names the setting and what it may be.
    pub(super) fn invalid(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { origin: self.origin(key), problem: problem.into() }
    }

    fn explain(&self, error: &figment::Error) -> ConfigError {
        let mut path = error.path.clone();
        let problem = match &error.kind {
            Fault::UnknownField(name, known) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                format!("there is no such setting here: expected one of {}", known.join(", "))
            }
            Fault::InvalidType(found, expected) | Fault::InvalidValue(found, expected) => {
                let expected = if expected == "u64" { "a whole number" } else { expected };
                format!("found {found}, expected {expected}")
            }
            other => other.to_string().trim_end().to_owned(),
        };
        if path.is_empty() {
            // The file isn't TOML at all: the parser's own text has the line.
            let origin = match &self.file {
                Some((path, _)) => path.display().to_string(),
                None => "configuration".to_owned(),
            };
            return ConfigError::Invalid { origin, problem };
        }
        self.invalid(&path.join("."), problem)
    }
}

/// What the text of a variable is, as a value of the configuration.
fn value(setting: &Setting, text: &str) -> Result<Value, ConfigError> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(ConfigError::Invalid {
            origin: format!("environment variable {}", setting.variable),
            problem: format!("found {text:?}, expected UTF-8"),
        });
    }
    match setting.kind {
        Kind::Text => Ok(Value::from(text)),
        Kind::List => {
            let items = text.split(|c: char| c == ',' || c.is_whitespace());
            Ok(items.filter(|item| !item.is_empty()).map(Value::from).collect::<Vec<_>>().into())
        }
        Kind::Sentences => {
            let items = text.split([';', '\n']).map(str::trim);
            Ok(items.filter(|item| !item.is_empty()).map(Value::from).collect::<Vec<_>>().into())
        }
        Kind::Flag => {
            text.trim().parse::<bool>().map(Value::from).map_err(|_| ConfigError::Invalid {
                origin: format!("environment variable {}", setting.variable),
                problem: format!("found {text:?}, expected true or false"),
            })
        }
        Kind::Number => {
            text.trim().parse::<u64>().map(Value::from).map_err(|_| ConfigError::Invalid {
                origin: format!("environment variable {}", setting.variable),
                problem: format!("found {text:?}, expected a whole number"),
            })
        }
    }
}

/// Puts `value` at `table.name`.
fn insert(dict: &mut Dict, key: &str, value: Value) {
    let Some((table, name)) = key.split_once('.') else { return };
    if let Value::Dict(_, fields) =
        dict.entry(table.to_owned()).or_insert_with(|| Value::from(Dict::new()))
    {
        fields.insert(name.to_owned(), value);
    }
}

/// The line, counted from 1, on which `key` stands in a TOML file.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut item: &Item = document.as_item();
    let mut span: Option<Range<usize>> = None;
    for part in key.split('.') {
        let (name, next) = item.as_table_like()?.get_key_value(part)?;
        span = name.span().or_else(|| next.span()).or(span);
        item = next;
    }
    span.map(|span| text[..span.start].matches('\n').count() + 1)
}

/// How a setting can be made, for messages that ask for one.
pub(super) fn how_to_set(key: &str) -> String {
    let variable = by_key(key).map_or("", |setting| setting.variable);
    format!("{variable} ({key})")
}

//! Who may do what.

use super::effective::absolute;
use super::origin::{Layers, how_to_set};
use super::raw::Access as Raw;
use super::storage::{credential, endpoint};
use super::{AccessConfig, ConfigError, Environment};
use crate::access::{Rule, Rules};

/// What systemd's credentials are called that stand for `access.htpasswd` and
/// `access.tokens`.
const HTPASSWD_CREDENTIAL: &str = "htpasswd";
const TOKENS_CREDENTIAL: &str = "tokens";

/// `None` if everybody may everything, which is so unless anything is set.
pub(super) fn access(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<Option<AccessConfig>, ConfigError> {
    let file = |key: &str, set: Option<&str>, name: &str| match set {
        Some(path) => absolute(layers, key, path).map(Some),
        None => Ok(credential(environment, name)),
    };
    let htpasswd = file("access.htpasswd", raw.htpasswd.as_deref(), HTPASSWD_CREDENTIAL)?;
    let tokens = file("access.tokens", raw.tokens.as_deref(), TOKENS_CREDENTIAL)?;
    let url = endpoint(layers, "access.url", raw.url.as_deref())?;
    let has_users = htpasswd.is_some() || tokens.is_some();
    let how_to_have_users =
        || format!("{} or {}", how_to_set("access.htpasswd"), how_to_set("access.tokens"));
    let rules = match raw.rules.as_deref() {
        None if has_users => Rules::for_users(),
        None if url.is_some() => {
            let problem = format!("nobody has to log in: set {} too", how_to_have_users());
            return Err(layers.invalid("access.url", problem));
        }
        None => return Ok(None),
        Some([]) => {
            let problem = "there is no rule, so nobody may do anything: expected one such as \
                           \"anonymous may pull\"";
            return Err(layers.invalid("access.rules", problem));
        }
        Some(texts) => {
            let rules = texts.iter().map(|text| text.parse::<Rule>()).collect::<Result<_, _>>();
            Rules::new(rules.map_err(|error| layers.invalid("access.rules", error.to_string()))?)
        }
    };
    if rules.need_login() && !has_users {
        let problem = format!(
            "there is a rule for those who log in, but nothing to compare them with: set {}",
            how_to_have_users()
        );
        return Err(layers.invalid("access.rules", problem));
    }
    if rules.need_login() && rules.are_for_anonymous() && url.is_none() {
        // Not taken from requests: behind a proxy that doesn't say that it speaks TLS,
        // clients would be told to send passwords without.
        let problem = format!(
            "some may do something without logging in, and others more: clients have to be told \
             where to log in, so set {} to the URL by which they reach this server",
            how_to_set("access.url")
        );
        return Err(layers.invalid("access.rules", problem));
    }
    Ok(Some(AccessConfig { htpasswd, tokens, rules, url }))
}

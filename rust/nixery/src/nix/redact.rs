//! Keeping secrets out of logs and answers.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// `text` without the user names and passwords of the URLs in it. Git and Nix
/// name the URLs that they were given in full.
pub(super) fn without_credentials(text: &str) -> Cow<'_, str> {
    #[expect(clippy::unwrap_used, reason = "the expression is constant, and tested")]
    static CREDENTIALS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/ \t\r\n@'"]*@"#).unwrap());
    CREDENTIALS.replace_all(text, "$1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credentials_are_left_out() {
        for (text, shown) in [
            ("in https://me:secret@host/a@b: no", "in https://host/a@b: no"),
            ("'git+ssh://git@host/x' 'http://u:p@h'", "'git+ssh://host/x' 'http://h'"),
            ("https://host/a and b@c", "https://host/a and b@c"),
            ("é://a@b", "é://a@b"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}

//! The environment in which an image's programs run.

use crate::layers::Closure;
use crate::store_path::StorePath;

/// Where a C library looks for its UTF-8 locale, below a store path.
const LOCALES: &str = "lib/locale";

/// Names that the one UTF-8 locale which every C library can have goes by.
const UTF8_LOCALES: [&str; 2] = ["C.utf8", "C.UTF-8"];

/// The store paths that have that locale. May wait for the disk.
pub(super) fn locales(closure: &Closure) -> Vec<StorePath> {
    let has_locale = |path: &&StorePath| {
        let locales = path.as_path().join(LOCALES);
        UTF8_LOCALES.iter().any(|name| locales.join(name).is_dir())
    };
    closure.nodes().iter().map(|node| &node.path).filter(has_locale).cloned().collect()
}

/// The variables of an image in which these store paths have the locale.
pub(super) fn variables<'a>(locales: impl Iterator<Item = &'a StorePath>) -> Vec<String> {
    let mut variables = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt".to_owned(),
    ];
    if let Some(path) = locales.min() {
        variables.push("LANG=C.UTF-8".to_owned());
        // A C library from elsewhere doesn't look below its own store path.
        variables.push(format!("LOCPATH={path}/{LOCALES}"));
    }
    variables
}

//! The environment in which an image's programs run.

use crate::layers::Closure;

/// Where a C library looks for its UTF-8 locale, below a store path.
const LOCALES: &str = "lib/locale";

/// Names that the one UTF-8 locale which every C library can have goes by.
const UTF8_LOCALES: [&str; 2] = ["C.utf8", "C.UTF-8"];

/// The variables of an image with these store paths. May wait for the disk.
pub(super) fn variables(closure: &Closure) -> Vec<String> {
    let mut variables = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt".to_owned(),
    ];
    let locales = closure.nodes().iter().find_map(|node| {
        let locales = node.path.as_path().join(LOCALES);
        UTF8_LOCALES.iter().any(|name| locales.join(name).is_dir()).then_some(locales)
    });
    if let Some(locales) = locales {
        variables.push("LANG=C.UTF-8".to_owned());
        // A C library from elsewhere doesn't look below its own store path.
        variables.push(format!("LOCPATH={}", locales.display()));
    }
    variables
}

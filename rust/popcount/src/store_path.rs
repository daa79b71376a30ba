//! Store paths by the last component, which is all that a cache knows them by.

/// Length of the hash in front of the name: 160 bits in Nix's base 32.
/// Source: Nix manual, "Store Path".
const HASH_LENGTH: usize = 32;

/// The last component of a store path, such as `3k8m…-bash-5.2`: hash, dash, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseName(Box<str>);

impl BaseName {
    /// `text`, if it is one, with nothing before or after it.
    pub fn new(text: &str) -> Option<Self> {
        // Nix's own rule for names; they are safe in URLs and in lines of a file.
        let name_ok = |c: u8| c.is_ascii_alphanumeric() || b"+-._?=".contains(&c);
        let bytes = text.as_bytes();
        let ok = bytes.len() > HASH_LENGTH + 1
            && bytes[HASH_LENGTH] == b'-'
            && bytes[..HASH_LENGTH].iter().all(u8::is_ascii_alphanumeric)
            && bytes[HASH_LENGTH + 1..].iter().copied().all(name_ok);
        ok.then(|| Self(text.into()))
    }

    /// That of a whole store path, in any store directory.
    pub fn of_path(path: &str) -> Option<Self> {
        let (store, base) = path.rsplit_once('/')?;
        if store.starts_with('/') { Self::new(base) } else { None }
    }

    /// The whole component.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash, by which caches name what they know of a path.
    pub fn hash(&self) -> &str {
        &self.0[..HASH_LENGTH]
    }

    /// The name with version and output suffix, such as `glibc-2.40-66-bin`.
    pub fn name(&self) -> &str {
        &self.0[HASH_LENGTH + 1..]
    }

    /// The package's name, such as `glibc`.
    pub fn package(&self) -> &str {
        package_name(self.name())
    }
}

/// What stands before the first dash that is followed by something other than a
/// letter, or all of it. The server splits names in the same way.
/// Source: `builtins.parseDrvName`, Nix manual, "Built-ins".
fn package_name(name: &str) -> &str {
    let starts_version = |pair: &[u8]| pair[0] == b'-' && !pair[1].is_ascii_alphabetic();
    match name.as_bytes().windows(2).position(starts_version) {
        // A position of an ASCII dash is a character boundary.
        Some(dash) => &name[..dash],
        None => name,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A base name with the hash that `digit` makes.
    pub(crate) fn base(digit: char, name: &str) -> BaseName {
        BaseName::new(&format!("{}-{name}", digit.to_string().repeat(HASH_LENGTH))).unwrap()
    }

    #[test]
    fn takes_paths_apart() {
        let text = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-glibc-2.40-66-bin";
        let path = BaseName::of_path(text).unwrap();
        assert_eq!(path.hash(), "0123456789abcdfghijklmnpqrsvwxyz");
        assert_eq!(path.name(), "glibc-2.40-66-bin");
        assert_eq!(path.package(), "glibc");
        assert_eq!(BaseName::new(path.as_str()), Some(path));
    }

    #[test]
    fn refuses_what_is_no_store_path() {
        let hash = "0".repeat(HASH_LENGTH);
        for wrong in [
            String::new(),
            "bash-5.2".to_owned(),
            hash.clone(),
            format!("{hash}-"),
            format!("{hash}_bash"),
            format!("{hash}-bash/bin"),
            format!("{hash}-bash 5"),
            format!("{hash}-bash\r"),
            format!("{hash}-bäsh"),
            format!("../{hash}-bash"),
            format!("{}-bash", "é".repeat(16)),
        ] {
            assert_eq!(BaseName::new(&wrong), None, "{wrong:?}");
        }
        for wrong in [format!("{hash}-bash"), format!("nix/store/{hash}-bash"), "/".to_owned()] {
            assert_eq!(BaseName::of_path(&wrong), None, "{wrong:?}");
        }
    }

    // The same names as in the server's own test: its table is looked up by them.
    #[test]
    fn splits_names_like_nix() {
        for (name, package) in [
            ("glibc-2.40-66", "glibc"),
            ("git-with-svn-2.47.0-doc", "git-with-svn"),
            ("python3.12-requests-2.32.3", "python3.12-requests"),
            ("gtk+3-3.24", "gtk+3"),
            ("font-util-unstable-2020", "font-util-unstable"),
            ("source", "source"),
            ("a--b", "a"),
            ("a-_b", "a"),
            ("-1", ""),
            ("trailing-", "trailing-"),
        ] {
            assert_eq!(package_name(name), package, "{name}");
        }
    }
}

//! What every root file system has besides the packages.

use super::tree::{Directory, Node};

/// Directories that programs expect, and their modes. Container runtimes mount
/// over the first four, and some (Singularity) only where they exist.
const DIRECTORIES: [(&str, u32); 9] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("etc", 0o755),
    ("root", 0o700),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// The users and groups that Linux programs take for granted, and where names
/// are looked up: without the last of these, some C libraries ask name servers
/// before `/etc/hosts`.
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    (
        "etc/group",
        "root:x:0:\n\
         nogroup:x:65534:\n",
    ),
    (
        "etc/nsswitch.conf",
        "passwd: files\n\
         group: files\n\
         shadow: files\n\
         hosts: files dns\n\
         networks: files\n\
         services: files\n\
         protocols: files\n",
    ),
];

/// Paths at which something is expected, and where the packages may have it;
/// the first that exists is taken.
const LINKS: [(&str, &[&str]); 4] = [
    ("bin/sh", &["bin/bash", "bin/dash"]),
    ("usr/bin/env", &["bin/env"]),
    // Where nixpkgs' OpenSSL and curl look, and where Debian's and Go's do.
    ("etc/ssl/certs/ca-bundle.crt", &["etc/ssl/certs/ca-certificates.crt"]),
    ("etc/ssl/certs/ca-certificates.crt", &["etc/ssl/certs/ca-bundle.crt"]),
];

/// Completes `root`. What packages brought stays, but for anything that is not a
/// directory where one has to be.
pub(super) fn complete(root: &mut Directory) {
    for (path, mode) in DIRECTORIES {
        root.edit(path, |directory| directory.mode = mode);
    }
    for (path, content) in FILES {
        root.add(path, Node::File { mode: 0o644, content: content.into() });
    }
    for (path, candidates) in LINKS {
        let target = candidates.iter().find_map(|candidate| match root.get(candidate) {
            Some(Node::Symlink { target }) => Some(target.clone()),
            _ => None,
        });
        if let Some(target) = target {
            root.add(path, Node::Symlink { target });
        }
    }
}

//! Images that nobody has seen: each has a package that Nix has to build.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// How far a build counts, in a shell: that takes some seconds.
const COUNT: u32 = 6_000_000;

/// The packages, and the names of images of them.
pub(crate) struct ColdImages {
    count: u32,
    /// Tells the packages of this run from those of others.
    run: u64,
}

impl ColdImages {
    pub(crate) fn new(count: u32) -> Self {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { count, run }
    }

    /// The names of the images.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| format!("cold-{number}"))
    }

    /// The packages, as attributes of a set in Nix. They need a shell at /bin/sh and no
    /// other programs, so they are built in a sandbox too.
    pub(crate) fn packages(&self) -> String {
        let mut text = String::new();
        for name in self.names() {
            let run = self.run;
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "  {name} = derivation {{ inherit system; name = \"{name}-{run}\"; builder = \"/bin/sh\"; \
                 args = [ \"-c\" \"i=0; while [ $i -lt {COUNT} ]; do i=$((i+1)); done; \
                 echo {name} > $out\" ]; }};"
            );
        }
        text
    }
}

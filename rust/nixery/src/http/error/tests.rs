use std::time::Duration;

use super::*;
use crate::nix::{Missing, RefusalReason};

fn nix(error: NixError) -> ApiError {
    Failure::logged("a test", AssembleError::Nix(error)).into()
}

#[test]
fn failures_tell_clients_what_they_can_act_on() {
    let missing = |name: &str, near: &[&str]| Missing {
        name: name.to_owned(),
        near: near.iter().map(|&name| name.to_owned()).collect(),
    };
    let packages =
        vec![missing("gti", &["git"]), missing("zzz", &[]), missing("geoipp", &["GeoIP"])];
    let name = "pkg".to_owned();
    let message = "its licence is unfree".to_owned();
    for (error, status, code, text) in [
        (
            NixError::PackagesNotFound { packages },
            404,
            "MANIFEST_UNKNOWN",
            "Could not find Nix packages: gti (did you mean git?), zzz, geoipp (did you mean \
             geoip?)",
        ),
        (
            NixError::Refused { name, reason: RefusalReason::Unfree, message },
            403,
            "DENIED",
            "the package pkg is refused: its licence is unfree",
        ),
        (
            NixError::BuildFailed {
                message: "pkg failed to build".to_owned(),
                log: vec!["one".to_owned(), "two".to_owned()],
            },
            403,
            "DENIED",
            "pkg failed to build; the last lines of its log:\none\ntwo",
        ),
        (
            NixError::TimedOut { limit: Duration::from_mins(1) },
            403,
            "DENIED",
            "Nix was not done with this image after 60 seconds. Packages that were finished \
             by then are kept, so trying again goes on from there; if a single one takes \
             longer, the server's NIX_TIMEOUT has to be raised",
        ),
    ] {
        let error = nix(error);
        assert_eq!((error.classify().0.as_u16(), error.classify().1), (status, code));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn what_only_operators_can_act_on_is_not_told() {
    let broken = nix(NixError::BuilderBroken { problem: "secret".to_owned() });
    let git = nix(NixError::SourceUnavailable { message: "https://me:secret@host".to_owned() });
    for (error, status) in [(broken, 500), (git, 503)] {
        let ApiError::Failure(failure) = &error else { panic!("{error:?}") };
        assert_eq!(error.classify().0, status);
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains(failure.id()), "{error}");
    }
}

//! What a path below `/v2/` asks for.
//!
//! Source: OCI distribution specification, "Endpoints".

use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::image::ImageName;
use crate::oci::{Digest, InvalidDigest, is_of_any_algorithm};
use crate::source::Tag;

/// A request, taken apart and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Is this a registry?
    Base,
    /// A manifest.
    Manifest { name: ImageName, reference: Reference },
    /// A configuration or a layer.
    Blob { name: ImageName, digest: Digest },
    /// Which tags there are.
    Tags { name: ImageName },
    /// What refers to a manifest.
    Referrers { name: ImageName },
}

/// What chooses one manifest of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl Route {
    /// Takes `path` apart: percent-encoded, without a query, beginning with
    /// `/v2`.
    pub(super) fn parse(path: &str) -> Result<Self, ApiError> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| ApiError::MalformedPath)?;
        let rest = path.strip_prefix("/v2").unwrap_or(&path);
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Base);
        }
        // From the end, as names may contain what looks like a keyword.
        let (head, last) = rest.rsplit_once('/').ok_or(ApiError::NoSuchEndpoint)?;
        let (name, keyword) = head.rsplit_once('/').ok_or(ApiError::NoSuchEndpoint)?;
        let parse_name = |name: &str| name.strip_prefix('/').unwrap_or(name).parse::<ImageName>();
        match (keyword, last) {
            ("tags", "list") => Ok(Self::Tags { name: parse_name(name)? }),
            ("manifests", reference) => Ok(Self::Manifest {
                name: parse_name(name)?,
                reference: Reference::parse(reference)?,
            }),
            ("blobs", digest) => {
                let name = parse_name(name)?;
                Ok(Self::Blob { name, digest: parse_digest(digest, "BLOB_UNKNOWN")? })
            }
            ("referrers", digest) => {
                let name = parse_name(name)?;
                // Nothing refers to anything here, whatever the algorithm.
                if is_of_any_algorithm(digest) {
                    return Ok(Self::Referrers { name });
                }
                Err(digest.parse::<Digest>().err().map_or(ApiError::NoSuchEndpoint, Into::into))
            }
            _ => Err(ApiError::NoSuchEndpoint),
        }
    }
}

impl Route {
    /// The image that it is about.
    pub(super) fn name(&self) -> Option<&ImageName> {
        match self {
            Self::Base => None,
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

impl Reference {
    /// Tags can't contain a colon and digests must.
    fn parse(text: &str) -> Result<Self, ApiError> {
        if text.contains(':') {
            Ok(Self::Digest(parse_digest(text, "MANIFEST_UNKNOWN")?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

/// A digest that is well-formed, but not SHA-256, is one of nothing that is here.
fn parse_digest(text: &str, code: &'static str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error: InvalidDigest| {
        if is_of_any_algorithm(text) {
            ApiError::OtherAlgorithm { digest: text.to_owned(), code }
        } else {
            error.into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"")
    }

    fn name(text: &str) -> ImageName {
        text.parse().unwrap()
    }

    #[test]
    fn takes_paths_apart_from_the_end() {
        let manifest = |path: &str, image: &str| {
            let reference = Reference::Tag("latest".parse().unwrap());
            let expected = Route::Manifest { name: name(image), reference };
            assert_eq!(Route::parse(path).unwrap(), expected, "{path}");
        };
        manifest("/v2/git/manifests/latest", "git");
        manifest("/v2/shell/git/htop/manifests/latest", "shell/git/htop");
        manifest("/v2/blobs/manifests/manifests/latest", "blobs/manifests");
        manifest("/v2/tags/list/manifests/latest", "tags/list");
        manifest("/v2/shell%2Fgit/manifests/latest", "shell/git");
        manifest("/v2/shell/git/%6danifests/latest", "shell/git");
        assert_eq!(
            Route::parse("/v2/manifests/tags/list").unwrap(),
            Route::Tags { name: name("manifests") }
        );
        let encoded = digest().to_string().replace(':', "%3A");
        assert_eq!(
            Route::parse(&format!("/v2/git/blobs/{encoded}")).unwrap(),
            Route::Blob { name: name("git"), digest: digest() }
        );
        assert_eq!(
            Route::parse(&format!("/v2/git/referrers/{}", digest())).unwrap(),
            Route::Referrers { name: name("git") }
        );
        for base in ["/v2", "/v2/"] {
            assert_eq!(Route::parse(base).unwrap(), Route::Base);
        }
    }

    #[test]
    fn malformed_paths_say_what_is_malformed() {
        let code = |path: &str| Route::parse(path).unwrap_err().classify().1;
        assert_eq!(code("/v2/Git/manifests/latest"), "NAME_INVALID");
        assert_eq!(code("/v2//manifests/latest"), "NAME_INVALID");
        assert_eq!(code("/v2/../etc/manifests/latest"), "NAME_INVALID");
        assert_eq!(code("/v2/git/manifests/-rf"), "TAG_INVALID");
        assert_eq!(code("/v2/git/manifests/"), "TAG_INVALID");
        assert_eq!(code("/v2/git/manifests/sha256:12"), "DIGEST_INVALID");
        assert_eq!(code("/v2/git/blobs/latest"), "DIGEST_INVALID");
        assert_eq!(code("/v2/git/blobs/..%2F..%2Fetc"), "UNSUPPORTED");
        assert_eq!(code("/v2/_catalog"), "UNSUPPORTED");
        assert_eq!(code("/v2/%ff/manifests/latest"), "NAME_INVALID");
    }

    #[test]
    fn fuzzed() {
        let digest = digest().to_string();
        let seeds = [
            "/v2/".to_owned(),
            "/v2/shell/git/manifests/latest".to_owned(),
            format!("/v2/git/manifests/{digest}"),
            format!("/v2/a/b/c/blobs/{digest}"),
            "/v2/tags/list/tags/list".to_owned(),
            format!("/v2/git/referrers/{}", digest.replace(':', "%3A")),
            "/v2/shell%2Fgit/%6danifests/latest".to_owned(),
        ];
        let words =
            ["/v2/", "/manifests/", "/blobs/", "/tags/list", "/referrers/", "sha256:", "%2e"];
        crate::fuzz::parser("paths below /v2/", seeds).words(words).run(
            |input| {
                let path = std::str::from_utf8(input).ok()?;
                let route = Route::parse(path);
                route.map_err(|error| (error.classify(), error.to_string())).ok()
            },
            |_, parsed| {
                // What was understood is understood the same when it is written plainly.
                let plain = match &parsed {
                    None => return,
                    Some(Route::Base) => "/v2/".to_owned(),
                    Some(Route::Manifest { name, reference: Reference::Tag(tag) }) => {
                        format!("/v2/{name}/manifests/{}", tag.as_str())
                    }
                    Some(Route::Manifest { name, reference: Reference::Digest(digest) }) => {
                        format!("/v2/{name}/manifests/{digest}")
                    }
                    Some(Route::Blob { name, digest }) => format!("/v2/{name}/blobs/{digest}"),
                    Some(Route::Tags { name }) => format!("/v2/{name}/tags/list"),
                    Some(Route::Referrers { name }) => {
                        format!("/v2/{name}/referrers/{digest}")
                    }
                };
                assert_eq!(Route::parse(&plain).ok(), parsed);
            },
        );
    }
}

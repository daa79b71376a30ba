//! What a path below `/v2/` asks for.
//!
//! Source: OCI distribution specification, "Endpoints".

use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::image::ImageName;
use crate::oci::Digest;
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
    Referrers { name: ImageName, digest: Digest },
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
                Ok(Self::Blob { name: parse_name(name)?, digest: digest.parse()? })
            }
            ("referrers", digest) => {
                Ok(Self::Referrers { name: parse_name(name)?, digest: digest.parse()? })
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
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
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
            Route::Referrers { name: name("git"), digest: digest() }
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
}

//! What is asked for.

use serde_json::Value;

use crate::Result;

/// What Docker sends.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// Sizes of which the layers come nearest to those that are measured.
const BLOBS: [(&str, u64); 3] =
    [("blob of 7 KB", 7_000), ("blob of 1 MB", 1_000_000), ("blob of 40 MB", 40_000_000)];

/// Bytes that are asked for in the middle of the largest blob.
const RANGE: u64 = 65_536;

/// Something with a digest.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// An image that the server has.
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) manifest: Content,
    pub(crate) layers: Vec<Content>,
}

/// One request, and what its answer must be.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) status: u16,
    pub(crate) size: u64,
    /// What the body must hash to, where all of it is asked for.
    pub(crate) digest: Option<String>,
}

impl Image {
    pub(crate) fn new(name: &str, manifest: Content, document: &[u8]) -> Result<Self> {
        let document: Value = serde_json::from_slice(document)?;
        let layers = document["layers"].as_array().ok_or("the manifest has no layers")?;
        let layers = layers.iter().map(|layer| {
            let digest = layer["digest"].as_str().unwrap_or_default().to_owned();
            Content { digest, size: layer["size"].as_u64().unwrap_or_default() }
        });
        Ok(Self { name: name.to_owned(), manifest, layers: layers.collect() })
    }

    fn layer(&self, size: u64) -> Option<&Content> {
        self.layers.iter().min_by_key(|layer| layer.size.abs_diff(size))
    }
}

impl Workload {
    /// A GET that must succeed.
    pub(crate) fn get(name: &'static str, path: String, content: &Content) -> Self {
        Self {
            name,
            method: "GET",
            path,
            header: None,
            status: 200,
            size: content.size,
            digest: Some(content.digest.clone()),
        }
    }

    /// GET of a manifest.
    pub(crate) fn manifest(name: &'static str, path: String, content: &Content) -> Self {
        Self { header: Some(("accept", ACCEPT.to_owned())), ..Self::get(name, path, content) }
    }

    /// The bytes of the request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let Self { method, path, .. } = self;
        let header = self.header.as_ref();
        let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nhost: localhost:8080\r\n{header}\r\n").into_bytes()
    }
}

/// Everything that is measured.
pub(crate) fn all(image: &Image) -> Vec<Workload> {
    let path = |kind: &str, reference: &str| format!("/v2/{}/{kind}/{reference}", image.name);
    let manifest = &image.manifest;
    let by_tag = || Workload::manifest("manifest by tag", path("manifests", "latest"), manifest);
    let by_digest = path("manifests", &manifest.digest);
    let base = Workload {
        name: "/v2/",
        method: "GET",
        path: "/v2/".to_owned(),
        header: None,
        status: 200,
        size: 2,
        digest: None,
    };
    let mut all = vec![
        base,
        by_tag(),
        Workload { name: "manifest by tag, HEAD", method: "HEAD", digest: None, ..by_tag() },
        Workload::manifest("manifest by digest", by_digest, manifest),
    ];
    for (name, size) in BLOBS {
        let Some(layer) = image.layer(size) else { continue };
        all.push(Workload::get(name, path("blobs", &layer.digest), layer));
    }
    if let Some(layer) = image.layer(u64::MAX) {
        let first = layer.size / 2;
        all.push(Workload {
            name: "64 KiB of a blob of 40 MB",
            header: Some(("range", format!("bytes={first}-{}", first + RANGE - 1))),
            status: 206,
            size: RANGE,
            digest: None,
            ..Workload::get("", path("blobs", &layer.digest), layer)
        });
    }
    all
}

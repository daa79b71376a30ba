//! Reading what is stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use super::plan::{About, IN_USE, Pointer, Stock, StoredBlob, StoredImage};
use super::{GcError, Limits};
use crate::cache::{LayerRecord, ManifestRecord, PathRecord, parse};
use crate::concurrent::try_all;
use crate::oci::{Descriptor, Digest, Manifest};
use crate::storage::{Object, RecordKey, RecordKind, Storage, StorageError, Stored};

/// Largest blob that is looked at as a manifest, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// Everything that is stored, and the records of packages that nobody has used within
/// `limits.keep`.
pub(super) struct Inventory {
    pub(super) stock: Stock,
    pub(super) old_packages: Vec<RecordKey>,
}

pub(super) async fn read(
    storage: &Arc<dyn Storage>,
    limits: &Limits,
    now: SystemTime,
) -> Result<Inventory, GcError> {
    let all = storage.list().await?;
    let mut stock = Stock::default();
    let mut records: HashMap<RecordKind, Vec<(RecordKey, SystemTime)>> = HashMap::new();
    for Stored { object, size, used } in all {
        match object {
            Object::Blob(digest) => drop(stock.blobs.insert(digest, StoredBlob { size, used })),
            Object::Record(key) => records.entry(key.kind).or_default().push((key, used)),
        }
    }
    let mut take = |kind| records.remove(&kind).unwrap_or_default();
    let keep = limits.keep.max(IN_USE);
    let old = |used: &SystemTime| now.duration_since(*used).is_ok_and(|age| age > keep);
    let old_packages = take(RecordKind::Package).into_iter().filter(|(_, used)| old(used));
    let old_packages = old_packages.map(|(key, _)| key).collect();

    let pointers = take(RecordKind::Build).into_iter().chain(take(RecordKind::Path));
    let pointers = try_all(pointers.map(|(key, used)| pointer(storage, key, used))).await?;
    stock.pointers = pointers.into_iter().flatten().collect();

    let manifests = take(RecordKind::Manifest).into_iter();
    let images = manifests.map(|(key, used)| recorded(storage, key, used, &stock.blobs));
    let mut images: Vec<StoredImage> = try_all(images).await?.into_iter().flatten().collect();
    images.extend(unrecorded(storage, &images, &stock.blobs, old).await?);
    stock.images = images;
    Ok(Inventory { stock, old_packages })
}

/// A record of a layer or a store path. One that can't be read leads nowhere.
async fn pointer(
    storage: &Arc<dyn Storage>,
    key: RecordKey,
    used: SystemTime,
) -> Result<Option<Pointer>, GcError> {
    let Some(content) = storage.read_record(&key).await? else { return Ok(None) };
    let found = match key.kind {
        RecordKind::Build => parse::<LayerRecord>(&key, &content)
            .map(|layer| (layer.blob.digest, About::Layer(Box::new(layer)))),
        RecordKind::Path => parse::<PathRecord>(&key, &content)
            .map(|path| (path.blob.digest, About::Path(path.members.path, path.level))),
        RecordKind::Manifest | RecordKind::Package => None,
    };
    let (blob, about) = found.unwrap_or((Digest::of(b""), About::Nothing));
    Ok(Some(Pointer { key, used, blob, about }))
}

/// The image of a record. Where its manifests are missing, it has no blobs.
async fn recorded(
    storage: &Arc<dyn Storage>,
    key: RecordKey,
    used: SystemTime,
    blobs: &HashMap<Digest, StoredBlob>,
) -> Result<Option<StoredImage>, GcError> {
    let Some(content) = storage.read_record(&key).await? else { return Ok(None) };
    let Some(record) = parse::<ManifestRecord>(&key, &content) else {
        // Nobody can use it, and whoever wants the image makes another.
        let (name, used) = ("an unreadable record".to_owned(), SystemTime::UNIX_EPOCH);
        let (manifests, blobs) = (Vec::new(), Vec::new());
        return Ok(Some(StoredImage { name, record: Some(key), manifests, blobs, used }));
    };
    let manifests: Vec<Digest> = record.manifests.iter().map(|d| d.digest).collect();
    let parts = try_all(manifests.iter().map(|digest| parts(storage, *digest))).await?;
    // Clients that know the digest ask for that and not for the name.
    let by_digest = manifests.iter().filter_map(|digest| blobs.get(digest)).map(|blob| blob.used);
    let used = by_digest.fold(used, SystemTime::max);
    let parts = parts.into_iter().flatten().flatten().map(|part| part.digest);
    let mut blobs: Vec<Digest> = parts.chain(manifests.iter().copied()).collect();
    blobs.sort_unstable();
    blobs.dedup();
    Ok(Some(StoredImage { name: record.image, record: Some(key), manifests, blobs, used }))
}

/// Images that no record names, but that clients may know by their digest: the
/// manifests among the small blobs that belong to no other image and are not `old`.
async fn unrecorded(
    storage: &Arc<dyn Storage>,
    images: &[StoredImage],
    blobs: &HashMap<Digest, StoredBlob>,
    old: impl Fn(&SystemTime) -> bool,
) -> Result<Vec<StoredImage>, GcError> {
    let belongs: HashSet<Digest> =
        images.iter().flat_map(|image| image.blobs.iter().copied()).collect();
    let candidates: Vec<(Digest, SystemTime)> = blobs
        .iter()
        .filter(|(digest, blob)| {
            !belongs.contains(digest) && blob.size <= MAX_MANIFEST && !old(&blob.used)
        })
        .map(|(digest, blob)| (*digest, blob.used))
        .collect();
    let found = try_all(candidates.into_iter().map(|(digest, used)| async move {
        let parts = parts(storage, digest).await?;
        Ok::<_, GcError>(parts.map(|parts| StoredImage {
            name: format!("an image known by its digest only, {digest}"),
            record: None,
            manifests: vec![digest],
            blobs: parts.into_iter().map(|part| part.digest).chain([digest]).collect(),
            used,
        }))
    }));
    Ok(found.await?.into_iter().flatten().collect())
}

/// What a manifest names; `None` for any other blob.
async fn parts(
    storage: &Arc<dyn Storage>,
    digest: Digest,
) -> Result<Option<Vec<Descriptor>>, GcError> {
    let Some(blob) = storage.open_blob(&digest).await? else { return Ok(None) };
    let read = spawn_blocking(move || blob.read_all(MAX_MANIFEST));
    let content = read.await.map_err(|_| GcError::Crashed)?;
    let content = content.map_err(|source| StorageError::Io {
        action: "read",
        path: digest.to_string().into(),
        source,
    })?;
    Ok(content.and_then(Manifest::recognise).map(|manifest| manifest.blobs()))
}

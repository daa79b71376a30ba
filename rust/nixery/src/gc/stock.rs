//! Reading what is stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::plan::{About, IN_USE, Pointer, Stock, StoredBlob, StoredImage};
use super::{GcError, Limits};
use crate::cache::{LayerRecord, MAX_MANIFEST, ManifestRecord, PathRecord, Records, parse};
use crate::concurrent::try_all;
use crate::error_chain::ErrorChain;
use crate::oci::{Descriptor, Digest};
use crate::storage::{Object, RecordKey, RecordKind, Storage, Stored};

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

    let reader = Records::new(Arc::clone(storage));
    let manifests = take(RecordKind::Manifest).into_iter();
    let images = manifests.map(|(key, used)| recorded(&reader, key, used, &stock.blobs));
    let mut images: Vec<StoredImage> = try_all(images).await?.into_iter().flatten().collect();
    images.extend(unrecorded(&reader, &images, &stock.blobs, old).await?);
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
    records: &Records,
    key: RecordKey,
    used: SystemTime,
    blobs: &HashMap<Digest, StoredBlob>,
) -> Result<Option<StoredImage>, GcError> {
    let Some(content) = records.storage().read_record(&key).await? else { return Ok(None) };
    let Some(record) = parse::<ManifestRecord>(&key, &content) else {
        // Nobody can use it, and whoever wants the image makes another.
        let (name, used) = ("an unreadable record".to_owned(), SystemTime::UNIX_EPOCH);
        let (manifests, blobs) = (Vec::new(), Vec::new());
        return Ok(Some(StoredImage { name, record: Some(key), manifests, blobs, used }));
    };
    let manifests: Vec<Digest> = record.manifests.iter().map(|d| d.digest).collect();
    let mut parts_of_all = Vec::new();
    for digest in &manifests {
        parts_of_all.extend(parts(records, *digest).await.into_iter().flatten());
    }
    // Clients that know the digest ask for that and not for the name.
    let by_digest = manifests.iter().filter_map(|digest| blobs.get(digest)).map(|blob| blob.used);
    let used = by_digest.fold(used, SystemTime::max);
    let parts = parts_of_all.into_iter().map(|part| part.digest);
    let mut blobs: Vec<Digest> = parts.chain(manifests.iter().copied()).collect();
    blobs.sort_unstable();
    blobs.dedup();
    Ok(Some(StoredImage { name: record.image, record: Some(key), manifests, blobs, used }))
}

/// Images that no record names, but that clients may know by their digest: the
/// manifests among the small blobs that belong to no other image and are not `old`.
async fn unrecorded(
    records: &Records,
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
        let parts = parts(records, digest).await;
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

/// What a manifest names; `None` for any other blob. One that can't be read doesn't keep
/// the rest from being collected: nobody can pull that image either.
async fn parts(records: &Records, digest: Digest) -> Option<Vec<Descriptor>> {
    match records.manifest(&digest).await {
        Ok(manifest) => manifest.map(|manifest| manifest.blobs()),
        Err(error) => {
            tracing::error!(%digest, "a manifest can't be read: {}", ErrorChain(&error));
            None
        }
    }
}

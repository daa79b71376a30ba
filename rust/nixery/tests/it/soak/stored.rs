//! What must be true of a storage at every moment, however its servers ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nixery::oci::Digest;
use serde_json::Value;

use crate::harness::{BUCKET, Emulator, get};

/// Everything that is stored, by its name (`layers/2e69…`), and how much is unfinished.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    objects: BTreeMap<String, Vec<u8>>,
    pub(crate) unfinished: usize,
}

impl Stored {
    pub(crate) fn in_directory(storage: &Path) -> Self {
        let mut stored = Self::default();
        for directory in fs::read_dir(storage).unwrap() {
            let directory = directory.unwrap();
            for entry in fs::read_dir(directory.path()).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with(".tmp-") {
                    stored.unfinished += 1;
                    continue;
                }
                let name = format!("{}/{name}", directory.file_name().to_str().unwrap());
                stored.objects.insert(name, fs::read(entry.path()).unwrap());
            }
        }
        stored
    }

    pub(super) fn in_bucket(emulator: &Emulator) -> Self {
        let address = emulator.address().to_string();
        let list = get(&address, &format!("/storage/v1/b/{BUCKET}/o")).json();
        assert!(list["nextPageToken"].is_null(), "there is one page only");
        let mut stored = Self::default();
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["name"].as_str().unwrap();
            if name.starts_with("staging/") {
                stored.unfinished += 1;
                continue;
            }
            let path = format!("/storage/v1/b/{BUCKET}/o/{}?alt=media", name.replace('/', "%2F"));
            let content = get(&address, &path);
            assert_eq!(content.status, 200, "{name}");
            stored.objects.insert(name.to_owned(), content.body);
        }
        stored
    }

    /// The digests of all blobs.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let names = self.objects.keys().filter_map(|name| name.strip_prefix("layers/"));
        names.map(|name| format!("sha256:{name}")).collect()
    }

    fn blob(&self, descriptor: &Value, promised_by: &str) -> &[u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = self.objects.get(&format!("layers/{}", &digest[7..]));
        let blob = blob.unwrap_or_else(|| panic!("{promised_by} promises {digest}"));
        assert_eq!(blob.len() as u64, descriptor["size"].as_u64().unwrap(), "{digest}");
        blob
    }

    /// Checks that each blob is what its name says, that each record is whole, and that
    /// what records promise is there.
    pub(crate) fn check(&self) {
        for (name, content) in &self.objects {
            if let Some(hex) = name.strip_prefix("layers/") {
                assert_eq!(Digest::of(content).hex(), hex, "a blob");
                continue;
            }
            let record: Value = serde_json::from_slice(content)
                .unwrap_or_else(|error| panic!("half a record is under {name}: {error}"));
            let record = &record["record"];
            if name.starts_with("manifests/") {
                for manifest in record["manifests"].as_array().unwrap() {
                    let manifest = self.blob(manifest, name);
                    let manifest: Value = serde_json::from_slice(manifest).unwrap();
                    let layers = manifest["layers"].as_array().unwrap();
                    for part in layers.iter().chain([&manifest["config"]]) {
                        self.blob(part, name);
                    }
                }
            } else if name.starts_with("builds/") || name.starts_with("paths/") {
                self.blob(&record["blob"], name);
            }
        }
    }
}

/// Makes everything below `directory` as old as it would be after this much time: the
/// clocks of the tests don't wait.
pub(super) fn age(directory: &Path, by: Duration) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // What a server does meanwhile may remove it.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            age(&entry.path(), by);
        }
        if kind.is_dir() || kind.is_file() {
            let Ok(file) = File::open(entry.path()) else { continue };
            let modified = file.metadata().unwrap().modified().unwrap();
            file.set_modified(modified - by).unwrap();
        }
        if kind.is_file() {
            age_in_name(&entry.path(), by);
        }
    }
}

/// What is put aside to be removed has the time in its name.
fn age_in_name(path: &Path, by: Duration) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let Some((before, time)) = name.rsplit_once('-').filter(|_| name.starts_with(".tmp-")) else {
        return;
    };
    if let (Ok(time), 2) = (time.parse::<u128>(), before.matches('-').count()) {
        let earlier = format!("{before}-{}", time - by.as_nanos());
        let _ = fs::rename(path, path.with_file_name(earlier));
    }
}

/// Bytes of files below a directory.
pub(super) fn bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

/// Bytes of the blobs that garbage collection has to leave: those that were written or
/// marked within this time, and those of images and layers that were.
pub(super) fn young(storage: &Path, within: Duration) -> u64 {
    let is_young = |path: &Path| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| time + within > SystemTime::now())
    };
    let files = |directory: &str| {
        let entries = fs::read_dir(storage.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| is_young(path))
    };
    let json = |path: &Path| -> Value {
        fs::read(path)
            .ok()
            .and_then(|content| serde_json::from_slice(&content).ok())
            .unwrap_or_default()
    };
    let mut needed: BTreeSet<PathBuf> = files("layers").collect();
    let blob = |descriptor: &Value| {
        descriptor["digest"].as_str().map(|digest| storage.join("layers").join(&digest[7..]))
    };
    for directory in ["builds", "paths"] {
        needed.extend(files(directory).filter_map(|path| blob(&json(&path)["record"]["blob"])));
    }
    for path in files("manifests") {
        for manifest in json(&path)["record"]["manifests"].as_array().into_iter().flatten() {
            needed.extend(blob(manifest));
        }
    }
    // Manifests name the rest.
    let mut all = needed.clone();
    for path in needed.iter().filter(|path| fs::metadata(path).is_ok_and(|m| m.len() < 1 << 20)) {
        let manifest = json(path);
        let layers = manifest["layers"].as_array().into_iter().flatten();
        all.extend(layers.chain([&manifest["config"]]).filter_map(blob));
    }
    all.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

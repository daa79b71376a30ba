//! Records from a storage that anybody may have written to.

use std::fmt::Debug;

use serde::Serialize;

use super::*;
use crate::fuzz::parser;

const PATH: &str = "/nix/store/00000000000000000000000000000000-a-1";

/// Fuzzes one kind of record, given one: what is read is written and read the same.
fn fuzz<T>(name: &'static str, seed: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let key = layer_key(5, &[]);
    let seed: T = serde_json::from_str(seed).unwrap();
    let whole = serde_json::to_string(&seed).unwrap();
    let words = [&whole[..], "\"version\":1", "\"record\":", "\"members\":[0,1],", PATH];
    parser(name, [encode(&seed)]).words(words).factor(64).run(
        |input| parse::<T>(&key, input),
        |_, parsed| {
            if let Some(record) = parsed {
                assert_eq!(parse::<T>(&key, &encode(&record)), Some(record));
            }
        },
    );
}

fn descriptor() -> String {
    serde_json::to_string(&Descriptor::of(b"")).unwrap()
}

fn members() -> String {
    format!(r#"{{"path":"{PATH}","offset":10,"members":[100,20],"uncompressed":2048}}"#)
}

#[test]
fn manifest_records() {
    let blob = descriptor();
    let seed = format!(r#"{{"image":"git, amd64","manifests":[{blob},{blob}]}}"#);
    fuzz::<ManifestRecord>("records of manifests", &seed);
}

#[test]
fn layer_records() {
    let (blob, members, diff_id) = (descriptor(), members(), Digest::of(b"x"));
    let seed = format!(
        r#"{{"diff_id":"{diff_id}","blob":{blob},"md5":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,255],
        "uncompressed_size":1024,"level":5,"members":[{members},{members}]}}"#
    );
    fuzz::<LayerRecord>("records of layers", &seed);
}

#[test]
fn path_records() {
    let seed = format!(r#"{{"blob":{},"level":5,"members":{}}}"#, descriptor(), members());
    fuzz::<PathRecord>("records of store paths", &seed);
}

#[test]
fn package_records() {
    let seed = format!(
        r#"{{"package":{{"attribute":"a","request":"a","name":"a-1","main_program":null,
        "path":"{PATH}"}},"closure":[{{"path":"{PATH}","nar_size":7,"references":["{PATH}"]}}],
        "listing":[[["bin",1]],[["a",null]]],"locales":["{PATH}"]}}"#
    );
    fuzz::<PackageRecord>("records of packages", &seed);
}

//! The configuration as it is written: every setting optional, nothing checked
//! but types and names. `settings.rs` says what each means.

use serde::{Deserialize, Serialize};

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name { $(pub(super) $field: $type),* }
    };
}

table! {
    /// The whole file.
    Raw {
        server: Server, source: Source, storage: Storage, gcs: Gcs, nix: Nix, image: Image,
        packing: Packing, cache: Cache, gc: Gc, web: Web, log: Log, tls: Tls, limits: Limits,
        access: Access,
    }
}
table! {
    Server {
        address: Option<String>, port: Option<u64>, socket: Option<String>,
        trusted_proxies: Option<Vec<String>>, shutdown_timeout: Option<u64>,
    }
}
table! { Tls { certificate: Option<String>, key: Option<String> } }
table! {
    Limits {
        connections: Option<u64>, connections_per_address: Option<u64>, streams: Option<u64>,
        header_timeout: Option<u64>, idle_timeout: Option<u64>, write_timeout: Option<u64>,
        header_bytes: Option<u64>, url_bytes: Option<u64>, body_bytes: Option<u64>,
        requests_per_second: Option<u64>, requests_burst: Option<u64>, watchers: Option<u64>,
        downloads: Option<u64>, downloads_per_address: Option<u64>,
    }
}
table! {
    Source {
        channel: Option<String>, repo: Option<String>, path: Option<String>, refresh: Option<u64>,
        channels: Option<Vec<String>>, references: Option<Vec<String>>,
        allow_commits: Option<bool>, nixpkgs_repository: Option<String>,
        nixpkgs_archive: Option<String>, fingerprint: Option<bool>,
    }
}
table! { Storage { backend: Option<String>, path: Option<String>, min_free: Option<u64> } }
table! {
    Gcs {
        bucket: Option<String>, endpoint: Option<String>, public_endpoint: Option<String>,
        credentials: Option<String>, anonymous: Option<bool>, redirect: Option<bool>,
        sign: Option<String>, signing_key: Option<String>, signing_account: Option<String>,
    }
}
table! {
    Nix {
        timeout: Option<u64>, max_builds: Option<u64>, max_queue: Option<u64>,
        popularity_url: Option<String>, roots: Option<String>, restrict_eval: Option<bool>,
        allowed_uris: Option<Vec<String>>, allow_import_from_derivation: Option<bool>,
        environment: Option<Vec<String>>, nice: Option<u64>, max_memory_mb: Option<u64>,
    }
}
table! {
    Image {
        platform: Option<String>, max_layers: Option<u64>, max_packages: Option<u64>,
        max_paths: Option<u64>, max_closure_bytes: Option<u64>,
    }
}
table! { Packing { level: Option<u64>, threads: Option<u64>, memory: Option<u64> } }
table! { Cache { path: Option<String>, max_mb: Option<u64> } }
table! { Gc { interval: Option<u64>, keep: Option<u64>, max_bytes: Option<u64> } }
table! {
    Web {
        builds: Option<bool>, log_lines: Option<u64>, keep_builds: Option<u64>,
        dir: Option<String>,
    }
}
table! {
    Access {
        htpasswd: Option<String>, tokens: Option<String>, rules: Option<Vec<String>>,
        url: Option<String>,
    }
}
table! { Log { filter: Option<String>, format: Option<String> } }

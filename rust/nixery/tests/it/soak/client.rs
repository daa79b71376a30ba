//! A client, and all that it may do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Random;
use super::clients::{Clients, Done, Trouble, Which};
use crate::harness::{Response, digest_of, try_request};

const FORMATS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

pub(super) struct Client<'a> {
    pub(super) clients: &'a Clients<'a>,
    pub(super) address: &'a str,
    pub(super) random: &'a mut Random,
}

impl Client<'_> {
    pub(super) fn anything(mut self) -> Done {
        match self.random.below(20) {
            0..=7 => self.pull(),
            8..=12 => self.read_again(),
            13..=14 => self.order(),
            15 => self.leave(),
            16 => self.watch(),
            17 => self.ask_for_what_is_not_there(),
            _ => self.look(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Done<Response> {
        self.get_with(path, &[])
    }

    /// Follows redirects to a bucket.
    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Done<Response> {
        let response = try_request(self.address, "GET", path, headers)?;
        if response.status != 307 {
            return Ok(response);
        }
        let url = response.header("location");
        let (address, path) = url["http://".len()..].split_once('/').unwrap();
        Ok(try_request(address, "GET", &format!("/{path}"), headers)?)
    }

    pub(super) fn ok(response: Done<Response>) -> Done<Response> {
        let response = response?;
        let body = String::from_utf8_lossy(&response.body[..response.body.len().min(1000)]);
        match response.status {
            200 | 202 | 206 => Ok(response),
            status @ (429 | 503) => Err(Trouble::Refused(format!("{status} {body}"))),
            status => Err(Trouble::Wrong(format!("{status} {body}"))),
        }
    }

    fn is(condition: bool, what: impl FnOnce() -> String) -> Done {
        if condition { Ok(()) } else { Err(Trouble::Wrong(what())) }
    }

    /// Pulls an image as Docker does (HEAD, and GET by digest), or as others do.
    fn pull(&mut self) -> Done {
        let (image, tag) =
            (self.clients.moving.image(self.random), self.clients.moving.tag(self.random));
        let format = *self.random.of(&FORMATS);
        let mut path = format!("/v2/{image}/manifests/{tag}");
        if self.random.below(2) == 0 {
            let head = try_request(self.address, "HEAD", &path, &[("Accept", format)])?;
            if head.status != 200 {
                // What is wrong is in the answer to a GET only.
                let got = Self::ok(self.get(&path));
                return got.map(drop);
            }
            path = format!("/v2/{image}/manifests/{}", head.header("docker-content-digest"));
        }
        let named = format!("{path} ({tag})");
        let manifest = Self::ok(self.get_with(&path, &[("Accept", format)]));
        let manifest = manifest.map_err(|trouble| about(&named, trouble))?;
        Self::is(digest_of(&manifest.body) == manifest.header("docker-content-digest"), || {
            format!("{named}: the digest of another manifest")
        })?;
        let document = manifest.json();
        let config = self.part(&image, &document["config"])?;
        let config: Value = serde_json::from_slice(&config).unwrap();
        let label = &config["config"]["Labels"]["org.opencontainers.image.revision"];
        let commit = label.as_str().unwrap().to_owned();
        self.acknowledge(&Which { image: image.clone(), commit, format }, &manifest.body)?;
        let all = self.random.below(2) == 0;
        self.all_parts(&image, &document, all)
    }

    fn acknowledge(&self, which: &Which, manifest: &[u8]) -> Done {
        let mut seen = self.clients.seen();
        seen.pulls += 1;
        let known = seen.manifests.entry(which.clone()).or_insert_with(|| manifest.to_vec());
        let is_same = known == manifest;
        seen.fresh.insert(which.clone());
        drop(seen);
        Self::is(is_same, || format!("{which:?} has another manifest than before"))
    }

    /// The same image once more: known, or made again.
    pub(super) fn again(&mut self, which: &Which) -> Done {
        let path = format!("/v2/{}/manifests/{}", which.image, which.commit);
        let manifest = Self::ok(self.get_with(&path, &[("Accept", which.format)]))?;
        let document = manifest.json();
        self.acknowledge(which, &manifest.body)?;
        self.all_parts(&which.image, &document, true)
    }

    pub(super) fn all_parts(&mut self, image: &str, manifest: &Value, all: bool) -> Done {
        let layers = manifest["layers"].as_array().unwrap();
        for part in layers.iter().chain([&manifest["config"]]) {
            if all || self.random.below(3) == 0 {
                self.part(image, part)?;
            }
        }
        Ok(())
    }

    fn part(&self, image: &str, descriptor: &Value) -> Done<Vec<u8>> {
        let digest = descriptor["digest"].as_str().unwrap();
        let path = format!("/v2/{image}/blobs/{digest}");
        let blob = Self::ok(self.get(&path)).map_err(|trouble| about(&path, trouble))?;
        Self::is(digest_of(&blob.body) == digest, || format!("{path}: other bytes"))?;
        self.clients.seen().blobs += 1;
        Ok(blob.body)
    }

    /// A manifest by its digest that somebody was given lately, and a range of a blob.
    fn read_again(&mut self) -> Done {
        let fresh: Vec<Which> = self.clients.seen().fresh.iter().cloned().collect();
        if fresh.is_empty() {
            return self.pull();
        }
        let which = self.random.of(&fresh);
        let expected = self.clients.seen().manifests[which].clone();
        let path = format!("/v2/{}/manifests/{}", which.image, digest_of(&expected));
        let found = Self::ok(self.get(&path)).map_err(|trouble| about(&path, trouble))?;
        Self::is(found.body == expected, || format!("{path}: another manifest"))?;
        let document = found.json();
        let layer = self.random.of(document["layers"].as_array().unwrap());
        let size = layer["size"].as_u64().unwrap();
        let (from, length) = (self.random.below(size), self.random.below(100_000) + 1);
        let to = (from + length).min(size) - 1;
        let path = format!("/v2/{}/blobs/{}", which.image, layer["digest"].as_str().unwrap());
        let range = format!("bytes={from}-{to}");
        let part = Self::ok(self.get_with(&path, &[("Range", &range)]));
        let part = part.map_err(|trouble| about(&path, trouble))?;
        let wanted = format!("bytes {from}-{to}/{size}");
        Self::is(part.header("content-range") == wanted, || format!("{path}: not {wanted}"))?;
        Self::is(part.body.len() as u64 == to - from + 1, || format!("{path}: not {wanted}"))?;
        self.clients.seen().blobs += 1;
        Ok(())
    }

    /// Has an image made without waiting for it.
    fn order(&mut self) -> Done {
        let (image, tag) =
            (self.clients.moving.image(self.random), self.clients.moving.tag(self.random));
        let path = format!("/api/v1/builds/{image}/{tag}");
        let ordered = Self::ok(try_request(self.address, "POST", &path, &[]).map_err(Into::into));
        ordered.map_err(|trouble| about(&path, trouble))?;
        self.clients.seen().other += 1;
        Ok(())
    }

    /// Goes away before the answer.
    fn leave(&mut self) -> Done {
        let (image, tag) =
            (self.clients.moving.image(self.random), self.clients.moving.tag(self.random));
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET /v2/{image}/manifests/{tag} HTTP/1.1\r\nHost: h\r\n\r\n")?;
        thread::sleep(Duration::from_millis(self.random.below(100)));
        self.clients.seen().other += 1;
        Ok(())
    }

    /// Watches a build for a moment.
    fn watch(&mut self) -> Done {
        let builds = Self::ok(self.get("/api/v1/builds"))?.json();
        let Some(build) = builds["builds"].as_array().and_then(|all| all.first()) else {
            return Ok(());
        };
        let (image, tag) = (build["image"].as_str().unwrap(), build["tag"].as_str().unwrap());
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_millis(100 + self.random.below(300))))?;
        let accept = "Accept: text/event-stream\r\nConnection: close";
        write!(stream, "GET /api/v1/builds/{image}/{tag} HTTP/1.1\r\nHost: h\r\n{accept}\r\n\r\n")?;
        let mut events = Vec::new();
        // It ends with the build, or is left.
        let _ = stream.read_to_end(&mut events);
        self.clients.seen().other += 1;
        Ok(())
    }

    fn ask_for_what_is_not_there(&mut self) -> Done {
        let digest = digest_of(&self.random.next().to_le_bytes());
        let paths = [
            format!("/v2/one/blobs/{digest}"),
            format!("/v2/one/manifests/{digest}"),
            "/v2/one/manifests/no-such-branch".to_owned(),
            "/v2/no-such-package/manifests/latest".to_owned(),
        ];
        let path = self.random.of(&paths);
        let response = self.get(path)?;
        self.clients.seen().other += 1;
        match response.status {
            404 => Ok(()),
            _ => Self::ok(Ok(response)).and_then(|found| {
                Err(Trouble::Wrong(format!("{path} is there: {}", found.status)))
            }),
        }
    }

    fn look(&mut self) -> Done {
        let path = *self.random.of(&["/", "/v2/", "/healthz", "/readyz", "/metrics", "/builds"]);
        let looked = Self::ok(self.get(path)).map_err(|trouble| about(path, trouble));
        self.clients.seen().other += 1;
        looked.map(drop)
    }
}

fn about(what: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Wrong(problem) => Trouble::Wrong(format!("{what}: {problem}")),
        Trouble::Connection(_) | Trouble::Refused(_) => trouble,
    }
}

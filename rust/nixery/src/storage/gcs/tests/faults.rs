//! A network and a service that fail, by a proxy between.

use std::io;

use futures_util::future::join_all;

use super::fault_proxy::{Fault, FaultProxy, Rule};
use super::uploads::{noise, read, write};
use super::*;
use crate::storage::RecordKind;

const FOREVER: usize = usize::MAX;

/// An emulator behind a proxy, and its bucket.
async fn behind_proxy() -> (Emulator, FaultProxy, Arc<Gcs>) {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let options = BucketOptions { patience: Duration::from_secs(2), ..options(&proxy.url()) };
    let gcs = open(&options).await;
    (emulator, proxy, gcs)
}

fn record() -> RecordKey {
    RecordKey { kind: RecordKind::Build, key: Digest::of(b"record") }
}

/// Does everything once, and checks it.
async fn use_all_of_it(gcs: &Arc<Gcs>) {
    let (small, large) = (Arc::new(noise(5000)), Arc::new(noise(20 << 20)));
    gcs.write_record(&record(), b"record").await.unwrap();
    assert_eq!(gcs.read_record(&record()).await.unwrap().unwrap(), "record");
    for content in [&small, &large] {
        let digest = write(gcs, content).await.unwrap();
        assert!(read(gcs, &digest).await.unwrap() == **content);
    }
    let object = Object::Blob(Digest::of(&small));
    gcs.shared.forget(&object);
    assert!(gcs.touch(&object).await.unwrap());
    assert_eq!(gcs.list().await.unwrap().len(), 3);
    let later = SystemTime::now() + Duration::from_mins(1);
    assert_eq!(gcs.remove(&object, later).await.unwrap(), Removal::Removed);
}

/// The steps of that, by what their requests are like.
const STEPS: [(&str, &str); 9] = [
    ("POST", "name=builds"),
    ("GET", "builds%2F"),
    ("POST", "name=layers"),
    ("POST", "name=staging"),
    ("POST", "compose"),
    ("POST", "rewriteTo"),
    ("GET", "alt=media"),
    ("GET", "prefix="),
    ("DELETE", "layers%2F"),
];

async fn every_step_survives(fault: impl Fn() -> Fault) {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    for (method, path) in STEPS {
        proxy.add(Rule::new(fault()).method(method).path(path).times(2));
    }
    use_all_of_it(&gcs).await;
    // All of the rules have been used, or the test tests nothing.
    assert_eq!(proxy.injected(), 2 * STEPS.len(), "{:?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_are_tried_again() {
    every_step_survives(|| Fault::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_service_are_tried_again() {
    for statuses in [[409, 429], [500, 503]] {
        let (_emulator, proxy, gcs) = behind_proxy().await;
        for status in statuses {
            for (method, path) in STEPS {
                proxy.add(Rule::new(Fault::Status(status, "{}")).method(method).path(path));
            }
        }
        use_all_of_it(&gcs).await;
        assert_eq!(proxy.injected(), 2 * STEPS.len(), "{:?}", proxy.seen());
    }
}

/// What was to be done has been done, and is found to be so when it is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_lost_do_no_harm() {
    every_step_survives(|| Fault::LostReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_break_off_are_sent_again() {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    let content = Arc::new(noise(40 << 20));
    for length in [0, 100_000, 8_000_000] {
        let rule = Rule::new(Fault::ResetInRequest(length));
        proxy.add(rule.method("POST").path("name=staging").skip(1));
    }
    let digest = write(&gcs, &content).await.unwrap();
    assert_eq!(proxy.injected(), 3);
    assert!(read(&gcs, &digest).await.unwrap() == **content);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_where_it_broke_off() {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    let content = Arc::new(noise(4 << 20));
    let digest = write(&gcs, &content).await.unwrap();
    for fault in [Fault::ResetInReply(1_000_000), Fault::CutReply(2_000_000), Fault::CutReply(0)] {
        proxy.add(Rule::new(fault).path("alt=media"));
    }
    assert!(read(&gcs, &digest).await.unwrap() == **content);
    assert_eq!(proxy.injected(), 3);
    let pause = Duration::from_millis(20);
    proxy.add(Rule::new(Fault::SlowReply { bytes: 100_000, pause }).path("alt=media"));
    assert!(read(&gcs, &digest).await.unwrap() == **content, "slow is no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_come_are_not_waited_for() {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    let content = Arc::new(noise(100_000));
    let digest = write(&gcs, &content).await.unwrap();
    proxy.add(Rule::new(Fault::Stall(Duration::from_mins(1))).path("alt=media"));
    proxy.add(Rule::new(Fault::Stall(Duration::from_mins(1))).method("GET").path("builds%2F"));
    assert!(read(&gcs, &digest).await.unwrap() == **content);
    gcs.shared.forget(&Object::Record(record()));
    assert!(!gcs.touch(&Object::Record(record())).await.unwrap());
    assert_eq!(proxy.injected(), 2);
}

/// Each step at the same time, as it takes some seconds until there is no hope.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_broken_is_told_and_leaves_no_blob() {
    let steps = ["name=staging", "compose", "rewriteTo", "name=layers"].map(|path| async move {
        let (_emulator, proxy, gcs) = behind_proxy().await;
        let length = if path == "name=layers" { 1000 } else { 20 << 20 };
        let content = Arc::new(noise(length));
        proxy.add(Rule::new(Fault::Status(503, "{}")).path(path).times(FOREVER));
        let error = write(&gcs, &content).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
        proxy.clear();
        assert!(gcs.open_blob(&Digest::of(&content)).await.unwrap().is_none());
    });
    join_all(steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_is_told_as_it_says() {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    let refused = Fault::Status(403, "{\"error\": {\"message\": \"not you\"}}");
    proxy.add(Rule::new(refused).times(FOREVER));
    let error = gcs.read_record(&record()).await.unwrap_err();
    assert!(!error.is_temporary(), "{error:?}");
    let text = crate::error_chain::ErrorChain(&error).to_string();
    assert!(text.contains("can't read gs://test-bucket/builds/"), "{text}");
    assert!(text.contains("403: not you"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_for_a_while_it_is_waited() {
    let (_emulator, proxy, gcs) = behind_proxy().await;
    let proxy = Arc::new(proxy);
    proxy.close();
    let later = Arc::clone(&proxy);
    let reopened = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        later.reopen();
    });
    use_all_of_it(&gcs).await;
    reopened.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_gone_since_it_was_opened_is_noticed() {
    let (emulator, _proxy, gcs) = behind_proxy().await;
    let content = Arc::new(noise(100_000));
    let digest = write(&gcs, &content).await.unwrap();
    let blob = gcs.open_blob(&digest).await.unwrap().unwrap();
    let others = open(&options(emulator.url())).await;
    others.shared.bucket.api.delete(&name_of(&Object::Blob(digest)), None).await.unwrap();
    let read = tokio::task::spawn_blocking(move || blob.read_all(u64::MAX)).await.unwrap();
    assert!(crate::storage::is_gone(&read.unwrap_err()));
    assert!(gcs.serve_blob(&digest).await.unwrap().is_none(), "it is remembered to be there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_is_noticed() {
    let (emulator, _proxy, gcs) = behind_proxy().await;
    gcs.check().await.unwrap();
    let url = format!("{}/storage/v1/b/{BUCKET}", emulator.url());
    reqwest::Client::new().delete(url).send().await.unwrap().error_for_status().unwrap();
    assert!(gcs.check().await.is_err());
}

/// A byte that changes on its way, or in the service, is never taken for the blob.
#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_noticed() {
    let (emulator, proxy, gcs) = behind_proxy().await;
    let content = Arc::new(noise(100_000));
    let digest = write(&gcs, &content).await.unwrap();
    proxy.add(Rule::new(Fault::CorruptReply).path("alt=media").times(FOREVER));
    let result: io::Result<Vec<u8>> = read(&gcs, &digest).await;
    assert!(result.is_err(), "{:?}", result.map(|bytes| bytes.len()));
    proxy.clear();
    let name = name_of(&Object::Blob(digest));
    let damage = format!("{}/_/damage?name={name}", emulator.url());
    reqwest::Client::new().post(damage).send().await.unwrap().error_for_status().unwrap();
    assert!(read(&gcs, &digest).await.is_err());
}

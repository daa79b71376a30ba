//! What the server says at start when a bucket can't be used.

use std::fs;

use super::*;
use crate::error_chain::ErrorChain;

async fn refusal(options: &BucketOptions) -> String {
    let error = match Gcs::open(options).await {
        Ok(gcs) => gcs.probe().await.expect_err("it must be refused"),
        Err(error) => error,
    };
    ErrorChain(&error).to_string()
}

/// Whether a probe has left nothing.
async fn is_clean(emulator: &Emulator) -> bool {
    let gcs = open(&with_account(emulator)).await;
    gcs.shared.bucket.api.list("").await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_can_be_used_is_accepted() {
    let emulator = Emulator::with_account(&[]);
    for options in [with_account(&emulator), with_key(&emulator)] {
        open(&options).await.probe().await.unwrap();
    }
    let streamed = BucketOptions { delivery: Delivery::Streamed, ..with_account(&emulator) };
    open(&streamed).await.probe().await.unwrap();
    assert!(is_clean(&emulator).await);
    let public = Emulator::open_to_all();
    open(&options(public.url())).await.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_is_told() {
    let emulator = Emulator::with_account(&[]);
    let options = BucketOptions { bucket: "other".to_owned(), ..with_account(&emulator) };
    let message = refusal(&options).await;
    assert!(message.contains("there is no bucket other"), "{message}");
    assert!(message.contains("GCS_BUCKET"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permissions_are_named() {
    let all = ["create", "get", "list", "update", "delete"];
    for missing in all {
        let held = all.iter().filter(|one| **one != missing);
        let held: Vec<String> = held.map(|one| format!("storage.objects.{one}")).collect();
        let emulator = Emulator::with_account(&["--permissions", &held.join(",")]);
        let message = refusal(&with_account(&emulator)).await;
        assert!(message.contains(&format!("lacks storage.objects.{missing} in")), "{message}");
        assert!(message.contains("roles/storage.objectUser"), "{message}");
    }
    let emulator = Emulator::with_account(&["--permissions", "storage.objects.list"]);
    let message = refusal(&with_account(&emulator)).await;
    assert!(message.contains("storage.objects.create, storage.objects.get, "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_clients_cannot_read_is_refused() {
    let emulator = Emulator::with_account(&[]);
    let options = BucketOptions { delivery: Delivery::Public, ..with_account(&emulator) };
    let message = refusal(&options).await;
    assert!(message.contains("without a signature (it answered 403)"), "{message}");
    assert!(message.contains("NIXERY_GCS_REDIRECT=false"), "{message}");
    assert!(is_clean(&emulator).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_the_accounts_is_refused() {
    let (emulator, other) = (Emulator::with_account(&[]), Emulator::with_account(&[]));
    let right = with_key(&emulator);
    let of_others = Delivery::SignedWithKey { key: other.key_file(), account: ACCOUNT.to_owned() };
    let for_others =
        Delivery::SignedWithKey { key: emulator.key_file(), account: "me@example.org".to_owned() };
    for delivery in [of_others, for_others] {
        let message = refusal(&BucketOptions { delivery, ..right.clone() }).await;
        assert!(message.contains("refuses the URLs that this server signs (403"), "{message}");
        assert!(message.contains("GCS_SIGNING_ACCOUNT"), "{message}");
    }
    let of_others = BucketOptions { identity: Identity::File(other.account_file()), ..right };
    let message = refusal(&of_others).await;
    assert!(message.contains("doesn't accept the credentials"), "{message}");
    assert!(message.contains("the clocks agree"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told() {
    for (ahead, told) in [("-7200", "ahead of"), ("7200", "behind")] {
        let emulator = Emulator::with_account(&["--clock-offset", ahead]);
        let message = refusal(&with_account(&emulator)).await;
        assert!(message.contains("this machine's clock is "), "{message}");
        assert!(message.contains(told), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_where_an_account_is_needed() {
    let emulator = Emulator::with_account(&[]);
    let message = refusal(&options(emulator.url())).await;
    assert!(message.contains("doesn't accept the credentials"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_credentials_are_told() {
    let emulator = Emulator::with_account(&[]);
    let good = fs::read_to_string(emulator.account_file()).unwrap();
    let public_key = good.replace("PRIVATE KEY", "PUBLIC KEY");
    for (content, told) in [
        ("", "is no credentials file"),
        ("{\"a\": 1}", "it has no \"type\""),
        (
            "{\"type\": \"banana\"}",
            "has credentials of the type \"banana\", expected service_account",
        ),
        ("{\"type\": \"service_account\"}", "is no service account's: missing field"),
        (&good[..good.len() / 2], "is no credentials file"),
        (&public_key, "private_key has a public key"),
    ] {
        let file = emulator.file("wrong.json", content);
        let options = BucketOptions { identity: Identity::File(file), ..with_account(&emulator) };
        let message = refusal(&options).await;
        assert!(message.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{message}");
        assert!(message.contains("wrong.json") && message.contains(told), "{message}");
    }
    let nowhere = Identity::File("/does/not/exist.json".into());
    let message = refusal(&BucketOptions { identity: nowhere, ..with_account(&emulator) }).await;
    assert!(message.contains("can't read /does/not/exist.json"), "{message}");
    let public = emulator.file("public.pem", "-----BEGIN PUBLIC KEY-----\nMA==\n");
    let delivery = Delivery::SignedWithKey { key: public, account: ACCOUNT.to_owned() };
    let message = refusal(&BucketOptions { delivery, ..with_account(&emulator) }).await;
    assert!(message.contains("GCS_SIGNING_KEY"), "{message}");
    assert!(message.contains("public.pem has a public key; expected a private"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_that_is_told() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let message = refusal(&options(&url)).await;
    assert!(message.contains("Cloud Storage can't be reached"), "{message}");
    assert!(message.contains("refused"), "{message}");
}
